//! Small clusters to plan for.
#![allow(dead_code)] // Each test program uses its part.

use mafalda_plan::*;
use std::collections::BTreeMap;
use std::time::Duration;

pub const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Long after all that the pods and sessions below began.
pub const NOW: Duration = s(100_000);

/// Pods of 2 workers, a watermark of 0.5: each carries a load of 1.
pub fn cluster() -> Cluster {
    Cluster {
        name: "c".into(),
        pool: Pool {
            min: 1,
            max: 10,
            spare: 0,
        },
        workers_per_pod: 2,
        watermark: 0.5,
        revision: "new".into(),
        drain_deadline: s(3600),
        next_ordinal: 100,
        made_room: None,
        timing: Timing::default(),
    }
}

/// A pod that is well, and has been for long.
pub fn pod(ordinal: u64, load: f64) -> Pod {
    Pod {
        name: format!("c-{ordinal}").into(),
        node: Some("n".into()),
        region: Some("here".into()),
        node_labels: BTreeMap::new(),
        revision: "new".into(),
        mediasoup: Some("3.27.1".into()),
        cpu: vec![load / 2.0; 2],
        phase: PodPhase::Running,
        unschedulable: false,
        created: s(1000),
        terminating_since: None,
        ready_since: Some(s(1010)),
        address_known: true,
        drain_requested: false,
        drain: None,
        restored_at: None,
        suspect: false,
        down: false,
        last_seen: Some(NOW),
        sessions: Vec::new(),
        anonymous: 0,
        borrowers: 0,
    }
}

/// A session that waits for its first home.
pub fn session(name: &str, participants: u32) -> Session {
    Session {
        name: name.into(),
        expected_participants: Some(participants),
        max_participants: None,
        max_pods: 1,
        hints: Hints::default(),
        time_to_live: TimeToLive::default(),
        created: s(2000),
        empty_since: None,
        attended: false,
        phase: SessionPhase::Pending,
        generation: Generation(0),
        home: None,
        lenders: Vec::new(),
        waiting: None,
    }
}

pub fn observed(pods: Vec<Pod>, sessions: Vec<Session>) -> Observed {
    Observed {
        cluster: cluster(),
        pods,
        sessions,
        now: NOW,
    }
}

/// A session that has been on that pod for long, in generation 1, as both of them say.
pub fn on(name: &str, pod: &mut Pod) -> Session {
    pod.sessions.push(Hosted::new(name.into(), Generation(1)));
    Session {
        phase: SessionPhase::Active,
        generation: Generation(1),
        home: Some(Home {
            pod: pod.name.clone(),
            since: s(3000),
        }),
        ..session(name, 4)
    }
}

pub fn drain(phase: DrainPhase, cause: DrainCause, age: Duration) -> Option<Drain> {
    let since = NOW - age;
    Some(Drain {
        phase,
        cause,
        since,
    })
}

/// Actions as a person would jot them down: `place a on c-1 as 1: Placed`.
pub fn notes(actions: &[Action]) -> Vec<String> {
    let note = |action: &Action| {
        let step = match &action.step {
            Step::CreatePod { pod } => format!("create {pod}"),
            Step::CordonPod { pod, .. } => format!("cordon {pod}"),
            Step::DrainPod { pod, deadline } => {
                format!("drain {pod} by {}", deadline.as_secs())
            }
            Step::CancelDrain { pod } => format!("cancel {pod}"),
            Step::DeletePod { pod } => format!("delete {pod}"),
            Step::MarkSuspect { pod } => format!("suspect {pod}"),
            Step::ClearSuspect { pod } => format!("clear {pod}"),
            Step::PlaceSession {
                session,
                pod,
                generation,
            } => format!("place {session} on {pod} as {generation}"),
            Step::MoveSession {
                session,
                from,
                to,
                generation,
            } => format!("move {session} from {from} to {to} as {generation}"),
            Step::AdoptSession {
                session,
                pod,
                generation,
            } => format!("adopt {session} on {pod} as {generation}"),
            Step::HoldSession { session } => format!("hold {session}"),
            Step::GrantPod { session, pod } => format!("grant {pod} to {session}"),
            Step::ReturnPod { session, pod } => format!("return {pod} of {session}"),
            Step::ExpireSession { session } => format!("expire {session}"),
            Step::FenceSession {
                pod,
                session,
                generation,
            } => format!("fence {session} on {pod} up to {generation}"),
        };
        format!("{step}: {}", action.reason.name())
    };
    actions.iter().map(note).collect()
}

/// Plans, sees that what follows is nothing, and gives notes.
pub fn planned(mut observed: Observed) -> Vec<String> {
    let actions = plan(&observed);
    observed.apply(&actions);
    let again = plan(&observed);
    assert!(
        again.is_empty(),
        "{:?} and then {:?}",
        notes(&actions),
        notes(&again)
    );
    notes(&actions)
}
