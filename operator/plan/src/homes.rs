//! Each session's home: one, while it lives.

use crate::action::Step;
use crate::names::Generation;
use crate::place::{Request, choose};
use crate::pod::{Hosted, Pod, State};
use crate::reason::Reason;
use crate::session::{Session, SessionPhase};
use crate::world::{Seating, World};
use std::cmp::Reverse;
use std::collections::HashMap;

/// Ends sessions whose time is over.
pub(crate) fn expire(world: &mut World<'_>) {
    for index in 0..world.seats.len() {
        let session = world.seats[index].session;
        if let Some((end, reason)) = session.end()
            && end <= world.now
        {
            world.unseat(index);
            world.seats[index].ended = true;
            let session = session.name.clone();
            world.act(Step::ExpireSession { session }, reason);
        }
    }
}

/// Writes down what runs: a generation later than the known one was placed by an operator that did
/// not live to write it down.
pub(crate) fn adopt(world: &mut World<'_>) {
    let mut latest: HashMap<usize, (Generation, Reverse<usize>)> = HashMap::new();
    for (index, candidate) in world.pods.iter().enumerate() {
        if !World::answers(candidate) {
            continue;
        }
        for hosted in &candidate.pod.sessions {
            let Some(&seat) = world.session_by_name.get(&hosted.session) else {
                continue;
            };
            if !world.seats[seat].ended && hosted.generation > world.seats[seat].generation {
                let found = (hosted.generation, Reverse(index));
                let known = latest.entry(seat).or_insert(found);
                *known = found.max(*known);
            }
        }
    }
    let mut latest: Vec<_> = latest.into_iter().collect();
    latest.sort_unstable();
    for (seat, (generation, Reverse(pod))) in latest {
        world.seat(seat, pod, generation);
        let step = Step::AdoptSession {
            session: world.seats[seat].session.name.clone(),
            pod: world.pods[pod].pod.name.clone(),
            generation,
        };
        world.act(step, Reason::RunsAlready { generation });
    }
}

/// Gives sessions whose pod is not well any more a next generation elsewhere. Whether there were any.
pub(crate) fn recover(world: &mut World<'_>) -> bool {
    // Pods that had those, or lent to them, are free for others, and for them.
    for index in 0..world.seats.len() {
        if lost(world, index).is_some() {
            world.unseat(index);
        }
    }
    let mut moved = false;
    let mut stay = Vec::new();
    for index in 0..world.seats.len() {
        let Some((reason, must)) = leaves(world, index) else {
            continue;
        };
        let seat = &world.seats[index];
        let (session, generation) = (seat.session, seat.generation.next());
        let Some(home) = &session.home else { continue };
        // The pod that has to be left is in no state to be chosen, but for the one that lost it.
        let request = Request {
            lost: must,
            ..world.home_of(session)
        };
        match choose(&request, &world.pods) {
            Ok(pod) => {
                world.seat(index, pod, generation);
                let step = Step::MoveSession {
                    session: session.name.clone(),
                    from: home.pod.clone(),
                    to: world.pods[pod].pod.name.clone(),
                    generation,
                };
                world.act(step, reason);
                moved = true;
            }
            Err(nowhere) if must => {
                world.seats[index].waiting = Some(nowhere);
                stay.push(index);
            }
            Err(_) => {}
        }
    }
    for index in stay {
        world.seat_again(index);
    }
    moved
}

/// Why a session that its home does not serve any more has to be placed anew, if so.
pub(crate) fn lost(world: &World<'_>, index: usize) -> Option<Reason> {
    leaves(world, index).and_then(|(reason, must)| must.then_some(reason))
}

/// Why a session leaves its home, if it does, and whether it has to.
fn leaves(world: &World<'_>, index: usize) -> Option<(Reason, bool)> {
    let seat = &world.seats[index];
    let session = seat.session;
    if seat.ended || seat.is_news() {
        return None;
    }
    let pod = || session.home.as_ref().map(|home| home.pod.clone());
    let candidate = match seat.home {
        Seating::Nowhere => return None,
        Seating::Gone => return Some((Reason::HomeGone { pod: pod()? }, true)),
        Seating::On(home) => &world.pods[home],
    };
    let stays = match candidate.state {
        State::Failed => return Some((Reason::HomeFailed { pod: pod()? }, true)),
        State::Suspect if world.is_lost(candidate) => {
            return Some((Reason::HomeSilent { pod: pod()? }, true));
        }
        // Its application would lose nothing but its worker; but it may be about to let somebody in.
        State::Draining | State::Terminating => session.empty_since.is_none() || session.attended,
        State::Available
        | State::Addressless
        | State::Starting
        | State::Stuck
        | State::Cordoned
        | State::Suspect => true,
    };
    if is_missing(world, session, candidate.pod) {
        Some((Reason::SessionMissing { pod: pod()? }, true))
    } else if world.is_late(candidate) {
        Some((Reason::HomeDrained { pod: pod()? }, true))
    } else if stays {
        None
    } else {
        Some((Reason::NobodyThere { pod: pod()? }, false))
    }
}

/// Whether the pod answered long after the session was placed there and does not run it: its
/// container began anew.
fn is_missing(world: &World<'_>, session: &Session, pod: &Pod) -> bool {
    let Some(home) = &session.home else {
        return false;
    };
    let expected = home.since.saturating_add(world.cluster.timing.suspect());
    let runs =
        |hosted: &Hosted| hosted.session == session.name && hosted.generation >= session.generation;
    pod.last_seen.is_some_and(|seen| seen > expected) && !pod.sessions.iter().any(runs)
}

/// Gives sessions that never had a home their first, the oldest first.
pub(crate) fn place(world: &mut World<'_>) {
    let mut waiting: Vec<usize> = (0..world.seats.len())
        .filter(|&index| {
            let seat = &world.seats[index];
            seat.home == Seating::Nowhere && !seat.ended
        })
        .collect();
    waiting.sort_by_key(|&index| {
        let session = world.seats[index].session;
        (session.created, &session.name)
    });
    for index in waiting {
        let session = world.seats[index].session;
        match choose(&world.home_of(session), &world.pods) {
            Ok(pod) => {
                let generation = session.generation.next();
                world.seat(index, pod, generation);
                let step = Step::PlaceSession {
                    session: session.name.clone(),
                    pod: world.pods[pod].pod.name.clone(),
                    generation,
                };
                world.act(step, Reason::Placed);
            }
            Err(nowhere) => world.seats[index].waiting = Some(nowhere),
        }
    }
}

/// Tells why sessions wait, and when they need not any more.
pub(crate) fn hold(world: &mut World<'_>) {
    for index in 0..world.seats.len() {
        if world.seats[index].waiting.is_some() {
            // What was decided since may have made another reason the nearest.
            let session = world.seats[index].session;
            let request = Request {
                lost: session.home.is_some(),
                ..world.home_of(session)
            };
            world.seats[index].waiting = choose(&request, &world.pods).err();
        }
        let seat = &world.seats[index];
        let session = seat.session;
        if seat.ended {
            continue;
        }
        let name = session.name.clone();
        let pending = session.phase == SessionPhase::Pending;
        match (seat.waiting.map(|nowhere| nowhere.reason), seat.home) {
            (Some(none), _) if pending && session.waiting == Some(none) => {}
            (Some(none), _) => {
                world.act(Step::HoldSession { session: name }, Reason::Waiting(none))
            }
            (None, Seating::On(pod))
                if pending && !seat.is_news() && World::answers(&world.pods[pod]) =>
            {
                let step = Step::AdoptSession {
                    session: name,
                    pod: world.pods[pod].pod.name.clone(),
                    generation: seat.generation,
                };
                world.act(step, Reason::HomeAnswers);
            }
            (None, _) => {}
        }
    }
}

/// Ends what pods run and should not.
pub(crate) fn fence(world: &mut World<'_>) {
    for index in 0..world.pods.len() {
        let candidate = &world.pods[index];
        if !World::answers(candidate) {
            continue;
        }
        let pod = candidate.pod;
        for hosted in &pod.sessions {
            let seat = world
                .session_by_name
                .get(&hosted.session)
                .map(|&seat| &world.seats[seat]);
            let reason = match seat {
                None => Reason::SessionEnded,
                Some(seat) if seat.ended => Reason::SessionEnded,
                Some(seat) if hosted.generation < seat.generation => Reason::OlderGeneration {
                    current: seat.generation,
                },
                Some(seat) => match seat.home {
                    Seating::On(home) if home != index => Reason::NotItsHome {
                        home: world.pods[home].pod.name.clone(),
                    },
                    Seating::On(_) | Seating::Gone | Seating::Nowhere => continue,
                },
            };
            let step = Step::FenceSession {
                pod: pod.name.clone(),
                session: hosted.session.clone(),
                generation: hosted.generation,
            };
            world.act(step, reason);
        }
    }
}

/// The sessions that wait for a reason that another pod would end.
pub(crate) fn waiting_for_pods<'a>(
    world: &'a World<'_>,
) -> impl Iterator<Item = &'a Session> + use<'a> {
    world
        .seats
        .iter()
        .filter(|seat| seat.waiting.is_some_and(|nowhere| nowhere.another_helps))
        .map(|seat| seat.session)
}
