//! Which pods are silent, and whether that says something of them.

use crate::action::Step;
use crate::pod::State;
use crate::reason::Reason;
use crate::world::World;

/// Fewer silent pods than this are never taken for a fault of the operator.
const MANY: u32 = 3;

/// Marks pods that do not answer, and clears those that do again.
///
/// When more than half of the pods, and at least three, fall silent while Kubernetes says that they
/// run, it is more likely that the operator is cut off than that all of them died: they are marked,
/// but sessions stay and nothing is deleted. If they did die, Kubernetes will say so.
pub(crate) fn mark(world: &mut World<'_>) {
    let silent = world.count(|pod| pod.state == State::Suspect);
    let pods = world.count(|pod| pod.state != State::Failed && pod.pod.last_seen.is_some());
    world.held = silent >= MANY && silent * 2 > pods;
    for index in 0..world.pods.len() {
        let candidate = &world.pods[index];
        let pod = candidate.pod;
        // A pod that was asked to end falls silent, and there is nothing to tell.
        if !pod.is_running() || pod.suspect != World::answers(candidate) {
            continue;
        }
        let name = pod.name.clone();
        if pod.suspect {
            world.act(Step::ClearSuspect { pod: name }, Reason::PodAnswers);
        } else if world.held {
            let reason = Reason::ManyPodsSilent { silent, pods };
            world.act(Step::MarkSuspect { pod: name }, reason);
        } else {
            let silence = pod.silence(world.now).unwrap_or_default();
            world.act(
                Step::MarkSuspect { pod: name },
                Reason::PodSilent { silence },
            );
        }
    }
}
