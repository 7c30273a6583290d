//! Events: what people read with `kubectl describe`.

use crate::crd::{MafaldaCluster, Session};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Resource};
use mafalda_plan::{Action, Reason, Step};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

/// Events at once at most, and how long one takes to be allowed again: a pool without room has
/// thousands of sessions that wait.
const BURST: u32 = 50;
const EACH: Duration = Duration::from_millis(200);
/// The longest note that the API server takes, in bytes.
const LONGEST: usize = 1000;

/// Writes events.
pub struct Events {
    recorder: Recorder,
    /// How many are allowed, as of then.
    allowed: Mutex<(u32, Instant)>,
}

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About<'a> {
    Cluster,
    Session(&'a str),
}

/// What an action is about and the word for it, if people are told. Placing is not: the Session's
/// conditions say it, and each event is one more write. Nor is that a pod ends what is over: the Session's
/// end was told, or there is none any more that an event could be about.
pub fn told(action: &Action) -> Option<(About<'_>, EventType, &'static str)> {
    let normal = EventType::Normal;
    let cluster = About::Cluster;
    Some(match &action.step {
        Step::CreatePod { .. } => (cluster, normal, "CreatePod"),
        Step::CordonPod { .. } => (cluster, normal, "CordonPod"),
        Step::DrainPod { .. } => (cluster, normal, "DrainPod"),
        Step::CancelDrain { .. } => (cluster, normal, "CancelDrain"),
        Step::DeletePod { .. } => (cluster, normal, "DeletePod"),
        Step::MarkSuspect { .. } => (cluster, EventType::Warning, "MarkSuspect"),
        Step::ClearSuspect { .. } => (cluster, normal, "ClearSuspect"),
        Step::MoveSession { session, .. } => (
            About::Session(session.as_str()),
            EventType::Warning,
            "MoveSession",
        ),
        Step::HoldSession { session } => (
            About::Session(session.as_str()),
            EventType::Warning,
            "HoldSession",
        ),
        Step::GrantPod { session, .. } => (About::Session(session.as_str()), normal, "GrantPod"),
        Step::ReturnPod { session, .. } => (About::Session(session.as_str()), normal, "ReturnPod"),
        Step::ExpireSession { session } => {
            (About::Session(session.as_str()), normal, "ExpireSession")
        }
        Step::AdoptSession { session, .. } => {
            (About::Session(session.as_str()), normal, "AdoptSession")
        }
        Step::FenceSession { .. } if action.reason == Reason::SessionEnded => return None,
        Step::FenceSession { session, .. } => (
            About::Session(session.as_str()),
            EventType::Warning,
            "FenceSession",
        ),
        Step::PlaceSession { .. } => return None,
    })
}

/// The pod that an action is about.
pub fn pod_of(action: &Action) -> Option<&str> {
    match &action.step {
        Step::CreatePod { pod }
        | Step::CordonPod { pod, .. }
        | Step::DrainPod { pod, .. }
        | Step::CancelDrain { pod }
        | Step::DeletePod { pod }
        | Step::MarkSuspect { pod }
        | Step::ClearSuspect { pod }
        | Step::PlaceSession { pod, .. }
        | Step::AdoptSession { pod, .. }
        | Step::GrantPod { pod, .. }
        | Step::ReturnPod { pod, .. }
        | Step::FenceSession { pod, .. } => Some(pod.as_str()),
        Step::MoveSession { to, .. } => Some(to.as_str()),
        Step::HoldSession { .. } | Step::ExpireSession { .. } => None,
    }
}

impl Events {
    /// In the name of this replica.
    pub fn new(client: Client, identity: &str) -> Self {
        let reporter = Reporter {
            controller: "mafalda-operator".to_owned(),
            instance: Some(identity.to_owned()),
        };
        Self {
            recorder: Recorder::new(client, reporter),
            allowed: Mutex::new((BURST, Instant::now())),
        }
    }

    /// Whether one more is allowed now; it counts then.
    pub fn allow(&self) -> bool {
        let mut allowed = self.allowed.lock().unwrap_or_else(PoisonError::into_inner);
        let (left, since) = *allowed;
        let back = since.elapsed().as_millis() / EACH.as_millis();
        let left = left
            .saturating_add(u32::try_from(back).unwrap_or(BURST))
            .min(BURST);
        let since = if back > 0 { Instant::now() } else { since };
        *allowed = (left.saturating_sub(1), since);
        left > 0
    }

    /// Writes down what went wrong.
    pub async fn warn(
        &self,
        regarding: ObjectReference,
        reason: &str,
        action: &str,
        mut note: String,
    ) {
        cut(&mut note);
        let event = Event {
            type_: EventType::Warning,
            reason: reason.to_owned(),
            note: Some(note),
            action: action.to_owned(),
            secondary: None,
        };
        if let Err(error) = self.recorder.publish(&event, &regarding).await {
            tracing::debug!(%error, "an event was not written");
        }
    }

    /// Writes down what was decided.
    pub async fn publish(&self, regarding: ObjectReference, action: &Action, kind: EventType) {
        let Some((_, _, what)) = told(action) else {
            return;
        };
        let pod = pod_of(action)
            .map(|pod| format!("{pod}: "))
            .unwrap_or_default();
        let mut note = format!("{pod}{}", action.reason);
        cut(&mut note);
        let event = Event {
            type_: kind,
            reason: action.reason.name().to_owned(),
            note: Some(note),
            action: what.to_owned(),
            secondary: None,
        };
        if let Err(error) = self.recorder.publish(&event, &regarding).await {
            tracing::debug!(%error, "an event was not written");
        }
    }
}

/// To what the API server takes.
fn cut(note: &mut String) {
    let end = (0..=LONGEST).rev().find(|end| note.is_char_boundary(*end));
    note.truncate(end.unwrap_or(0));
}

/// What an event of a cluster is about.
pub fn of_cluster(cluster: &MafaldaCluster) -> ObjectReference {
    cluster.object_ref(&())
}

/// What an event of a session is about.
pub fn of_session(session: &Session) -> ObjectReference {
    session.object_ref(&())
}

#[cfg(test)]
mod tests {
    use super::*;
    use mafalda_plan::Generation;

    fn said(step: Step, reason: Reason) -> Option<(About<'static>, EventType, &'static str)> {
        let action = Box::leak(Box::new(Action { step, reason }));
        told(action)
    }

    fn fence(reason: Reason) -> Option<(About<'static>, EventType, &'static str)> {
        let step = Step::FenceSession {
            pod: "talk-0".into(),
            session: "stage".into(),
            generation: Generation(1),
        };
        said(step, reason)
    }

    /// Protects who reads `kubectl describe session`: that an older home was ended, and that one was found
    /// already, is said there.
    #[test]
    fn homes_that_are_found_and_ended_are_told_on_the_session() {
        let adopted = said(
            Step::AdoptSession {
                session: "stage".into(),
                pod: "talk-1".into(),
                generation: Generation(4),
            },
            Reason::RunsAlready {
                generation: Generation(4),
            },
        );
        let about = About::Session("stage");
        assert_eq!(adopted, Some((about, EventType::Normal, "AdoptSession")));
        let current = Generation(2);
        let fenced = fence(Reason::OlderGeneration { current });
        assert_eq!(fenced, Some((about, EventType::Warning, "FenceSession")));
        let home = "talk-1".into();
        assert!(fence(Reason::NotItsHome { home }).is_some());
        assert_eq!(fence(Reason::SessionEnded), None);
    }
}
