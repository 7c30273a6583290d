//! How many pods there are to be.

use crate::action::Step;
use crate::cluster::Cluster;
use crate::drain;
use crate::homes::waiting_for_pods;
use crate::load::Load;
use crate::names::PodName;
use crate::place::Candidate;
use crate::pod::{DrainCause, State};
use crate::reason::Reason;
use crate::world::{Seating, World};

/// Share of the needed pods that an upgrade may add, and drain at once. At least one pod.
pub const SURGE: f64 = 0.25;
/// Share of the serving pods that a fall of the need may drain at once. At least one pod.
const FALL: f64 = 0.1;
/// A fall of the need counts only below so much more than the load, as a share of it …
const SLACK: f64 = 0.1;
/// … and in pods: what comes and goes within it makes and drains no pod.
const SLACK_PODS: f64 = 0.5;

/// How many pods a load needs: as many as carry it below the watermark, and the spare ones.
pub fn need(cluster: &Cluster, load: Load) -> u32 {
    need_of(cluster, load.workers() / cluster.pod_capacity().workers())
}

fn need_of(cluster: &Cluster, pods: f64) -> u32 {
    // A watermark of 0 carries nothing in any number of pods. The cast saturates.
    let pods = if pods.is_nan() { 0.0 } else { pods };
    let carry = (pods - 1e-9).ceil().max(0.0) as u32;
    let pool = cluster.pool;
    carry.saturating_add(pool.spare).max(pool.min).min(pool.max)
}

/// What the pool needs, and what it has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Need {
    /// Pods that serve or will.
    pub serving: u32,
    /// As many carry the load.
    carrying: u32,
    /// Fewer than this: too few.
    pub rising: u32,
    /// More than this: too many.
    pub falling: u32,
}

impl Need {
    pub fn of(world: &World<'_>) -> Self {
        let cluster = world.cluster;
        let pods = load(world).workers() / cluster.pod_capacity().workers();
        let slack = (pods * SLACK).max(SLACK_PODS);
        let carrying = need_of(cluster, pods);
        Self {
            serving: serving(world),
            carrying,
            rising: carrying.max(waiting_need(world).min(cluster.pool.max)),
            falling: need_of(cluster, pods + slack),
        }
    }
}

/// What all sessions cost, and will cost: what is measured where anything runs, what was placed too
/// recently to show, and what waits.
fn load(world: &World<'_>) -> Load {
    // What moved away from a pod counts where it is now.
    let counts = |pod: &&Candidate<'_>| {
        let there = match pod.state {
            State::Failed => false,
            State::Suspect => !world.is_lost(pod),
            State::Available
            | State::Addressless
            | State::Starting
            | State::Stuck
            | State::Cordoned
            | State::Draining
            | State::Terminating => true,
        };
        there && !pod.is_empty() && !world.is_late(pod)
    };
    let on_pods: Load = world.pods.iter().filter(counts).map(|pod| pod.load).sum();
    let elsewhere = world.seats.iter().filter(|seat| !seat.ended).map(|seat| {
        let session = seat.session;
        match (seat.waiting, seat.home) {
            (Some(_), _) => session.expected_load(),
            // What a session will cost other pods than its home.
            (None, Seating::On(_)) => {
                let home = session.home_load(world.cluster.pod_capacity());
                let more = session.expected_load() - home;
                more * seat.ramp_up_weight(world.cluster, world.now)
            }
            (None, Seating::Gone | Seating::Nowhere) => Load::ZERO,
        }
    });
    on_pods + elsewhere.sum()
}

/// Pods that serve or will: what the pool's size counts.
fn serving(world: &World<'_>) -> u32 {
    let found = world.pods.iter().any(|pod| pod.pod.address_known);
    world.count(|pod| match pod.state {
        State::Available | State::Starting => true,
        // Another pod may find its address where this one cannot, if any pod can.
        State::Addressless => !found,
        State::Suspect => !world.is_lost(pod) && pod.pod.drain.is_none(),
        State::Stuck | State::Cordoned | State::Draining | State::Terminating | State::Failed => {
            false
        }
    })
}

/// How many pods are needed for sessions that the pods there are have no room for, or no more room,
/// though the load as a whole would fit. 0 if an empty pod does not help them either.
fn waiting_need(world: &World<'_>) -> u32 {
    let available = |pod: &Candidate<'_>| pod.state == State::Available;
    if world
        .pods
        .iter()
        .any(|pod| available(pod) && pod.is_empty())
    {
        return 0;
    }
    let capacity = world.cluster.pod_capacity();
    let waiting = waiting_for_pods(world).map(|session| session.home_load(capacity).min(capacity));
    let short = world.cluster.worker_capacity() * f64::from(world.short);
    let waiting = (waiting.sum::<Load>() + short).workers();
    let capacity = capacity.workers();
    if waiting == 0.0 {
        return 0;
    }
    let pods = (waiting / capacity).ceil() as u32;
    world.count(available).saturating_add(pods)
}

/// How many pods an upgrade may add to those that are needed.
fn surge(need: &Need) -> u32 {
    ((f64::from(need.carrying) * SURGE).ceil() as u32).max(1)
}

/// Pods of another revision that serve.
fn is_outdated(candidate: &Candidate<'_>) -> bool {
    let in_use = matches!(
        candidate.state,
        State::Available | State::Addressless | State::Stuck
    );
    in_use && !candidate.current
}

/// Whether the pod would serve, if only a node had room for it.
fn waits_for_a_node(candidate: &Candidate<'_>) -> bool {
    let is_coming = matches!(candidate.state, State::Starting | State::Stuck);
    is_coming && candidate.current && candidate.pod.unschedulable
}

/// Whether an outdated pod is to go for one that finds no node, in the hope that it fits in its place.
/// One is given up at first, and another only after a pod of the wanted revision has come up since: a
/// template that fits on no node, or on few, must not cost the pool.
fn makes_room(world: &World<'_>, need: &Need, available: u32) -> bool {
    if !world.pods.iter().any(waits_for_a_node) {
        return false;
    }
    let serves = |pod: &&Candidate<'_>| pod.current && pod.state == State::Available;
    let mut serving = world.pods.iter().filter(serves);
    match &world.cluster.made_room {
        Some((revision, at)) if *revision == world.cluster.revision => {
            serving.any(|pod| pod.pod.ready_since.is_some_and(|since| since > *at))
        }
        // Nobody knows of one.
        Some(_) | None => available >= need.rising || serving.next().is_some(),
    }
}

/// Pods that are being replaced.
fn is_replaced(candidate: &Candidate<'_>) -> bool {
    let drains = matches!(candidate.state, State::Cordoned | State::Draining);
    let cause = candidate.pod.drain.map(|drain| drain.cause);
    // One that this plan cordoned has no drain yet, and was not cordoned for a fall of the need.
    drains && cause != Some(DrainCause::ScaleDown)
}

/// Cordons outdated pods, as many as others serve in the place of.
pub(crate) fn replace(world: &mut World<'_>) {
    let need = Need::of(world);
    let available = world.count(|pod| pod.state == State::Available);
    let mut spare = available.saturating_sub(need.rising);
    let replaced = world.count(is_replaced);
    // The first of those that serve goes for one that finds no node, where none could be spared.
    let mut makes_room = spare == 0 && replaced == 0 && makes_room(world, &need, available);
    spare += u32::from(makes_room);
    let free = surge(&need).saturating_sub(replaced);
    for index in emptiest(world, is_outdated).into_iter().take(free as usize) {
        let mut reason = drain::outdated(&world.pods[index]);
        if world.pods[index].state == State::Available {
            if spare == 0 {
                continue;
            }
            spare -= 1;
            if std::mem::take(&mut makes_room) {
                let revision = world.pods[index].pod.revision.clone();
                reason = Reason::MakesRoom { revision };
            }
        }
        drain::cordon(world, index, DrainCause::Outdated, reason);
    }
}

/// Makes pods.
pub(crate) fn up(world: &mut World<'_>) {
    let need = Need::of(world);
    let (outdated, replaced) = (world.count(is_outdated), world.count(is_replaced));
    let surge = surge(&need);
    let extra = outdated.min(surge.saturating_sub(replaced));
    let wanted = need.rising.saturating_add(extra);
    let there = world.count(|pod| {
        !world.is_lost(pod) && !matches!(pod.state, State::Failed | State::Terminating)
    });
    let most = world
        .cluster
        .pool
        .max
        .saturating_add(surge.min(outdated + replaced));
    // Where one finds no node another finds none either; as many as are needed wait for one.
    let waits = |pod: &Candidate<'_>| pod.state == State::Stuck && waits_for_a_node(pod);
    let coming = need.serving.saturating_add(world.count(waits));
    let missing = wanted
        .saturating_sub(coming)
        .min(most.saturating_sub(there));
    let waiting = waiting_for_pods(world).count() + world.short as usize;
    let reason = if need.serving >= need.rising {
        Reason::Surge { outdated }
    } else if waiting > 0 {
        let sessions = u32::try_from(waiting).unwrap_or(u32::MAX);
        Reason::SessionsWait { sessions }
    } else {
        Reason::NeedRises {
            serving: need.serving,
            wanted: need.rising,
        }
    };
    let first = next_ordinal(world);
    for ordinal in (first..).take(missing as usize) {
        let pod = pod_name(world.cluster, ordinal);
        world.act(Step::CreatePod { pod }, reason.clone());
    }
}

/// The number of the next pod: as it was written down, or after those that exist already.
fn next_ordinal(world: &World<'_>) -> u64 {
    let prefix = format!("{}-", world.cluster.name);
    let ordinal = |pod: &Candidate<'_>| -> Option<u64> {
        let name = pod.pod.name.as_str();
        name.strip_prefix(&prefix)?.parse().ok()
    };
    let last = world.pods.iter().filter_map(ordinal).max();
    let after = last.map_or(0, |last| last.saturating_add(1));
    world.cluster.next_ordinal.max(after)
}

fn pod_name(cluster: &Cluster, ordinal: u64) -> PodName {
    format!("{}-{ordinal}", cluster.name).into()
}

/// Cordons pods that are not needed, the emptiest first.
pub(crate) fn down(world: &mut World<'_>) {
    if world.pods.iter().any(is_outdated) {
        // There are more pods than are needed on purpose.
        return;
    }
    if world.held || world.short > 0 || waiting_for_pods(world).next().is_some() {
        return;
    }
    let need = Need::of(world);
    let cause = |pod: &Candidate<'_>| pod.pod.drain.map(|drain| drain.cause);
    let falling = world.count(|pod| {
        let drains = matches!(pod.state, State::Cordoned | State::Draining);
        drains && cause(pod) == Some(DrainCause::ScaleDown)
    });
    let at_once = ((f64::from(need.serving + falling) * FALL).ceil() as u32).max(1);
    let excess = need.serving.saturating_sub(need.falling);
    let count = excess.min(at_once.saturating_sub(falling));
    let (now, settle) = (world.now, world.cluster.timing.settle);
    let settled = |pod: &Candidate<'_>| {
        let since = pod.pod.ready_since.max(pod.pod.restored_at).unwrap_or(now);
        // What has just got a session was needed for it, and what is lent and not used comes back.
        let in_use = pod.ramping > Load::ZERO || pod.lends > 0;
        pod.state == State::Available && !in_use && since.saturating_add(settle) <= now
    };
    let reason = Reason::NeedFalls {
        serving: need.serving,
        wanted: need.falling,
    };
    for index in emptiest(world, settled).into_iter().take(count as usize) {
        drain::cordon(world, index, DrainCause::ScaleDown, reason.clone());
    }
}

/// Those pods, the one with the fewest sessions first.
fn emptiest(world: &World<'_>, fits: impl Fn(&Candidate<'_>) -> bool) -> Vec<usize> {
    let mut found: Vec<usize> = (0..world.pods.len())
        .filter(|&index| fits(&world.pods[index]))
        .collect();
    found.sort_by(|&a, &b| {
        let (a, b) = (&world.pods[a], &world.pods[b]);
        (a.users(), a.load)
            .cmp(&(b.users(), b.load))
            .then_with(|| a.pod.name.cmp(&b.pod.name))
    });
    found
}
