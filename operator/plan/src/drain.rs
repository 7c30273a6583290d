//! Pods that are to go: cordoned first, then draining, then deleted; or wanted again.

use crate::action::Step;
use crate::names::PodName;
use crate::place::Candidate;
use crate::pod::{DrainCause, DrainPhase, State};
use crate::reason::Reason;
use crate::scale::Need;
use crate::world::World;
use std::cmp::Reverse;

/// The second phase of drains, drains that were asked for, drains that are not wanted any more, and the
/// end of pods that never served and never should.
pub(crate) fn turn(world: &mut World<'_>) {
    for index in 0..world.pods.len() {
        let candidate = &world.pods[index];
        let pod = candidate.pod;
        if !pod.is_running() || candidate.state == State::Suspect {
            continue;
        }
        let never_ready = pod.ready_since.is_none() && pod.last_seen.is_none();
        match pod.drain {
            _ if never_ready && !candidate.current && candidate.is_empty() => {
                let reason = outdated(candidate);
                delete(world, index, reason);
            }
            None if pod.drain_requested => {
                cordon(world, index, DrainCause::Requested, Reason::DrainRequested);
            }
            None => {}
            Some(_) if world.is_late(candidate) => {}
            Some(drain) => match drain.cause {
                DrainCause::Requested if !pod.drain_requested => {
                    restore(world, index, Reason::RequestWithdrawn);
                }
                DrainCause::Outdated if candidate.current && !pod.drain_requested => {
                    restore(world, index, Reason::RevisionReturns);
                }
                DrainCause::Requested | DrainCause::Outdated | DrainCause::ScaleDown => {
                    let cordoned = candidate.state == State::Cordoned;
                    if cordoned && cordon_over(world, candidate) && !candidate.is_empty() {
                        world.pods[index].state = State::Draining;
                    }
                }
            },
        }
    }
}

/// Takes back drains of a pool that is needed again, the fullest pods first. Whether there were any.
pub(crate) fn cancel(world: &mut World<'_>) -> bool {
    let need = Need::of(world);
    let missing = need.rising.saturating_sub(need.serving);
    let mut spared: Vec<usize> = (0..world.pods.len())
        .filter(|&index| {
            let candidate = &world.pods[index];
            let drains = matches!(candidate.state, State::Cordoned | State::Draining);
            let cause = candidate.pod.drain.map(|drain| drain.cause);
            let scaled_down = cause == Some(DrainCause::ScaleDown);
            let wanted = candidate.current && !candidate.pod.drain_requested;
            drains && scaled_down && wanted && !world.is_late(candidate)
        })
        .collect();
    spared.sort_by_key(|&index| {
        let candidate = &world.pods[index];
        (Reverse(candidate.sessions), &candidate.pod.name)
    });
    spared.truncate(missing as usize);
    let reason = Reason::NeedReturns {
        serving: need.serving,
        wanted: need.rising,
    };
    for &index in &spared {
        restore(world, index, reason.clone());
    }
    !spared.is_empty()
}

/// Goes on with the drains, and deletes what is over.
pub(crate) fn advance(world: &mut World<'_>) {
    for index in 0..world.pods.len() {
        let candidate = &world.pods[index];
        let (pod, empty) = (candidate.pod, candidate.is_empty());
        if pod.is_running() && world.is_late(candidate) {
            delete(world, index, Reason::DeadlineReached);
            continue;
        }
        let silence = pod.silence(world.now).unwrap_or_default();
        match candidate.state {
            State::Cordoned if empty && cordon_over(world, candidate) => {
                delete(world, index, Reason::Emptied);
            }
            State::Draining if empty => delete(world, index, Reason::Emptied),
            State::Draining => tell(world, index),
            // Nothing is deleted that a session still calls its home: the session would look well.
            State::Failed if candidate.sessions == 0 && pod.terminating_since.is_none() => {
                delete(world, index, Reason::PodFailed);
            }
            State::Suspect
                if pod.is_running()
                    && candidate.sessions == 0
                    && world.is_lost(candidate)
                    && silence >= world.cluster.timing.lost =>
            {
                delete(world, index, Reason::PodLost { silence });
            }
            State::Stuck if never_comes_up(world, candidate) => {
                delete(world, index, Reason::NeverReady);
            }
            State::Available
            | State::Addressless
            | State::Starting
            | State::Stuck
            | State::Cordoned
            | State::Terminating
            | State::Suspect
            | State::Failed => {}
        }
    }
}

/// Whether a pod that has a node and an address had twice the time to become ready and never answered:
/// it would only take the place of one that may come up elsewhere.
fn never_comes_up(world: &World<'_>, candidate: &Candidate<'_>) -> bool {
    let pod = candidate.pod;
    let age = world.now.saturating_sub(pod.created);
    let has_place = pod.node.is_some() && pod.address_known && !pod.unschedulable;
    let unused = candidate.is_empty() && candidate.sessions == 0;
    has_place && unused && pod.last_seen.is_none() && age >= world.cluster.timing.start * 2
}

/// Begins the second phase of a drain, unless that was done.
fn tell(world: &mut World<'_>, index: usize) {
    let candidate = &world.pods[index];
    let pod = candidate.pod;
    let told = pod
        .drain
        .is_some_and(|drain| drain.phase == DrainPhase::Draining);
    if let (false, Some(deadline)) = (told, pod.deadline(world.cluster)) {
        let sessions = u32::try_from(candidate.sessions).unwrap_or(u32::MAX);
        let pod = name(candidate);
        world.act(
            Step::DrainPod { pod, deadline },
            Reason::CordonOver { sessions },
        );
    }
}

/// Lets a pod take nothing new.
pub(crate) fn cordon(world: &mut World<'_>, index: usize, cause: DrainCause, reason: Reason) {
    world.pods[index].state = State::Cordoned;
    let pod = name(&world.pods[index]);
    world.act(Step::CordonPod { pod, cause }, reason);
}

/// That the pod is of another revision.
pub(crate) fn outdated(candidate: &Candidate<'_>) -> Reason {
    Reason::Outdated {
        revision: candidate.pod.revision.clone(),
    }
}

/// Whether the first phase is over: what was on its way there when it was cordoned has come.
fn cordon_over(world: &World<'_>, candidate: &Candidate<'_>) -> bool {
    let cordon = world.cluster.timing.cordon;
    let since = candidate.pod.drain.map(|drain| drain.since);
    since.is_some_and(|since| since.saturating_add(cordon) <= world.now)
}

fn restore(world: &mut World<'_>, index: usize, reason: Reason) {
    let mut restored = world.pods[index].pod.clone();
    restored.drain = None;
    world.pods[index].state = restored.state(world.cluster, world.now);
    let pod = restored.name;
    world.act(Step::CancelDrain { pod }, reason);
}

fn delete(world: &mut World<'_>, index: usize, reason: Reason) {
    let pod = name(&world.pods[index]);
    let candidate = &mut world.pods[index];
    candidate.running = false;
    // A silent one stays silent.
    candidate.state = candidate.state.max(State::Terminating);
    world.act(Step::DeletePod { pod }, reason);
}

fn name(candidate: &Candidate<'_>) -> PodName {
    candidate.pod.name.clone()
}
