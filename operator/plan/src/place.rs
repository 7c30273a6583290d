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
    /// Preferred of the pod's node, the more of them the better.
    pub node_labels: &'a BTreeMap<String, String>,
    /// Required: who asks is there already, and speaks this release.
    pub mediasoup: Option<&'a MediasoupVersion>,
    /// Preferred: who asks has spoken this release, and is placed anew.
    pub spoken: Option<&'a MediasoupVersion>,
    /// It had a home and lost it. When no pod has room below the watermark it takes what is above, up to
    /// the whole of the workers' cores: no media at all is worse than busy workers.
    pub lost: bool,
}

impl<'a> Request<'a> {
    /// That a load of this size be placed where these hints say.
    pub fn new(load: Load, hints: &'a Hints) -> Self {
        Self {
            load,
            region: hints.region.as_ref(),
            node_labels: &hints.node_labels,
            mediasoup: None,
            spoken: hints.mediasoup.as_ref(),
            lost: false,
        }
    }

    /// That a session get a home among pods of that capacity.
    pub fn home_of(session: &'a Session, capacity: Load) -> Self {
        Self::new(session.home_load(capacity), &session.hints)
    }
}

/// A pod that could be chosen.
#[derive(Clone, Debug)]
pub struct Candidate<'a> {
    pub pod: &'a Pod,
    pub state: State,
    /// What its workers do and what was placed there too recently to show.
    pub load: Load,
    /// How much of that was placed there too recently to show.
    pub ramping: Load,
    /// What it may carry: workers × watermark.
    pub capacity: Load,
    /// What it can carry: all of its workers' cores.
    pub cores: Load,
    /// Sessions that have it as home.
    pub sessions: usize,
    /// Those of them that are large.
    pub large: usize,
    /// Sessions of other homes that it lends workers to.
    pub lends: usize,
    /// It is of the cluster's revision.
    pub current: bool,
    /// It runs and was not asked to end.
    pub running: bool,
}

impl<'a> Candidate<'a> {
    /// A pod without any session. For each that it has, call [`Candidate::carry`].
    pub fn new(pod: &'a Pod, cluster: &Cluster, now: Duration) -> Self {
        Self {
            pod,
            state: pod.state(cluster, now),
            load: pod.measured(),
            ramping: Load::ZERO,
            capacity: cluster.capacity(pod.workers()),
            cores: Load::new(f64::from(pod.workers())),
            sessions: 0,
            large: 0,
            lends: 0,
            current: pod.revision == cluster.revision,
            running: pod.is_running(),
        }
    }

    /// Notes a session of that expected load, and how much of it does not show in the CPU yet.
    pub fn carry(&mut self, expected: Load, ramping: Load) {
        self.sessions += 1;
        self.large += usize::from(self.is_large(expected));
        self.load += ramping;
        self.ramping += ramping;
    }

    /// Takes back what [`Candidate::carry`] noted.
    pub fn release(&mut self, expected: Load, ramping: Load) {
        self.sessions = self.sessions.saturating_sub(1);
        self.large = self
            .large
            .saturating_sub(usize::from(self.is_large(expected)));
        self.load -= ramping;
        self.ramping -= ramping;
    }

    fn is_large(&self, load: Load) -> bool {
        load >= self.capacity * LARGE
    }

    /// How many would miss it: sessions, its own and others', and applications without one.
    pub(crate) fn users(&self) -> usize {
        let lends = self.lends.max(self.pod.borrowers as usize);
        self.sessions + lends + self.pod.anonymous as usize
    }

    /// Whether it carries neither anything of a session nor an application's worker.
    pub fn is_empty(&self) -> bool {
        self.users() == 0
    }

    /// An empty pod takes any session, as none would take one that is larger than a pod. What is left
    /// there of a home that died counts for nothing.
    fn has_room(&self, load: Load) -> bool {
        let is_empty = self.sessions + self.lends == 0 && self.pod.anonymous == 0;
        is_empty || self.load + load <= self.capacity
    }

    /// The first thing that speaks against it, `None` as long as that is not known. What stays as it
    /// is comes first, so that a pod that is cordoned or made is no other reason to wait.
    pub(crate) fn check(&self, request: &Request<'_>) -> Result<(), Option<NoPod>> {
        let pod = self.pod;
        if let Some(wanted) = request.mediasoup {
            let version = pod.mediasoup.as_ref().ok_or(None)?;
            refuse(version != wanted, NoPod::OtherVersion)?;
        }
        let nowhere = pod.ready_since.is_some() && !pod.address_known;
        refuse(nowhere, NoPod::AddressUnknown)?;
        if self.state == State::Starting {
            return Err(None);
        }
        refuse(self.state != State::Available, NoPod::NoneReady)?;
        refuse(!self.has_room(request.load), NoPod::Full)
    }

    /// Whether it takes at least who lost a home, above the watermark. A session that is larger than a pod
    /// spreads from there.
    fn rescues(&self, request: &Request<'_>) -> bool {
        request.lost && self.load + request.load.min(self.capacity) <= self.cores
    }

    /// How many of these labels its node has not.
    fn lacks(&self, labels: &BTreeMap<String, String>) -> usize {
        let has =
            |(key, value): &(&String, &String)| self.pod.node_labels.get(*key) == Some(*value);
        labels.len() - labels.iter().filter(has).count()
    }

    /// `Less` if this is the better choice. Nobody's first choice is moved for it: the mediasoup version
    /// that was spoken, then the region, then as many of the labels as possible, then the current
    /// revision, then large sessions apart, then the fullest, so that others stay empty.
    pub(crate) fn rank(&self, other: &Self, request: &Request<'_>) -> Ordering {
        self.rank_wishes(other, request)
            .then_with(|| other.load.cmp(&self.load))
            .then_with(|| self.pod.name.cmp(&other.pod.name))
    }

    /// The same above the watermark: the one with most left.
    fn rank_rescue(&self, other: &Self, request: &Request<'_>) -> Ordering {
        let left = |c: &Self| c.cores - c.load;
        self.rank_wishes(other, request)
            .then_with(|| left(other).cmp(&left(self)))
            .then_with(|| self.pod.name.cmp(&other.pod.name))
    }

    fn rank_wishes(&self, other: &Self, request: &Request<'_>) -> Ordering {
        let foreign =
            |c: &Self| request.spoken.is_some() && c.pod.mediasoup.as_ref() != request.spoken;
        let far = |c: &Self| request.region.is_some() && c.pod.region.as_ref() != request.region;
        let crowd = |c: &Self| if c.is_large(request.load) { c.large } else { 0 };
        let order = |c: &Self| {
            let (foreign, far, lacks) = (foreign(c), far(c), c.lacks(request.node_labels));
            (foreign, far, lacks, !c.current, crowd(c))
        };
        order(self).cmp(&order(other))
    }
}

/// Why there is no pod: how far the best of them came, from nothing to all but the room.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub enum NoPod {
    /// None has the release of mediasoup that a worker without a session has to have.
    OtherVersion,
    /// None takes anything new: there is none, or they start, drain, are silent or ended.
    NoneReady,
    /// No address is known of those that are ready.
    AddressUnknown,
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
            Self::Full => "PodsFull",
        }
    }
}

impl fmt::Display for NoPod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoneReady => "no media pod is ready to take a session",
            Self::AddressUnknown => "no ready media pod has a known address",
            Self::OtherVersion => "no media pod has the mediasoup version that is asked for",
            Self::Full => "no media pod has room below the watermark",
        })
    }
}

impl std::error::Error for NoPod {}

fn refuse(refused: bool, reason: NoPod) -> Result<(), Option<NoPod>> {
    if refused { Err(Some(reason)) } else { Ok(()) }
}

/// The pod for a request.
///
/// # Errors
/// Why there is none: of all pods' reasons, the one of those that came nearest.
pub fn choose_pod<'a>(
    request: &Request<'_>,
    candidates: &[Candidate<'a>],
) -> Result<&'a Pod, NoPod> {
    match choose(request, candidates) {
        Ok(index) => Ok(candidates[index].pod),
        Err(nowhere) => Err(nowhere.reason),
    }
}

/// That no pod takes a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Nowhere {
    pub reason: NoPod,
    /// Whether another pod like the ones that are made now would help, as far as is known.
    pub another_helps: bool,
}

/// As [`choose_pod`], but the place in `candidates`.
pub(crate) fn choose(
    request: &Request<'_>,
    candidates: &[Candidate<'_>],
) -> Result<usize, Nowhere> {
    let mut nearest = None;
    let mut another_helps = false;
    let mut best: Option<usize> = None;
    let mut rescue: Option<usize> = None;
    for (index, candidate) in candidates.iter().enumerate() {
        match candidate.check(request) {
            Err(refusal) => {
                nearest = nearest.max(refusal);
                another_helps |= matches!(refusal, Some(NoPod::NoneReady | NoPod::Full));
                if refusal == Some(NoPod::Full) && candidate.rescues(request) {
                    let better =
                        |other: usize| candidate.rank_rescue(&candidates[other], request).is_lt();
                    if rescue.is_none_or(better) {
                        rescue = Some(index);
                    }
                }
            }
            Ok(()) => {
                let better = |best: usize| candidate.rank(&candidates[best], request).is_lt();
                if best.is_none_or(better) {
                    best = Some(index);
                }
            }
        }
    }
    best.or(rescue).ok_or(Nowhere {
        reason: nearest.unwrap_or(NoPod::NoneReady),
        another_helps: another_helps || nearest.is_none(),
    })
}
