//! Which pods are silent, and whether that says something of them.

use crate::action::Step;
use crate::place::Candidate;
use crate::pod::State;
use crate::reason::Reason;
use crate::world::World;
use std::collections::HashMap;

/// Fewer silent pods than this are never taken for a fault of the operator.
const MANY: u32 = 3;

/// Marks pods that do not answer, and clears those that do again.
///
/// When more than half of the pods, and at least three, fall silent on more than half of the nodes
/// while Kubernetes says that they run, it is more likely that the operator is cut off than that all
/// of them died: they are marked, but sessions stay and nothing is deleted. If they did die, Kubernetes
/// will say so. A pod that is known to be down, or was asked to end, is not among them.
pub(crate) fn mark(world: &mut World<'_>) {
    let (silent, pods) = silent(world);
    world.held = is_held(world);
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
        } else {
            let reason = if pod.down {
                Reason::PodDown
            } else if world.held {
                Reason::ManyPodsSilent { silent, pods }
            } else {
                let silence = pod.silence(world.now).unwrap_or_default();
                Reason::PodSilent { silence }
            };
            world.act(Step::MarkSuspect { pod: name }, reason);
        }
    }
}

/// Whether so many pods are silent that nothing is concluded from it.
pub(crate) fn is_held(world: &World<'_>) -> bool {
    let (silent, pods) = silent(world);
    silent >= MANY && silent * 2 > pods && most_nodes_are_dark(world)
}

/// The pods that are silent, and all that should answer.
fn silent(world: &World<'_>) -> (u32, u32) {
    let is_silent = |candidate: &Candidate<'_>| candidate.state == State::Suspect;
    let silent = world.count(|candidate| is_asked(candidate) && is_silent(candidate));
    (silent, world.count(is_asked))
}

fn is_asked(candidate: &Candidate<'_>) -> bool {
    let pod = candidate.pod;
    pod.is_running() && pod.last_seen.is_some() && !pod.down
}

/// Whether no pod answers on more than half of the nodes. A pod that answers shows that the way to
/// its node is there.
fn most_nodes_are_dark(world: &World<'_>) -> bool {
    let mut dark = HashMap::new();
    for candidate in world.pods.iter().filter(|candidate| is_asked(candidate)) {
        let is_dark = dark.entry(&candidate.pod.node).or_insert(true);
        *is_dark &= candidate.state == State::Suspect;
    }
    dark.values().filter(|dark| **dark).count() * 2 > dark.len()
}
