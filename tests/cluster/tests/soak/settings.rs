//! How long, how many, and which faults.

use std::fmt;
use std::time::{Duration, SystemTime};

/// What `make test-cluster` has time for; `make soak` has ten minutes.
const SHORT: (usize, u64) = (12, 60);

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

/// What repeats the run.
impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sessions, seconds, seed) = (self.sessions, self.load.as_secs(), self.seed);
        write!(
            f,
            "MAFALDA_SOAK={sessions},{seconds} MAFALDA_SEED={seed} make soak"
        )
    }
}

fn now() -> u64 {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap();
    now.as_secs() % 1_000_000
}
