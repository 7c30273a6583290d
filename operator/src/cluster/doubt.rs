//! When the pods' silence says something of the operator, and not of them. Pure.
//!
//! The plan concludes nothing while most pods are silent. But an operator that was stopped, starved of
//! processor time or cut off hears them again one after the other: when half of them are back, the
//! other half is not dead.

use mafalda_plan::{Observed, State};
use std::time::Duration;

/// Silent pods that are taken for a fault of the operator, at least.
const MANY: usize = 3;

/// What the last look at the pods was like.
#[derive(Debug, Default)]
pub struct Doubt {
    looked: Option<Duration>,
    most_silent: bool,
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

    /// Whether most pods were silent at the last look and are not any more: those that still are
    /// begin anew.
    pub fn ends(&mut self, observed: &Observed) -> bool {
        let state = |pod: &mafalda_plan::Pod| pod.state(&observed.cluster, observed.now);
        let heard = observed.pods.iter().filter(|pod| pod.last_seen.is_some());
        let states: Vec<State> = heard.map(state).collect();
        let silent = states.iter().filter(|s| **s == State::Suspect).count();
        let there = states.iter().filter(|s| **s != State::Failed).count();
        let most_silent = silent >= MANY && silent * 2 > there;
        std::mem::replace(&mut self.most_silent, most_silent) && !most_silent && silent > 0
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
