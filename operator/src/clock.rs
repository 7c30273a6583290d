//! The time: one clock for what Kubernetes and pods write down and for what the operator waits for.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use std::time::{Duration, Instant, SystemTime};

/// Time since 1970 that never goes back while the program runs.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    base: Duration,
    start: Instant,
}

impl Clock {
    /// Begins at the system's time.
    pub fn start() -> Self {
        let base = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Self {
            base: base.unwrap_or_default(),
            start: Instant::now(),
        }
    }

    /// Since 1970.
    pub fn now(&self) -> Duration {
        self.base + self.start.elapsed()
    }
}

/// A time of Kubernetes as the time since 1970; what is before that is 1970.
pub fn since_1970(time: &Time) -> Duration {
    Duration::try_from(time.0.as_duration()).unwrap_or_default()
}

/// The time since 1970 as Kubernetes writes it: whole seconds.
pub fn kubernetes_time(time: Duration) -> Time {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    Time(Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_come_back_as_they_went() {
        let time = Duration::from_secs(1_700_000_000);
        assert_eq!(since_1970(&kubernetes_time(time)), time);
        let before = Time(Timestamp::from_second(-5).unwrap());
        assert_eq!(since_1970(&before), Duration::ZERO);
    }
}
