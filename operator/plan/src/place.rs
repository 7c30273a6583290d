//! On which pod something new goes: filter, then rank.

use crate::cluster::Cluster;
use crate::load::Load;
use crate::names::{MediasoupVersion, Region};
use crate::pod::{Pod, State};
use crate::session::{Hints, Session};
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Share of a pod's capacity from which a session is large: such sessions keep apart.
pub const LARGE: f64 = 0.25;

/// What needs a pod: a session, or a worker without one.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// What it is expected to cost the pod.
    pub load: Load,
    /// Preferred.
    pub region: Option<&'a Region>,
    /// Required of the pod's node.
    pub node_labels: &'a BTreeMap<String, String>,
    /// Required.
    pub mediasoup: Option<&'a MediasoupVersion>,
}

impl<'a> Request<'a> {
    /// That a load of this size be placed where these hints say.
    pub fn new(load: Load, hints: &'a Hints) -> Self {
        Self {
            load,
            region: hints.region.as_ref(),
            node_labels: &hints.node_labels,
            mediasoup: hints.mediasoup.as_ref(),
        }
    }

    /// That a session get a home.
    pub fn home_of(session: &'a Session) -> Self {
        Self::new(session.home_load(), &session.hints)
    }
}

/// A pod that could be chosen.
#[derive(Clone, Debug)]
pub struct Candidate<'a> {
    pub pod: &'a Pod,
    pub state: State,
    /// What its workers do and what was placed there too recently to show.
    pub load: Load,
    /// What it may carry: workers × watermark.
    pub capacity: Load,
    /// Sessions that have it as home.
    pub sessions: usize,
    /// Those of them that are large.
    pub large: usize,
    /// It is of the cluster's revision.
    pub current: bool,
}

impl<'a> Candidate<'a> {
    /// A pod without any session. For each that it has, call [`Candidate::carry`].
    pub fn new(pod: &'a Pod, cluster: &Cluster, now: Duration) -> Self {
        Self {
            pod,
            state: pod.state(cluster, now),
            load: pod.measured(),
            capacity: cluster.capacity(pod.workers()),
            sessions: 0,
            large: 0,
            current: pod.revision == cluster.revision,
        }
    }

    /// Notes a session of that expected load, and how much of it does not show in the CPU yet.
    pub fn carry(&mut self, expected: Load, ramping: Load) {
        self.sessions += 1;
        self.large += usize::from(self.is_large(expected));
        self.load += ramping;
    }

    /// Takes back what [`Candidate::carry`] noted.
    pub fn release(&mut self, expected: Load, ramping: Load) {
        self.sessions = self.sessions.saturating_sub(1);
        self.large = self
            .large
            .saturating_sub(usize::from(self.is_large(expected)));
        self.load -= ramping;
    }

    fn is_large(&self, load: Load) -> bool {
        load >= self.capacity * LARGE
    }

    /// Whether it carries neither a session nor an application's worker.
    pub fn is_empty(&self) -> bool {
        self.sessions == 0 && self.pod.anonymous == 0
    }

    /// An empty pod takes any session, as none would take one that is larger than a pod.
    fn has_room(&self, load: Load) -> bool {
        self.is_empty() || self.load.fits(load, self.capacity)
    }

    /// The first thing that speaks against it.
    fn refusal(&self, request: &Request<'_>) -> Option<NoPod> {
        let pod = self.pod;
        let labels_match = || {
            let has = |(key, value)| pod.node_labels.get(key) == Some(value);
            request.node_labels.iter().all(has)
        };
        let version = |wanted| pod.mediasoup.as_ref() != Some(wanted);
        match self.state {
            State::Available if request.mediasoup.is_some_and(version) => Some(NoPod::OtherVersion),
            State::Available if !labels_match() => Some(NoPod::LabelsDiffer),
            State::Available if !self.has_room(request.load) => Some(NoPod::Full),
            State::Available => None,
            State::Addressless => Some(NoPod::AddressUnknown),
            State::Starting
            | State::Stuck
            | State::Cordoned
            | State::Draining
            | State::Suspect
            | State::Terminating
            | State::Failed => Some(NoPod::NoneReady),
        }
    }

    /// `Less` if this is the better choice. Nobody's first choice is moved for it: the region, then
    /// the current revision, then large sessions apart, then the fullest, so that others stay empty.
    fn rank(&self, other: &Self, request: &Request<'_>) -> Ordering {
        let far = |c: &Self| request.region.is_some() && c.pod.region.as_ref() != request.region;
        let crowd = |c: &Self| if c.is_large(request.load) { c.large } else { 0 };
        let order = |c: &Self| (far(c), !c.current, crowd(c));
        order(self)
            .cmp(&order(other))
            .then_with(|| {
                let (mine, others) = (self.load.workers(), other.load.workers());
                others.total_cmp(&mine)
            })
            .then_with(|| self.pod.name.cmp(&other.pod.name))
    }
}

/// Why there is no pod: how far the best of them came, from nothing to all but the room.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub enum NoPod {
    /// None takes anything new: there is none, or they start, drain, are silent or ended.
    NoneReady,
    /// No address is known of those that are ready.
    AddressUnknown,
    /// None has the release of mediasoup that is asked for.
    OtherVersion,
    /// No node has the labels that are asked for.
    LabelsDiffer,
    /// None has room below the watermark.
    Full,
}

impl NoPod {
    /// The word for an event or a condition.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoneReady => "NoPodReady",
            Self::AddressUnknown => "AddressUnknown",
            Self::OtherVersion => "OtherMediasoupVersion",
            Self::LabelsDiffer => "NodeLabelsDiffer",
            Self::Full => "PodsFull",
        }
    }

    /// Whether another pod like the ones that are made now would help.
    pub fn another_helps(self) -> bool {
        matches!(self, Self::NoneReady | Self::Full)
    }
}

impl fmt::Display for NoPod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoneReady => "no media pod is ready to take a session",
            Self::AddressUnknown => "no ready media pod has a known address",
            Self::OtherVersion => "no media pod has the mediasoup version that is asked for",
            Self::LabelsDiffer => "no media pod is on a node with the labels that are asked for",
            Self::Full => "no media pod has room below the watermark",
        })
    }
}

impl std::error::Error for NoPod {}

/// The pod for a request.
///
/// # Errors
/// Why there is none: of all pods' reasons, the one of those that came nearest.
pub fn choose_pod<'a>(
    request: &Request<'_>,
    candidates: &[Candidate<'a>],
) -> Result<&'a Pod, NoPod> {
    choose(request, candidates).map(|index| candidates[index].pod)
}

/// As [`choose_pod`], but the place in `candidates`.
pub(crate) fn choose(request: &Request<'_>, candidates: &[Candidate<'_>]) -> Result<usize, NoPod> {
    let mut nearest = NoPod::NoneReady;
    let mut best: Option<usize> = None;
    for (index, candidate) in candidates.iter().enumerate() {
        match candidate.refusal(request) {
            Some(refusal) => nearest = nearest.max(refusal),
            None => {
                let better = |best: usize| candidate.rank(&candidates[best], request).is_lt();
                if best.is_none_or(better) {
                    best = Some(index);
                }
            }
        }
    }
    best.ok_or(nearest)
}
