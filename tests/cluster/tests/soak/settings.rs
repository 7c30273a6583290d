//! How long, how many, and which faults.

use std::time::{Duration, SystemTime};

/// What CI has time for.
const SHORT: (usize, u64) = (30, 60);

pub struct Settings {
    pub sessions: usize,
    pub load: Duration,
    pub seed: u64,
}

impl Settings {
    /// `MAFALDA_SOAK=SESSIONS,SECONDS` and `MAFALDA_SEED`.
    pub fn read() -> Self {
        let text = std::env::var("MAFALDA_SOAK").ok();
        let (sessions, seconds) = text.map_or(SHORT, |text| {
            let (sessions, seconds) = text.split_once(',').expect("MAFALDA_SOAK=100,600");
            (sessions.parse().unwrap(), seconds.parse().unwrap())
        });
        let seed = std::env::var("MAFALDA_SEED").ok();
        let seed = seed.map_or_else(now, |seed| seed.parse().unwrap());
        Self {
            sessions,
            load: Duration::from_secs(seconds),
            seed,
        }
    }
}

fn now() -> u64 {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap();
    now.as_secs() % 1_000_000
}
