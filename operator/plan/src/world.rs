//! What was observed, indexed, and what this plan has decided so far.

use crate::Observed;
use crate::action::{Action, Step};
use crate::cluster::Cluster;
use crate::load::{Load, ramp_up_weight};
use crate::names::{Generation, PodName, SessionName};
use crate::place::{Candidate, Nowhere, Request};
use crate::pod::State;
use crate::reason::Reason;
use crate::session::{Session, SessionPhase};
use std::collections::HashMap;
use std::time::Duration;

/// The state that one plan works on. A decision changes it, so that the next one knows.
pub(crate) struct World<'a> {
    pub cluster: &'a Cluster,
    pub now: Duration,
    pub pods: Vec<Candidate<'a>>,
    pub seats: Vec<Seat<'a>>,
    pub session_by_name: HashMap<&'a SessionName, usize>,
    pub pod_by_name: HashMap<&'a PodName, usize>,
    /// So many pods are silent that nothing is concluded from it.
    pub held: bool,
    /// Sessions that want more pods and find none.
    pub short: u32,
    pub actions: Vec<Action>,
}

/// A session and what has been decided for it.
pub(crate) struct Seat<'a> {
    pub session: &'a Session,
    pub generation: Generation,
    pub home: Seating,
    /// When it was placed there.
    pub since: Option<Duration>,
    /// Why it has no pod that serves it.
    pub waiting: Option<Nowhere>,
    pub ended: bool,
    /// Whether it is in its home pod's account.
    pub carried: bool,
    /// Whether this plan lends it another pod.
    pub granted: bool,
    /// Whether what is lent to it is in nobody's account any more.
    pub forgotten: bool,
    /// Pods that do not lend to it any more.
    pub returned: Vec<PodName>,
}

/// Where a session is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Seating {
    /// It never was placed.
    Nowhere,
    /// Its home pod does not exist any more.
    Gone,
    /// On the pod of that index.
    On(usize),
}

impl<'a> World<'a> {
    pub fn new(observed: &'a Observed) -> Self {
        let (cluster, now) = (&observed.cluster, observed.now);
        let mut pods: Vec<_> = observed
            .pods
            .iter()
            .map(|pod| Candidate::new(pod, cluster, now))
            .collect();
        let pod_by_name: HashMap<&PodName, usize> = observed
            .pods
            .iter()
            .enumerate()
            .map(|(index, pod)| (&pod.name, index))
            .collect();
        let seat = |session: &'a Session| {
            let home = match &session.home {
                None => Seating::Nowhere,
                Some(home) => match pod_by_name.get(&home.pod) {
                    Some(&index) => Seating::On(index),
                    None => Seating::Gone,
                },
            };
            let ended = session.phase == SessionPhase::Ended;
            let seat = Seat {
                session,
                generation: session.generation,
                home,
                since: session.home.as_ref().map(|home| home.since),
                waiting: None,
                ended,
                carried: matches!(home, Seating::On(_)) && !ended,
                granted: false,
                forgotten: false,
                returned: Vec::new(),
            };
            if let (Seating::On(index), true) = (home, seat.carried) {
                let load = session.home_load(cluster.pod_capacity());
                pods[index].carry(load, load * seat.ramp_up_weight(cluster, now));
            }
            for lender in session.lenders.iter().filter(|_| !ended) {
                if let Some(&index) = pod_by_name.get(&lender.pod) {
                    pods[index].lends += 1;
                }
            }
            seat
        };
        let seats: Vec<_> = observed.sessions.iter().map(seat).collect();
        let session_by_name = observed
            .sessions
            .iter()
            .enumerate()
            .map(|(index, session)| (&session.name, index))
            .collect();
        Self {
            cluster,
            now,
            pods,
            seats,
            session_by_name,
            pod_by_name,
            held: false,
            short: 0,
            actions: Vec::new(),
        }
    }

    pub fn act(&mut self, step: Step, reason: Reason) {
        self.actions.push(step.because(reason));
    }

    /// That a session get a home.
    pub fn home_of(&self, session: &'a Session) -> Request<'a> {
        Request::home_of(session, self.cluster.pod_capacity())
    }

    /// Seats a session on a pod as another generation.
    pub fn seat(&mut self, seat: usize, pod: usize, generation: Generation) {
        self.unseat(seat);
        let load = self.home_of(self.seats[seat].session).load;
        self.pods[pod].carry(load, load);
        let seat = &mut self.seats[seat];
        seat.carried = true;
        seat.home = Seating::On(pod);
        seat.since = Some(self.now);
        seat.generation = generation;
        seat.waiting = None;
    }

    /// Takes a session from its pods' accounts.
    pub fn unseat(&mut self, index: usize) {
        self.forget_lenders(index);
        let carried = std::mem::take(&mut self.seats[index].carried);
        let seat = &self.seats[index];
        let (Seating::On(pod), true) = (seat.home, carried) else {
            return;
        };
        let (load, ramping) = self.loads(seat);
        self.pods[pod].release(load, ramping);
    }

    /// Puts a session that finds no other home back into its old one's account: the pod is not deleted
    /// as long as a session calls it its home.
    pub fn seat_again(&mut self, index: usize) {
        let seat = &self.seats[index];
        let Seating::On(pod) = seat.home else {
            return;
        };
        let (load, ramping) = self.loads(seat);
        self.pods[pod].carry(load, ramping);
        self.seats[index].carried = true;
    }

    /// What a session is expected to cost its home, and how much of it does not show there yet.
    fn loads(&self, seat: &Seat<'_>) -> (Load, Load) {
        let load = self.home_of(seat.session).load;
        (load, load * seat.ramp_up_weight(self.cluster, self.now))
    }

    /// Takes what is lent to a session from the lenders' accounts: it is worth nothing without its home.
    fn forget_lenders(&mut self, index: usize) {
        let seat = &mut self.seats[index];
        if std::mem::replace(&mut seat.forgotten, true) {
            return;
        }
        let lenders = seat.session.lenders.iter();
        for lender in lenders.filter(|lender| !seat.returned.contains(&lender.pod)) {
            if let Some(&pod) = self.pod_by_name.get(&lender.pod) {
                self.pods[pod].lends -= 1;
            }
        }
    }

    /// How many pods are in one of these states.
    pub fn count(&self, fits: impl Fn(&Candidate<'_>) -> bool) -> u32 {
        let count = self.pods.iter().filter(|pod| fits(pod)).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// Whether what the pod said last can be believed, and it can be told something.
    pub fn answers(candidate: &Candidate<'_>) -> bool {
        !matches!(candidate.state, State::Suspect | State::Failed)
    }

    /// Whether the pod is down, or silent and that says something of it.
    pub fn is_lost(&self, candidate: &Candidate<'_>) -> bool {
        let certain = !candidate.running || candidate.pod.down;
        candidate.state == State::Suspect && (certain || !self.held)
    }

    /// Whether the last session of a pod that is to go has to leave now.
    pub fn is_late(&self, candidate: &Candidate<'_>) -> bool {
        let deadline = candidate.pod.deadline(self.cluster);
        deadline.is_some_and(|deadline| deadline <= self.now)
    }
}

impl Seat<'_> {
    /// How much of its load does not show in its home pod's CPU yet, 0 to 1.
    pub fn ramp_up_weight(&self, cluster: &Cluster, now: Duration) -> f64 {
        self.since.map_or(0.0, |since| {
            ramp_up_weight(now.saturating_sub(since), cluster.timing.ramp_up)
        })
    }

    /// Whether this plan has seated it.
    pub fn is_news(&self) -> bool {
        self.generation != self.session.generation
    }
}
