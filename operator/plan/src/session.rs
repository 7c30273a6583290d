//! A session, as the Kubernetes API has it.

use crate::load::{DEFAULT_PARTICIPANTS, Load};
use crate::names::{Generation, MediasoupVersion, PodName, Region, SessionName};
use crate::place::NoPod;
use crate::reason::Reason;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// Share of a pod that has to be free for a session that is larger than a pod.
const LEAST_HOME: f64 = 0.5;

/// A session. Times are on the clock of [`crate::Observed::now`].
#[derive(Clone, Debug, PartialEq)]
pub struct Session {
    pub name: SessionName,
    /// How many are expected.
    pub expected_participants: Option<u32>,
    /// How many are let in: its home sees to that.
    pub max_participants: Option<u32>,
    /// Over how many pods it may spread, its home pod among them. At least 1.
    pub max_pods: u32,
    pub hints: Hints,
    pub time_to_live: TimeToLive,
    pub created: Duration,
    /// Since when nobody is in it: none of its applications has a transport.
    pub empty_since: Option<Duration>,
    /// Applications of it are connected, whether somebody is in it or not.
    pub attended: bool,
    pub phase: SessionPhase,
    pub generation: Generation,
    pub home: Option<Home>,
    /// The pods that lend it workers.
    pub lenders: Vec<Lender>,
    /// Why it is not placed, as it was last told.
    pub waiting: Option<NoPod>,
}

/// Where a session runs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Home {
    pub pod: PodName,
    /// When it was placed there.
    pub since: Duration,
}

/// A pod that lends a session workers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Lender {
    pub pod: PodName,
    /// Since when.
    pub since: Duration,
}

/// What a session would like of its pod. None of it keeps it from being placed.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Hints {
    /// Where it should be.
    pub region: Option<Region>,
    /// Labels that the pod's node should have, as many of them as possible.
    pub node_labels: BTreeMap<String, String>,
    /// The release that its last home had, and so its application: an application of another release is
    /// refused by the pod. `None` before its first home.
    pub mediasoup: Option<MediasoupVersion>,
}

/// When a session ends by itself.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct TimeToLive {
    /// So long after the last participant left.
    pub empty: Option<Duration>,
    /// So long after it was made.
    pub total: Option<Duration>,
}

/// How a session is.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum SessionPhase {
    /// It waits for a pod.
    #[default]
    Pending,
    /// It has a home pod.
    Active,
    /// It ended, and is not placed again.
    Ended,
}

impl Session {
    /// When it ends by itself if nobody comes.
    pub fn expires(&self) -> Option<Duration> {
        self.end().map(|(end, _)| end)
    }

    /// When it ends by itself, and why.
    pub(crate) fn end(&self) -> Option<(Duration, Reason)> {
        if self.phase == SessionPhase::Ended {
            return None;
        }
        let life = self.time_to_live;
        let total = Some(self.created).zip(life.total).zip(Some(Reason::TooOld));
        let empty = self
            .empty_since
            .zip(life.empty)
            .zip(Some(Reason::EmptyTooLong));
        let ends = total.into_iter().chain(empty);
        let ends = ends.map(|((since, time), reason)| (since.saturating_add(time), reason));
        ends.min_by_key(|(end, _)| *end)
    }

    /// What all of it is expected to cost.
    pub fn expected_load(&self) -> Load {
        let expected = self.expected_participants.unwrap_or(DEFAULT_PARTICIPANTS);
        Load::expected(expected.min(self.max_participants.unwrap_or(u32::MAX)))
    }

    /// What its home, a pod of that capacity, is expected to carry: all that it can, or of what
    /// several pods carry an equal share, and no small one.
    pub fn home_load(&self, capacity: Load) -> Load {
        let all = self.expected_load();
        if self.max_pods <= 1 || all <= capacity {
            return all;
        }
        (all * (1.0 / f64::from(self.max_pods))).max(capacity * LEAST_HOME)
    }
}
