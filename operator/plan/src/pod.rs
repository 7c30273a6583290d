//! A media pod, as it was seen last.

use crate::cluster::Cluster;
use crate::load::Load;
use crate::names::{
    Generation, MediasoupVersion, NodeName, PodName, Region, Revision, SessionName,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// A media pod. Times are on the clock of [`crate::Observed::now`].
#[derive(Clone, Debug, PartialEq)]
pub struct Pod {
    pub name: PodName,
    pub node: Option<NodeName>,
    pub region: Option<Region>,
    /// Labels of its node.
    pub node_labels: BTreeMap<String, String>,
    pub revision: Revision,
    /// `None` until the pod said it.
    pub mediasoup: Option<MediasoupVersion>,
    /// Share of a core that each worker uses, 0 to 1: as many entries as the pod has workers.
    pub cpu: Vec<f64>,
    pub phase: PodPhase,
    /// No node has room for it.
    pub unschedulable: bool,
    pub created: Duration,
    /// Since when it is asked to end.
    pub terminating_since: Option<Duration>,
    pub ready_since: Option<Duration>,
    /// Whether clients can be told where it is. Without, it takes no session.
    pub address_known: bool,
    /// Somebody wants it drained, or its node.
    pub drain_requested: bool,
    pub drain: Option<Drain>,
    /// When its last drain was taken back.
    pub restored_at: Option<Duration>,
    /// It was marked as suspect.
    pub suspect: bool,
    /// Known to be dead, and not only silent: its machine says that nobody listens there, or
    /// Kubernetes that its container does not run. Of a pod that never answered it says nothing.
    pub down: bool,
    /// When it answered last. `None`: never. For a pod that was there before the operator, not
    /// before the operator's start.
    pub last_seen: Option<Duration>,
    /// The sessions that it ran then.
    pub sessions: Vec<Hosted>,
    /// Applications that had workers of it without a session.
    pub anonymous: u32,
    /// Pods that had something on its workers.
    pub borrowers: u32,
}

/// The label of nodes that names their zone: of two pods that could lend, one of the home's is nearer.
pub const ZONE: &str = "topology.kubernetes.io/zone";

/// What Kubernetes says of a pod.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PodPhase {
    /// Exists; whether it serves is another question.
    Running,
    /// Ended, or its node is gone.
    Failed,
}

/// A session that a pod says it runs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Hosted {
    pub session: SessionName,
    pub generation: Generation,
    /// Consumers that it has.
    pub consumers: u32,
    /// None of its workers is below the watermark.
    pub wants_more: bool,
    /// The pods that lend it workers, as its home knows.
    pub lenders: Vec<Lent>,
}

/// A pod that lends workers, as the borrowing home says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Lent {
    pub pod: PodName,
    /// Since when they carry nothing of the session.
    pub unused_since: Option<Duration>,
}

impl Hosted {
    /// One of which nothing more is known.
    pub fn new(session: SessionName, generation: Generation) -> Self {
        Self {
            session,
            generation,
            consumers: 0,
            wants_more: false,
            lenders: Vec::new(),
        }
    }
}

/// A pod that is to go.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Drain {
    pub phase: DrainPhase,
    pub cause: DrainCause,
    /// When it was cordoned.
    pub since: Duration,
}

/// How far a drain is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum DrainPhase {
    /// Takes nothing new; what it has stays.
    Cordoned,
    /// Sessions without an application move; at the deadline, all do.
    Draining,
}

/// Why a pod drains.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum DrainCause {
    /// Fewer are enough.
    ScaleDown,
    /// It is of another revision.
    Outdated,
    /// Somebody asked for it.
    Requested,
}

/// What can be expected of a pod. Where several hold, it is the last of them.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum State {
    /// Takes sessions.
    Available,
    /// Ready, but nobody knows its address.
    Addressless,
    /// Will be ready.
    Starting,
    /// Should have been ready.
    Stuck,
    Cordoned,
    Draining,
    Terminating,
    /// Silent or down.
    Suspect,
    Failed,
}

impl Pod {
    /// Whether it runs and was not asked to end.
    pub fn is_running(&self) -> bool {
        self.phase == PodPhase::Running && self.terminating_since.is_none()
    }

    /// The zone of its node.
    pub(crate) fn zone(&self) -> Option<&String> {
        self.node_labels.get(ZONE)
    }

    /// How long it has not answered, if it ever did.
    pub fn silence(&self, now: Duration) -> Option<Duration> {
        self.last_seen.map(|seen| now.saturating_sub(seen))
    }

    /// What can be expected of it.
    pub fn state(&self, cluster: &Cluster, now: Duration) -> State {
        let silent = self
            .silence(now)
            .is_some_and(|silence| self.down || silence >= cluster.timing.suspect());
        match (self.phase, self.drain, self.ready_since) {
            (PodPhase::Failed, _, _) => State::Failed,
            _ if silent => State::Suspect,
            _ if self.terminating_since.is_some() => State::Terminating,
            (PodPhase::Running, Some(drain), _) => match drain.phase {
                DrainPhase::Cordoned => State::Cordoned,
                DrainPhase::Draining => State::Draining,
            },
            (PodPhase::Running, None, Some(_)) if self.last_seen.is_some() => {
                if self.address_known {
                    State::Available
                } else {
                    State::Addressless
                }
            }
            (PodPhase::Running, None, _) => {
                if now.saturating_sub(self.created) < cluster.timing.start {
                    State::Starting
                } else {
                    State::Stuck
                }
            }
        }
    }

    /// When the last session has to leave, if it is on its way out.
    pub fn deadline(&self, cluster: &Cluster) -> Option<Duration> {
        let draining = self.drain.map(|drain| drain.since);
        let since = self.terminating_since.into_iter().chain(draining).min()?;
        Some(since.saturating_add(cluster.drain_deadline))
    }

    /// How many workers it has.
    pub fn workers(&self) -> u32 {
        u32::try_from(self.cpu.len()).unwrap_or(u32::MAX)
    }

    /// What its workers do now.
    pub fn measured(&self) -> Load {
        self.cpu.iter().copied().map(Load::new).sum()
    }
}
