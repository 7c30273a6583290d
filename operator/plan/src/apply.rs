//! What is true as soon as an action was carried out and written down.

use crate::Observed;
use crate::action::{Action, Step};
use crate::cluster::Cluster;
use crate::names::{PodName, Revision, SessionName};
use crate::pod::{Drain, DrainPhase, Pod, PodPhase};
use crate::reason::Reason;
use crate::session::{Home, Lender, Session, SessionPhase};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

impl Observed {
    /// Notes actions that were carried out, before pods or Kubernetes say so: a pod that was made
    /// starts, one that was deleted is terminating, a session is where it was placed. What pods report
    /// stays as they reported it, but for what was fenced.
    pub fn apply(&mut self, actions: &[Action]) {
        if actions.is_empty() {
            return;
        }
        let mut pods: HashMap<PodName, usize> = index(&self.pods, |pod| &pod.name);
        let sessions: HashMap<SessionName, usize> = index(&self.sessions, |session| &session.name);
        let now = self.now;
        for action in actions {
            match &action.step {
                Step::CreatePod { pod } => {
                    pods.insert(pod.clone(), self.pods.len());
                    self.pods.push(starting(pod.clone(), &self.cluster, now));
                    let ordinal = pod.as_str().rsplit('-').next().and_then(|n| n.parse().ok());
                    let next = ordinal.map_or(0, |ordinal: u64| ordinal.saturating_add(1));
                    self.cluster.next_ordinal = self.cluster.next_ordinal.max(next);
                }
                Step::CordonPod { pod, .. }
                | Step::DrainPod { pod, .. }
                | Step::CancelDrain { pod }
                | Step::DeletePod { pod }
                | Step::MarkSuspect { pod }
                | Step::ClearSuspect { pod }
                | Step::FenceSession { pod, .. } => {
                    if let Some(&pod) = pods.get(pod) {
                        note_on_pod(&mut self.pods[pod], &action.step, now);
                    }
                    if let Reason::MakesRoom { .. } = action.reason {
                        self.cluster.made_room = Some((self.cluster.revision.clone(), now));
                    }
                }
                Step::PlaceSession { session, .. }
                | Step::MoveSession { session, .. }
                | Step::AdoptSession { session, .. }
                | Step::HoldSession { session }
                | Step::GrantPod { session, .. }
                | Step::ReturnPod { session, .. }
                | Step::ExpireSession { session } => {
                    if let Some(&session) = sessions.get(session) {
                        note_on_session(&mut self.sessions[session], action, now);
                    }
                }
            }
        }
    }
}

fn index<T, N: Clone + Eq + std::hash::Hash>(
    things: &[T],
    name: impl Fn(&T) -> &N,
) -> HashMap<N, usize> {
    let named = |(index, thing)| (name(thing).clone(), index);
    things.iter().enumerate().map(named).collect()
}

fn note_on_pod(pod: &mut Pod, step: &Step, now: Duration) {
    match step {
        Step::CordonPod { cause, .. } => {
            pod.drain = Some(Drain {
                phase: DrainPhase::Cordoned,
                cause: *cause,
                since: now,
            });
        }
        Step::DrainPod { .. } => {
            if let Some(drain) = &mut pod.drain {
                drain.phase = DrainPhase::Draining;
            }
        }
        Step::CancelDrain { .. } => {
            pod.drain = None;
            pod.restored_at = Some(now);
        }
        Step::DeletePod { .. } => pod.terminating_since = Some(now),
        Step::MarkSuspect { .. } => pod.suspect = true,
        Step::ClearSuspect { .. } => pod.suspect = false,
        Step::FenceSession {
            session,
            generation,
            ..
        } => {
            pod.sessions
                .retain(|hosted| hosted.session != *session || hosted.generation > *generation);
        }
        Step::CreatePod { .. }
        | Step::PlaceSession { .. }
        | Step::MoveSession { .. }
        | Step::AdoptSession { .. }
        | Step::HoldSession { .. }
        | Step::GrantPod { .. }
        | Step::ReturnPod { .. }
        | Step::ExpireSession { .. } => {}
    }
}

fn note_on_session(session: &mut Session, action: &Action, now: Duration) {
    let (pod, generation) = match &action.step {
        Step::PlaceSession {
            pod, generation, ..
        }
        | Step::MoveSession {
            to: pod,
            generation,
            ..
        }
        | Step::AdoptSession {
            pod, generation, ..
        } => (pod, *generation),
        Step::HoldSession { .. } => {
            session.phase = SessionPhase::Pending;
            if let Reason::Waiting(none) = action.reason {
                session.waiting = Some(none);
            }
            return;
        }
        Step::GrantPod { pod, .. } => {
            session.lenders.push(Lender {
                pod: pod.clone(),
                since: now,
            });
            return;
        }
        Step::ReturnPod { pod, .. } => {
            session.lenders.retain(|lender| lender.pod != *pod);
            return;
        }
        Step::ExpireSession { .. } => {
            session.phase = SessionPhase::Ended;
            session.lenders.clear();
            return;
        }
        Step::CreatePod { .. }
        | Step::CordonPod { .. }
        | Step::DrainPod { .. }
        | Step::CancelDrain { .. }
        | Step::DeletePod { .. }
        | Step::MarkSuspect { .. }
        | Step::ClearSuspect { .. }
        | Step::FenceSession { .. } => return,
    };
    let same = session.generation == generation;
    let since = session
        .home
        .as_ref()
        .filter(|_| same)
        .map(|home| home.since);
    session.home = Some(Home {
        pod: pod.clone(),
        since: since.unwrap_or(now),
    });
    if !same {
        // What was lent to the generation before ends with it.
        session.lenders.clear();
    }
    session.generation = generation;
    session.phase = SessionPhase::Active;
    session.waiting = None;
}

/// A pod of which nothing is known but that it was made.
fn starting(name: PodName, cluster: &Cluster, now: Duration) -> Pod {
    let revision: Revision = cluster.revision.clone();
    Pod {
        name,
        node: None,
        region: None,
        node_labels: BTreeMap::new(),
        revision,
        mediasoup: None,
        cpu: vec![0.0; cluster.workers_per_pod as usize],
        phase: PodPhase::Running,
        unschedulable: false,
        created: now,
        terminating_since: None,
        ready_since: None,
        address_known: false,
        drain_requested: false,
        drain: None,
        restored_at: None,
        suspect: false,
        down: false,
        last_seen: None,
        sessions: Vec::new(),
        anonymous: 0,
        borrowers: 0,
    }
}
