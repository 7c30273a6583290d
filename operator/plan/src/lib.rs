//! What to do next with a cluster's media pods and sessions.
//!
//! [`plan`] is one pure function: what was observed in, [`Action`]s out, each with its [`Reason`]. No
//! Kubernetes, no tasks, no clock, no randomness: the time is a field of what was observed. Whoever
//! calls it carries the actions out in their order, notes them ([`Observed::apply`]), and calls it
//! again when there is news.
//!
//! [`choose_pod`] decides alone on which pod a session goes; [`rank_pods`], by the same rules, for who knows of pods
//! what they say of themselves and nothing else: the gateway, for workers that belong to no session.
//! Where no operator is, [`lend`] and [`lost_home`] are the parts of the plan that it carries out for
//! sessions.
//!
//! # Guarantees
//! - A session stays where it is while its pod is well. No session is given up: one that cannot be
//!   placed waits, with a reason.
//! - Each placement is the next generation, so no generation has two homes. What a pod runs of an
//!   older one is fenced.
//! - Nothing is placed on a pod that is not ready, has no known address, is cordoned, draining or silent.
//!   A worker without a session is placed on pods of the mediasoup version that its application speaks
//!   and on no other ([`rank_pods`]).
//! - A session that is placed anew goes to a pod of the mediasoup version that its last home had, as long
//!   as one of those takes it; only then to another, rather than not at all. Region and labels of nodes are
//!   preferences too.
//! - A drain ends by its deadline. A session has one home in each generation, and only pods of its
//!   home's mediasoup version lend to it.
//! - A session that is small, or whose workers are below the watermark, is lent nothing.
//! - Actions applied and planned again without news give no action.
//! - The same input gives the same actions. No input makes it panic.
#![forbid(unsafe_code)]

mod action;
mod anonymous;
mod apply;
mod cluster;
mod drain;
mod health;
mod homes;
mod load;
mod names;
mod place;
mod pod;
mod reason;
mod scale;
mod session;
mod spread;
mod world;

pub use action::{Action, Step};
pub use anonymous::{Preference, Seen, Wish, rank_pods};
pub use cluster::{Cluster, MISSED_POLLS, Pool, Timing};
pub use load::{
    CONSUMERS_PER_WORKER, DEFAULT_PARTICIPANTS, Load, MAX_CONSUMERS_PER_PARTICIPANT, MIN_CONSUMERS,
    ramp_up_weight,
};
pub use names::{
    ClusterName, Generation, MediasoupVersion, NodeName, PodName, Region, Revision, SessionName,
};
pub use place::{Candidate, LARGE, NoPod, Request, choose_pod};
pub use pod::{Drain, DrainCause, DrainPhase, Hosted, Lent, Pod, PodPhase, State, ZONE};
pub use reason::Reason;
pub use scale::{SURGE, need};
pub use session::{Hints, Home, Lender, Session, SessionPhase, TimeToLive};

use std::time::Duration;
use world::World;

/// All that a decision depends on.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    pub cluster: Cluster,
    /// The pods that exist, each name once.
    pub pods: Vec<Pod>,
    /// The sessions that exist, each name once.
    pub sessions: Vec<Session>,
    /// The time, on any clock that all times here are on and that does not go back.
    pub now: Duration,
}

/// Whether so many pods are silent that [`plan`] concludes nothing from it: it may be who observes that
/// is cut off.
pub fn is_held(observed: &Observed) -> bool {
    health::is_held(&World::new(observed))
}

/// Which pods lend to sessions from now on, and which do not any more: [`Step::GrantPod`] and
/// [`Step::ReturnPod`] as [`plan`] has them where nothing else is due. For who keeps no pool.
pub fn lend(observed: &Observed) -> Vec<Action> {
    let mut world = World::new(observed);
    world.held = health::is_held(&world);
    spread::give_back(&mut world);
    spread::grant(&mut world);
    world.actions
}

/// Why a session has lost its home and is to be placed anew, by the rules of [`plan`]. `None`: its home
/// has it or may have it, it has none yet, or there is no such session.
pub fn lost_home(observed: &Observed, session: &SessionName) -> Option<Reason> {
    let mut world = World::new(observed);
    world.held = health::is_held(&world);
    let seat = *world.session_by_name.get(session)?;
    homes::lost(&world, seat)
}

/// What to do now. The order matters: a session has left before its pod is deleted.
pub fn plan(observed: &Observed) -> Vec<Action> {
    let mut world = World::new(observed);
    health::mark(&mut world);
    homes::expire(&mut world);
    homes::adopt(&mut world);
    drain::turn(&mut world);
    spread::give_back(&mut world);
    loop {
        let moved = homes::recover(&mut world);
        homes::place(&mut world);
        spread::grant(&mut world);
        // Who left and drains that are cancelled make room for those that found none.
        if !drain::cancel(&mut world) && !moved {
            break;
        }
    }
    homes::fence(&mut world);
    drain::advance(&mut world);
    scale::replace(&mut world);
    scale::up(&mut world);
    scale::down(&mut world);
    homes::hold(&mut world);
    world.actions
}
