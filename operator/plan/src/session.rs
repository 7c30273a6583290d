//! A session, as the Kubernetes API has it.

use crate::load::{DEFAULT_PARTICIPANTS, Load};
use crate::names::{Generation, MediasoupVersion, PodName, Region, SessionName};
use crate::place::NoPod;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// A session. Times are on the clock of [`crate::Observed::now`].
#[derive(Clone, Debug, PartialEq)]
pub struct Session {
    pub name: SessionName,
    /// How many are expected.
    pub expected_participants: Option<u32>,
    /// How many are let in.
    pub max_participants: Option<u32>,
    /// Over how many pods it may spread, its home pod among them. At least 1.
    pub max_pods: u32,
    pub hints: Hints,
    pub time_to_live: TimeToLive,
    pub created: Duration,
    /// Since when nobody is in it.
    pub empty_since: Option<Duration>,
    pub phase: SessionPhase,
    pub generation: Generation,
    pub home: Option<Home>,
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

/// What a session asks of its pod.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Hints {
    /// Preferred; another is better than none.
    pub region: Option<Region>,
    /// Labels that the pod's node must have.
    pub node_labels: BTreeMap<String, String>,
    /// The release that its application speaks. Required.
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
    /// What all of it is expected to cost.
    pub fn expected_load(&self) -> Load {
        let expected = self.expected_participants.unwrap_or(DEFAULT_PARTICIPANTS);
        Load::expected(expected.min(self.max_participants.unwrap_or(u32::MAX)))
    }

    /// What its home pod is expected to carry: an equal share.
    pub fn home_load(&self) -> Load {
        self.expected_load() * (1.0 / f64::from(self.max_pods.max(1)))
    }
}
