//! What members carry, known to all virtual workers that share them.

use crate::state::MemberId;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long what was placed counts in full: until then CPU cannot show it.
const RAMP_UP: Duration = Duration::from_secs(3);
/// From when on it does not count at all: now CPU shows it.
const SHOWN: Duration = Duration::from_secs(8);
/// Placements this close together are one entry.
const GRAIN: Duration = Duration::from_millis(250);

/// What members carry, shared by all virtual workers on them. Clones are the same ledger.
#[derive(Clone, Debug, Default)]
pub struct Ledger(Arc<Mutex<Books>>);

#[derive(Debug, Default)]
struct Books {
    loads: HashMap<MemberId, Load>,
    /// The latest time that anybody knew: a new virtual worker does not know it yet.
    now: Duration,
}

/// What one member carries.
#[derive(Debug, Default)]
struct Load {
    cpu: f32,
    /// Transports and observers, those of pipes included.
    carries: usize,
    /// When something was placed, and which share of a core it is expected to take.
    recent: VecDeque<(Duration, f32)>,
}

/// How a member looks to one that has something to place.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Heat {
    /// Share of one core that it uses or is about to use.
    pub heat: f32,
    /// How many things of anybody it carries.
    pub carries: usize,
}

impl Ledger {
    /// How much of one core a member uses, 0 to 1. `now` is the time of
    /// [`VirtualWorker::on_tick`](crate::VirtualWorker::on_tick).
    pub fn on_cpu(&self, member: MemberId, cpu: f32, now: Duration) {
        let mut books = self.books();
        let now = books.learn(now);
        let load = books.loads.entry(member).or_default();
        load.cpu = cpu;
        load.recent.retain(|(at, _)| *at + SHOWN > now);
    }

    /// A member is no more.
    pub fn forget(&self, member: MemberId) {
        self.books().loads.remove(&member);
    }

    /// How many transports and observers of anybody a member carries, those of pipes included.
    pub fn carries(&self, member: MemberId) -> usize {
        self.books()
            .loads
            .get(&member)
            .map_or(0, |load| load.carries)
    }

    /// Something of this weight was placed.
    pub(crate) fn placed(&self, member: MemberId, weight: f32, now: Duration) {
        let mut books = self.books();
        let now = books.learn(now);
        let load = books.loads.entry(member).or_default();
        match load.recent.back_mut() {
            Some((at, sum)) if *at + GRAIN > now => *sum += weight,
            _ => {
                // Without CPU figures nobody else would tidy up.
                load.recent.retain(|(at, _)| *at + SHOWN > now);
                load.recent.push_back((now, weight));
            }
        }
    }

    /// One more thing on it.
    pub(crate) fn entered(&self, member: MemberId) {
        self.books().loads.entry(member).or_default().carries += 1;
    }

    /// So many less.
    pub(crate) fn left(&self, member: MemberId, count: usize) {
        if let Some(load) = self.books().loads.get_mut(&member) {
            load.carries = load.carries.saturating_sub(count);
        }
    }

    pub(crate) fn heat(&self, member: MemberId, now: Duration) -> Heat {
        self.books().heat(member, now)
    }

    /// Of several at once.
    pub(crate) fn heats<'a, M, T>(
        &self,
        members: impl Iterator<Item = (&'a MemberId, M)>,
        now: Duration,
        with: impl Fn(MemberId, M, Heat) -> T,
    ) -> Vec<T> {
        let books = self.books();
        members
            .map(|(id, member)| with(*id, member, books.heat(*id, now)))
            .collect()
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        // Each change is one step: what another left is whole, even if it panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Books {
    /// The time, which is never less than it was.
    fn learn(&mut self, now: Duration) -> Duration {
        self.now = self.now.max(now);
        self.now
    }

    fn heat(&self, member: MemberId, now: Duration) -> Heat {
        let load = self.loads.get(&member);
        load.map_or(Heat::default(), |load| load.heat(self.now.max(now)))
    }
}

impl Load {
    fn heat(&self, now: Duration) -> Heat {
        let rising = self.recent.iter();
        let rising = rising.map(|(at, weight)| weight * counts(now.saturating_sub(*at)));
        Heat {
            heat: self.cpu + rising.sum::<f32>(),
            carries: self.carries,
        }
    }
}

/// How much of a weight of this age counts, 1 to 0.
fn counts(age: Duration) -> f32 {
    let left = SHOWN.saturating_sub(age).as_secs_f32();
    (left / (SHOWN - RAMP_UP).as_secs_f32()).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMBER: MemberId = MemberId(1);

    fn heat(ledger: &Ledger, seconds: f32) -> f32 {
        ledger.heat(MEMBER, Duration::from_secs_f32(seconds)).heat
    }

    #[test]
    fn what_was_placed_counts_until_cpu_shows_it() {
        let ledger = Ledger::default();
        let another = ledger.clone();
        let at = |seconds| Duration::from_secs(seconds);
        ledger.on_cpu(MEMBER, 0.25, at(10));
        another.placed(MEMBER, 0.5, at(10));
        for (seconds, expected) in [
            (10.0, 0.75),
            (13.0, 0.75),
            (15.5, 0.5),
            (18.0, 0.25),
            (99.0, 0.25),
        ] {
            assert_eq!(heat(&ledger, seconds), expected, "at {seconds} s");
        }
        ledger.placed(MEMBER, 0.5, at(11));
        ledger.on_cpu(MEMBER, 0.25, at(18));
        assert_eq!(ledger.books().loads[&MEMBER].recent.len(), 1);
    }

    #[test]
    fn who_does_not_know_the_time_learns_it() {
        let ledger = Ledger::default();
        ledger.on_cpu(MEMBER, 0.25, Duration::from_secs(1000));
        ledger.placed(MEMBER, 0.5, Duration::ZERO);
        ledger.on_cpu(MEMBER, 0.25, Duration::from_secs(1001));
        assert_eq!(heat(&ledger, 0.0), 0.75);
    }

    #[test]
    fn many_placements_are_few_entries() {
        let ledger = Ledger::default();
        for millisecond in 0..100_000 {
            ledger.placed(MEMBER, 0.001, Duration::from_millis(millisecond));
        }
        assert!(ledger.books().loads[&MEMBER].recent.len() <= 33);
    }

    #[test]
    fn a_member_is_in_use_whoever_uses_it() {
        let ledger = Ledger::default();
        ledger.entered(MEMBER);
        ledger.clone().entered(MEMBER);
        ledger.left(MEMBER, 1);
        assert_eq!(ledger.carries(MEMBER), 1);
        ledger.forget(MEMBER);
        ledger.left(MEMBER, 1);
        assert_eq!(ledger.heat(MEMBER, Duration::ZERO), Heat::default());
    }
}
