//! When the pods' silence says something of the operator, and not of them. Pure.
//!
//! The plan concludes nothing while most pods are silent. But an operator that was stopped, starved of
//! processor time or cut off hears them again one after the other: when half of them are back, the
//! other half is not dead.

use mafalda_plan::{Action, Observed, Reason, is_held};
use std::time::Duration;

/// What the last look at the pods was like.
#[derive(Debug, Default)]
pub struct Doubt {
    looked: Option<Duration>,
    held: bool,
}

impl Doubt {
    /// How long the operator itself has stood still, when it looks each `turn` at least: in that time
    /// nobody could be heard.
    pub fn stood_still(&mut self, now: Duration, turn: Duration) -> Duration {
        let before = self.looked.replace(now).unwrap_or(now);
        let over = now.saturating_sub(before + turn);
        // A little late is in order.
        if over > turn / 4 {
            over
        } else {
            Duration::ZERO
        }
    }

    /// Notes what was decided.
    pub fn note(&mut self, actions: &[Action]) {
        let held = |action: &Action| matches!(action.reason, Reason::ManyPodsSilent { .. });
        self.held |= actions.iter().any(held);
    }

    /// Whether the plan concluded nothing from the silence so far, and would now: those that are still
    /// silent begin anew.
    pub fn ends(&mut self, observed: &Observed) -> bool {
        let ends = self.held && !is_held(observed);
        self.held &= !ends;
        ends
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_that_the_operator_did_not_have_is_not_the_pods() {
        let (turn, second) = (Duration::from_secs(1), Duration::from_secs(1));
        let mut doubt = Doubt::default();
        assert_eq!(doubt.stood_still(second * 100, turn), Duration::ZERO);
        assert_eq!(doubt.stood_still(second * 101, turn), Duration::ZERO);
        assert_eq!(doubt.stood_still(second * 102, turn), Duration::ZERO);
        assert_eq!(doubt.stood_still(second * 108, turn), second * 5);
        assert_eq!(doubt.stood_still(second * 108, turn), Duration::ZERO);
    }
}
