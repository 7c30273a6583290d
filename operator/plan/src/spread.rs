//! Which pods lend a session workers, when those of its home are not enough.

use crate::action::Step;
use crate::load::{CONSUMERS_PER_WORKER, Load};
use crate::names::PodName;
use crate::place::{LARGE, Request};
use crate::pod::{Hosted, State};
use crate::reason::Reason;
use crate::session::Lender;
use crate::world::{Seating, World};
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};

/// Takes back what is not used, is gone or is to go.
pub(crate) fn give_back(world: &mut World<'_>) {
    for seat in 0..world.seats.len() {
        if stays(world, seat) && !world.seats[seat].session.lenders.is_empty() {
            give_back_of(world, seat);
        }
    }
}

/// Grants what is needed.
pub(crate) fn grant(world: &mut World<'_>) {
    world.short = 0;
    for (seat, home) in wanting(world) {
        grant_to(world, seat, home);
    }
}

/// Whether this plan leaves the session where it is.
fn stays(world: &World<'_>, seat: usize) -> bool {
    let seat = &world.seats[seat];
    !seat.ended && !seat.is_news()
}

fn give_back_of(world: &mut World<'_>, seat: usize) {
    let session = world.seats[seat].session;
    for lender in &session.lenders {
        if let Some(reason) = returns(world, seat, lender) {
            if let Some(&pod) = world.pod_by_name.get(&lender.pod) {
                world.pods[pod].lends -= 1;
            }
            world.seats[seat].returned.push(lender.pod.clone());
            let step = Step::ReturnPod {
                session: session.name.clone(),
                pod: lender.pod.clone(),
            };
            world.act(step, reason);
        }
    }
}

/// Why a pod lends to the session no more, if so.
fn returns(world: &World<'_>, seat: usize, lender: &Lender) -> Option<Reason> {
    let pod = || lender.pod.clone();
    let gone = || Some(Reason::LenderGone { pod: pod() });
    let Some(&index) = world.pod_by_name.get(&lender.pod) else {
        return gone();
    };
    let candidate = &world.pods[index];
    match candidate.state {
        State::Failed => return gone(),
        State::Suspect if world.is_lost(candidate) => return gone(),
        State::Cordoned | State::Draining | State::Terminating => {
            return Some(Reason::LenderDrains { pod: pod() });
        }
        // One of another revision is to go.
        _ if !candidate.current => return Some(Reason::LenderDrains { pod: pod() }),
        _ => {}
    }
    let said = hosted(world, seat).filter(|said| !said.wants_more)?;
    let lent = said.lenders.iter().find(|lent| lent.pod == lender.pod)?;
    let unused = world.now.saturating_sub(lent.unused_since?);
    let unused = unused.min(world.now.saturating_sub(lender.since));
    (unused >= world.cluster.timing.unused).then(|| Reason::LenderUnused { pod: pod(), unused })
}

/// What a session's home says of it.
fn hosted<'a>(world: &World<'a>, seat: usize) -> Option<&'a Hosted> {
    let seat = &world.seats[seat];
    let Seating::On(home) = seat.home else {
        return None;
    };
    let (name, generation) = (&seat.session.name, seat.generation);
    let mut said = world.pods[home].pod.sessions.iter();
    said.find(|hosted| hosted.session == *name && hosted.generation == generation)
}

/// The sessions that want more, each with its home.
fn wanting(world: &World<'_>) -> Vec<(usize, usize)> {
    let mut found = BTreeMap::new();
    for (home, candidate) in world.pods.iter().enumerate() {
        if !World::answers(candidate) {
            continue;
        }
        for hosted in candidate.pod.sessions.iter().filter(|said| said.wants_more) {
            let seat = world.session_by_name.get(&hosted.session).copied();
            let is_here = |seat: &usize| {
                world.seats[*seat].home == Seating::On(home)
                    && world.seats[*seat].generation == hosted.generation
                    && stays(world, *seat)
                    && world.seats[*seat].waiting.is_none()
                    && !world.seats[*seat].granted
            };
            if let Some(seat) = seat.filter(is_here)
                && may_spread(world, seat, hosted)
            {
                found.insert(seat, home);
            }
        }
    }
    found.into_iter().collect()
}

fn may_spread(world: &World<'_>, seat: usize, said: &Hosted) -> bool {
    let (session, returned) = (world.seats[seat].session, &world.seats[seat].returned);
    let lenders = session.lenders.iter();
    let mut lenders = lenders.filter(|lender| !returned.contains(&lender.pod));
    let in_use = |lender: &Lender| {
        let mut known = said.lenders.iter();
        known.any(|lent| lent.pod == lender.pod && lent.unused_since.is_none())
    };
    let pods = 1 + lenders.clone().count();
    // What it has is to be filled first.
    pods < session.max_pods as usize && lenders.all(in_use) && !is_small(world, seat, said)
}

/// Small sessions stay on one pod: another home helps them, and pipes cost. A part of their home, as
/// pods may differ in size.
fn is_small(world: &World<'_>, seat: usize, said: &Hosted) -> bool {
    let carried = Load::new(f64::from(said.consumers) / CONSUMERS_PER_WORKER);
    let load = world.seats[seat].session.expected_load().max(carried);
    let capacity = match world.seats[seat].home {
        Seating::On(home) => world.pods[home].capacity,
        Seating::Nowhere | Seating::Gone => world.cluster.pod_capacity(),
    };
    load < capacity * LARGE
}

fn grant_to(world: &mut World<'_>, seat: usize, home: usize) {
    if world.held {
        return;
    }
    let session = world.seats[seat].session;
    let near = world.pods[home].pod;
    let labels = BTreeMap::new();
    let request = Request {
        load: world.cluster.worker_capacity(),
        region: near.region.as_ref(),
        node_labels: &labels,
        mediasoup: near.mediasoup.as_ref(),
        spoken: None,
        lost: false,
    };
    let has: HashSet<&PodName> = session.lenders.iter().map(|lender| &lender.pod).collect();
    let fits = |index: &usize| {
        let candidate = &world.pods[*index];
        let is_new = *index != home && !has.contains(&candidate.pod.name);
        // One of another revision is to go.
        is_new && candidate.current && candidate.check(&request).is_ok()
    };
    // The nearest, and of those the one with the most room, as it is to last.
    let order = |index: &usize| {
        let candidate = &world.pods[*index];
        let room = candidate.capacity - candidate.load;
        (
            candidate.pod.region != near.region,
            candidate.pod.zone() != near.zone(),
            candidate.large,
            candidate.lends,
            Reverse(room),
            &candidate.pod.name,
        )
    };
    let pods = 0..world.pods.len();
    let Some(pod) = pods.filter(fits).min_by(|a, b| order(a).cmp(&order(b))) else {
        // Pods that are made now may have another release than an outdated home.
        world.short += u32::from(world.pods[home].current);
        return;
    };
    world.pods[pod].lends += 1;
    world.seats[seat].granted = true;
    let step = Step::GrantPod {
        session: session.name.clone(),
        pod: world.pods[pod].pod.name.clone(),
    };
    let home = near.name.clone();
    world.act(step, Reason::WorkersHot { home });
}
