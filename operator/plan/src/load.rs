//! Load: what a session is expected to cost, and how long that counts.
//!
//! The one formula. A session of `n` participants, each with two producers (audio and video), each
//! consuming those of the others but no more than 50:
//!
//! ```text
//! consumers(n) = n · min(2 (n − 1), 50)
//! load(n)      = max(consumers(n), 5) / 500
//! ```
//!
//! 500 consumers a worker is mediasoup's own rule of thumb; 50 is what applications show of a large
//! room; 5 is what a session costs when nobody speaks.

use std::iter::Sum;
use std::ops::{Add, AddAssign, Mul, Sub, SubAssign};
use std::time::Duration;

/// Consumers that keep one worker busy.
pub const CONSUMERS_PER_WORKER: f64 = 500.0;
/// Consumers a participant has at most.
pub const MAX_CONSUMERS_PER_PARTICIPANT: u32 = 50;
/// Consumers that every session counts for at least.
pub const MIN_CONSUMERS: u64 = 5;
/// Participants of a session that says nothing of its size.
pub const DEFAULT_PARTICIPANTS: u32 = 4;

/// Work, in workers: 1 keeps one worker, hence one core, busy.
///
/// It is kept in whole millionths, so that what is added and taken away again leaves nothing behind.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Load(u64);

const MILLIONTHS: f64 = 1e6;

impl Load {
    /// Nothing to do.
    pub const ZERO: Self = Self(0);

    /// A load of so many workers. What is no number counts as a busy worker: it fails closed.
    pub fn new(workers: f64) -> Self {
        let workers = if workers.is_finite() { workers } else { 1.0 };
        // The cast saturates: less than nothing is nothing.
        Self((workers * MILLIONTHS).round() as u64)
    }

    /// What a session of `participants` is expected to cost: the formula above.
    pub fn expected(participants: u32) -> Self {
        let each = participants
            .saturating_sub(1)
            .saturating_mul(2)
            .min(MAX_CONSUMERS_PER_PARTICIPANT);
        let consumers = u64::from(participants) * u64::from(each);
        Self::new(consumers.max(MIN_CONSUMERS) as f64 / CONSUMERS_PER_WORKER)
    }

    /// In workers.
    pub fn workers(self) -> f64 {
        self.0 as f64 / MILLIONTHS
    }
}

impl Add for Load {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Load {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Load {
    type Output = Self;
    /// Not less than nothing.
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl SubAssign for Load {
    fn sub_assign(&mut self, other: Self) {
        *self = *self - other;
    }
}

impl Mul<f64> for Load {
    type Output = Self;
    fn mul(self, factor: f64) -> Self {
        Self::new(self.workers() * factor)
    }
}

impl Sum for Load {
    fn sum<I: Iterator<Item = Self>>(loads: I) -> Self {
        loads.fold(Self::ZERO, Self::add)
    }
}

/// How much of a session's expected load still counts, 0 to 1, `age` after it was placed: less and
/// less, as people join and what it really costs shows in the CPU.
pub fn ramp_up_weight(age: Duration, ramp_up: Duration) -> f64 {
    if age >= ramp_up {
        return 0.0;
    }
    1.0 - age.as_secs_f64() / ramp_up.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_costs_what_the_formula_says() {
        for (participants, consumers) in [
            (0, 5.0),
            (1, 5.0),
            (2, 5.0),
            (4, 24.0),
            (10, 180.0),
            (26, 1300.0),
            (27, 1350.0),
            (1000, 50_000.0),
        ] {
            let load = Load::expected(participants).workers();
            assert!(
                (load - consumers / 500.0).abs() < 1e-9,
                "{participants}: {load}"
            );
        }
        assert!(Load::expected(u32::MAX).workers().is_finite());
    }

    #[test]
    fn what_was_placed_fades_as_it_shows() {
        let ramp_up = Duration::from_secs(120);
        for (age, weight) in [(0, 1.0), (30, 0.75), (60, 0.5), (120, 0.0), (9999, 0.0)] {
            let got = ramp_up_weight(Duration::from_secs(age), ramp_up);
            assert!((got - weight).abs() < 1e-9, "{age} s: {got}");
        }
        assert_eq!(ramp_up_weight(Duration::ZERO, Duration::ZERO), 0.0);
    }

    #[test]
    fn no_number_is_a_busy_worker() {
        assert_eq!(Load::new(f64::NAN), Load::new(1.0));
        assert_eq!(Load::new(f64::INFINITY), Load::new(1.0));
        assert_eq!(Load::new(-3.0), Load::ZERO);
    }
}
