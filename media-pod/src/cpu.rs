//! What CPU time a worker takes, from /proc.

use procfs::process::Process;
use std::collections::HashMap;
use std::time::Instant;

/// CPU shares of processes between one sample and the next.
#[derive(Default)]
pub struct CpuSampler {
    last: HashMap<u32, (Instant, u64)>,
}

impl CpuSampler {
    /// The share of one core (0 to 1, above for several threads) that each process took since the
    /// last sample; 0 for one not seen before.
    pub fn sample(&mut self, pids: &[u32]) -> HashMap<u32, f64> {
        let now = Instant::now();
        let mut shares = HashMap::new();
        let mut next = HashMap::new();
        for &pid in pids {
            let Some(ticks) = ticks_of(pid) else { continue };
            let share = self.last.get(&pid).map_or(0.0, |(then, before)| {
                let seconds = now.duration_since(*then).as_secs_f64();
                let used = ticks.saturating_sub(*before) as f64 / procfs::ticks_per_second() as f64;
                if seconds > 0.0 { used / seconds } else { 0.0 }
            });
            shares.insert(pid, share);
            next.insert(pid, (now, ticks));
        }
        self.last = next;
        shares
    }
}

fn ticks_of(pid: u32) -> Option<u64> {
    let stat = Process::new(i32::try_from(pid).ok()?).ok()?.stat().ok()?;
    Some(stat.utime + stat.stime)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_process_takes_a_core() {
        let mut sampler = CpuSampler::default();
        let pid = std::process::id();
        assert_eq!(sampler.sample(&[pid])[&pid], 0.0);
        let begin = Instant::now();
        // Two hundred ticks' worth of work, whatever else the machine does.
        let (mut used, mut share) = (0, 0.0);
        while used < 20 && begin.elapsed().as_secs() < 30 {
            let before = ticks_of(pid).unwrap();
            let spin = Instant::now();
            while spin.elapsed().as_millis() < 50 {
                std::hint::spin_loop();
            }
            used += ticks_of(pid).unwrap() - before;
        }
        share += sampler.sample(&[pid])[&pid];
        assert!(share > 0.05, "{share}");
    }

    #[test]
    fn a_process_that_is_gone_has_no_share() {
        assert!(CpuSampler::default().sample(&[u32::MAX]).is_empty());
    }
}
