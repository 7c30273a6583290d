//! What is wanted of a cluster.

use crate::load::Load;
use crate::names::{ClusterName, Revision};
use std::time::Duration;

/// Missed polls after which a pod is suspect.
pub const MISSED_POLLS: u32 = 3;

/// A cluster's settings.
#[derive(Clone, Debug, PartialEq)]
pub struct Cluster {
    pub name: ClusterName,
    pub pool: Pool,
    /// Workers of a pod that is made now.
    pub workers_per_pod: u32,
    /// Share of a worker's core above which nothing new is placed, 0 to 1.
    pub watermark: f64,
    /// What a pod that is made now is made from.
    pub revision: Revision,
    /// How long a drain may take, from the cordon to the end.
    pub drain_deadline: Duration,
    /// The number of the next pod. It only goes up, so that no pod has the name of an earlier one.
    pub next_ordinal: u64,
    /// For which revision a pod that served was given up last, as one of that revision found no node,
    /// and when.
    pub made_room: Option<(Revision, Duration)>,
    pub timing: Timing,
}

/// How many pods there are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Pool {
    /// Never fewer that serve.
    pub min: u32,
    /// Never more, but for the surge of an upgrade.
    pub max: u32,
    /// Room kept free for what comes next, in pods.
    pub spare: u32,
}

/// Times that are the same for all clusters.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Timing {
    /// How often each pod is asked how it is.
    pub poll_interval: Duration,
    /// How long the expected load of a session counts after it was placed.
    pub ramp_up: Duration,
    /// How long a pod is only cordoned before it drains.
    pub cordon: Duration,
    /// How long a pod serves at least, new or restored, before a fall of the need may drain it.
    pub settle: Duration,
    /// How long a pod may take to become ready before another is made in its place; in as long again
    /// it is deleted.
    pub start: Duration,
    /// How long a pod is silent before it is deleted.
    pub lost: Duration,
    /// How long a pod lends a session workers that carry nothing of it.
    pub unused: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            poll_interval: Duration::from_secs(1),
            ramp_up: Duration::from_secs(120),
            cordon: Duration::from_secs(30),
            settle: Duration::from_secs(300),
            start: Duration::from_secs(300),
            lost: Duration::from_secs(60),
            unused: Duration::from_secs(30),
        }
    }
}

impl Timing {
    /// How long a pod is silent before it is suspect.
    pub fn suspect(&self) -> Duration {
        self.poll_interval * MISSED_POLLS
    }
}

impl Cluster {
    /// What so many workers carry: each up to the watermark.
    pub fn capacity(&self, workers: u32) -> Load {
        Load::new(f64::from(workers) * self.watermark)
    }

    /// What one worker carries.
    pub fn worker_capacity(&self) -> Load {
        self.capacity(1)
    }

    /// What a pod that is made now will carry.
    pub fn pod_capacity(&self) -> Load {
        self.capacity(self.workers_per_pod.max(1))
    }
}
