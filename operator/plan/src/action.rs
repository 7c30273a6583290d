//! What is to be done.

use crate::names::{Generation, PodName, SessionName};
use crate::pod::DrainCause;
use crate::reason::Reason;
use std::time::Duration;

/// One thing to do, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Action {
    pub step: Step,
    pub reason: Reason,
}

/// One thing to do. Doing it twice is harmless.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Step {
    /// Make a pod of the cluster's revision.
    CreatePod {
        pod: PodName,
    },
    /// The pod takes nothing new.
    CordonPod {
        pod: PodName,
        cause: DrainCause,
    },
    /// The pod tells its sessions to leave until then.
    DrainPod {
        pod: PodName,
        deadline: Duration,
    },
    /// The pod takes sessions again.
    CancelDrain {
        pod: PodName,
    },
    DeletePod {
        pod: PodName,
    },
    /// Write down that it does not answer.
    MarkSuspect {
        pod: PodName,
    },
    /// Write down that it answers again.
    ClearSuspect {
        pod: PodName,
    },
    /// Start a session that has no home.
    PlaceSession {
        session: SessionName,
        pod: PodName,
        generation: Generation,
    },
    /// Start the next generation of a session; what is left of the one before is fenced.
    MoveSession {
        session: SessionName,
        from: PodName,
        to: PodName,
        generation: Generation,
    },
    /// Write down where a session runs already.
    AdoptSession {
        session: SessionName,
        pod: PodName,
        generation: Generation,
    },
    /// Write down why a session has no pod.
    HoldSession {
        session: SessionName,
    },
    /// The pod lends the session workers from now on.
    GrantPod {
        session: SessionName,
        pod: PodName,
    },
    /// The pod lends the session no workers any more: it puts nothing new there.
    ReturnPod {
        session: SessionName,
        pod: PodName,
    },
    /// End it: its time is over.
    ExpireSession {
        session: SessionName,
    },
    /// End what the pod runs under this name, if it is of this generation or an older one.
    FenceSession {
        pod: PodName,
        session: SessionName,
        generation: Generation,
    },
}

impl Step {
    /// Because of this.
    pub(crate) fn because(self, reason: Reason) -> Action {
        Action { step: self, reason }
    }
}
