//! What a Session's status says. Pure.

use crate::book::Seat;
use crate::conditions::{Says, condition};
use crate::crd::{Phase, Session, SessionStatus};
use crate::names::{API_PORT, access_secret};
use kube::ResourceExt;
use mafalda_plan::SessionPhase;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// The URL that a session's application connects to.
pub fn endpoint(pod: IpAddr, session: &str) -> String {
    let address = SocketAddr::new(pod, API_PORT);
    format!("wss://{address}/v1/sessions/{session}")
}

/// The status of a Session in its seat. `pod` is the address of its home pod, `participants` how many that
/// says are there.
pub fn status(
    session: &Session,
    seat: &Seat,
    pod: Option<IpAddr>,
    participants: Option<u64>,
    access_from: Option<&str>,
    now: Duration,
) -> SessionStatus {
    let name = session.name_any();
    let before = session.status.clone().unwrap_or_default();
    let phase = match seat.phase {
        SessionPhase::Active => Phase::Active,
        SessionPhase::Ended => Phase::Ended,
        SessionPhase::Pending if seat.generation.0 == 0 => Phase::Pending,
        SessionPhase::Pending => Phase::Recovering,
    };
    let (reason, message) = (seat.why.0.as_str(), seat.why.1.as_str());
    let active = phase == Phase::Active;
    let home = seat.home.as_ref().filter(|_| phase != Phase::Ended);
    let pods = home.into_iter().flat_map(|home| {
        let lenders = seat.lenders.iter().map(|lender| &lender.pod);
        std::iter::once(&home.pod).chain(lenders)
    });
    let generation = session.metadata.generation;
    let moved = before.generation != Some(seat.generation.0);
    let of = |of, holds: bool| {
        let says = Says {
            of,
            holds: Some(holds),
            reason,
            message,
        };
        let mut made = condition(&says, &before.conditions, generation, now);
        if of == "Placed" && moved && holds {
            // The time of a placement is that of this generation.
            made.last_transition_time = crate::clock::kubernetes_time(now);
        }
        made
    };
    SessionStatus {
        phase: Some(phase),
        generation: (seat.generation.0 > 0).then_some(seat.generation.0),
        home_pod: home.map(|home| home.pod.to_string()),
        pods: pods.map(ToString::to_string).collect(),
        participants: participants.filter(|_| active),
        mediasoup_version: seat.mediasoup.clone(),
        endpoint: pod.filter(|_| active).map(|pod| endpoint(pod, &name)),
        token_secret_name: active.then(|| access_secret(&name)),
        access_from: access_from.filter(|_| active).map(str::to_owned),
        last_reason: (!reason.is_empty()).then(|| reason.to_owned()),
        conditions: vec![of("Ready", active), of("Placed", home.is_some())],
        observed_generation: generation,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mafalda_plan::{Generation, Home, Lender};
    use serde_json::json;

    fn session() -> Session {
        serde_json::from_value(json!({
            "apiVersion": "mafalda.dev/v1alpha1",
            "kind": "Session",
            "metadata": {"name": "stage", "generation": 4},
            "spec": {"clusterRef": {"name": "talk"}},
        }))
        .unwrap()
    }

    fn seat(phase: SessionPhase, generation: u64, home: Option<&str>) -> Seat {
        Seat {
            uid: "u".to_owned(),
            phase,
            generation: Generation(generation),
            home: home.map(|pod| Home {
                pod: pod.into(),
                since: Duration::ZERO,
            }),
            lenders: vec![Lender {
                pod: "talk-7".into(),
                since: Duration::ZERO,
            }],
            lent_at: None,
            mediasoup: Some("3.27.1".to_owned()),
            waiting: None,
            why: ("Because".to_owned(), "it is so".to_owned()),
            untold: false,
            decided: 1,
            settled: 0,
            settled_spec: None,
            met: Duration::ZERO,
            settled_at: Duration::ZERO,
            token_since: Duration::ZERO,
            refusals: 0,
            refused_until: None,
        }
    }

    #[test]
    fn a_status_says_where_the_session_is() {
        let now = Duration::from_secs(1_800_000_000);
        for (phase, generation, home, told) in [
            (SessionPhase::Pending, 0, None, Phase::Pending),
            (SessionPhase::Active, 2, Some("talk-1"), Phase::Active),
            (SessionPhase::Pending, 2, Some("talk-1"), Phase::Recovering),
            (SessionPhase::Ended, 2, Some("talk-1"), Phase::Ended),
        ] {
            let seat = seat(phase, generation, home);
            let pod = Some([10, 0, 0, 7].into());
            let status = status(&session(), &seat, pod, Some(5), Some("1a2b"), now);
            assert_eq!(status.phase, Some(told));
            assert_eq!(status.last_reason.as_deref(), Some("Because"));
            assert_eq!(status.observed_generation, Some(4));
            let active = told == Phase::Active;
            assert_eq!(status.participants, active.then_some(5));
            // What it began with is to be known when it is placed anew.
            assert_eq!(status.mediasoup_version.as_deref(), Some("3.27.1"));
            assert_eq!(status.token_secret_name.is_some(), active);
            assert_eq!(status.access_from.is_some(), active);
            let endpoint = active.then_some("wss://10.0.0.7:4400/v1/sessions/stage");
            assert_eq!(status.endpoint.as_deref(), endpoint);
            let pods = match told {
                Phase::Active | Phase::Recovering => vec!["talk-1", "talk-7"],
                Phase::Pending | Phase::Ended => vec![],
            };
            assert_eq!(status.pods, pods);
            let ready = &status.conditions[0];
            assert_eq!(ready.status, if active { "True" } else { "False" });
            assert_eq!(ready.message, "it is so");
        }
    }

    /// Protects those who read for how long something holds: a status that is written again says
    /// the same times, a new placement has its own.
    #[test]
    fn times_are_those_of_the_changes() {
        let (first, later) = (
            Duration::from_secs(1_800_000_000),
            Duration::from_secs(1_800_000_100),
        );
        let mut session = session();
        let mut seat = seat(SessionPhase::Active, 1, Some("talk-0"));
        let one = status(&session, &seat, None, None, None, first);
        session.status = Some(one.clone());
        assert_eq!(status(&session, &seat, None, None, None, later), one);
        seat.generation = Generation(2);
        let moved = status(&session, &seat, None, None, None, later);
        assert_eq!(
            moved.conditions[0].last_transition_time,
            one.conditions[0].last_transition_time
        );
        assert_ne!(
            moved.conditions[1].last_transition_time,
            one.conditions[1].last_transition_time
        );
    }

    #[test]
    fn an_endpoint_of_either_family_is_a_url() {
        let six = endpoint("fd00::7".parse().unwrap(), "s");
        assert_eq!(six, "wss://[fd00::7]:4400/v1/sessions/s");
    }
}
