//! Which rooms there are on that day: the same for each policy.

use crate::numbers::Numbers;

pub const ROOMS: usize = 10_000;
pub const PODS: usize = 14;
/// Seconds.
pub const DAY: u64 = 24 * HOUR;
pub const HOUR: u64 = 3600;
const LIFE: f64 = 30.0 * 60.0;
/// People join within two minutes and leave within one.
const JOIN: f64 = 120.0;
const LEAVE: f64 = 60.0;
/// Those of a large room who send.
const SPEAKERS: usize = 4;

pub struct Room {
    /// On which it runs.
    pub pod: usize,
    /// The first of them send; all receive what the others send.
    pub senders: usize,
    /// When each is there, in seconds of the day. The room is there from the first to the last.
    pub peers: Vec<(u64, u64)>,
}

impl Room {
    /// When it is over.
    pub fn end(&self) -> u64 {
        self.peers.iter().map(|peer| peer.1).max().unwrap_or(0)
    }

    /// Consumers when all are there: of audio and of video.
    pub fn consumers(&self) -> usize {
        2 * self.senders * (self.peers.len() - 1)
    }
}

/// All rooms, by the time at which they begin.
pub fn rooms() -> Vec<Room> {
    let mut numbers = Numbers::new(20_261_123);
    let mut begins: Vec<f64> = (0..ROOMS).map(|_| begin(&mut numbers)).collect();
    begins.sort_by(f64::total_cmp);
    let mut rooms: Vec<Room> = begins
        .into_iter()
        .map(|begin| room(&mut numbers, begin))
        .collect();
    assign(&mut rooms);
    rooms
}

/// Two waves, before and after noon.
fn begin(numbers: &mut Numbers) -> f64 {
    let wave = |hour: f64, top: f64, width: f64| (-((hour - top) / width).powi(2)).exp();
    loop {
        let hour = 24.0 * numbers.share();
        let share = 0.15 + 0.85 * (wave(hour, 10.5, 2.0) + 0.95 * wave(hour, 15.5, 2.5)).min(1.0);
        if numbers.share() < share {
            return hour * HOUR as f64;
        }
    }
}

fn room(numbers: &mut Numbers, begin: f64) -> Room {
    let (count, senders) = match numbers.share() {
        kind if kind < 0.80 => (numbers.between(2, 5), usize::MAX),
        kind if kind < 0.93 => (numbers.between(6, 12), usize::MAX),
        kind if kind < 0.985 => (15, usize::MAX),
        _ => (numbers.between(50, 300), SPEAKERS),
    };
    let senders = senders.min(count);
    let end = begin + numbers.exponential(LIFE).clamp(300.0, 4.0 * 3600.0);
    let peers = (0..count).map(|peer| {
        let joins = begin + JOIN * numbers.share();
        // One in four goes earlier, but not who speaks to many.
        let early = numbers.share() < 0.25 && (senders == count || peer >= senders);
        let leaves = match early {
            true => joins + (end - joins) * numbers.share(),
            false => end - LEAVE * numbers.share(),
        };
        (joins as u64, leaves as u64 + 1)
    });
    Room {
        pod: 0,
        senders,
        peers: peers.collect(),
    }
}

/// Each room on the pod that is to carry least then, whatever the policy within the pod.
fn assign(rooms: &mut [Room]) {
    let mut carried: Vec<(u64, usize, usize)> = Vec::new();
    for room in rooms {
        let begin = room.peers.iter().map(|peer| peer.0).min().unwrap_or(0);
        carried.retain(|(end, ..)| *end > begin);
        let mut sums = [0; PODS];
        for (_, pod, consumers) in &carried {
            sums[*pod] += consumers;
        }
        room.pod = (0..PODS).min_by_key(|pod| sums[*pod]).unwrap_or(0);
        carried.push((room.end(), room.pod, room.consumers()));
    }
}
