//! What a MafaldaCluster's status says. Pure.

use crate::book::Book;
use crate::cluster::refusals::What;
use crate::conditions::{Says, condition};
use crate::crd::{MafaldaClusterStatus, PodVersion};
use crate::media_pod::address::Unknown;
use crate::media_pod::ports;
use crate::names::CLUSTER;
use crate::observe::Look;
use kube::ResourceExt;
use mafalda_plan::{NoPod, Observed, SessionPhase, State};
use std::collections::BTreeMap;

/// How often figures that change all the time are written at most, in seconds.
pub const UTILIZATION_SECONDS: u64 = 30;

/// The status after a plan. `trouble` is what keeps the operator from doing its work, if something
/// does; `measured` whether figures that change all the time are written anew.
pub fn status(
    look: &Look<'_>,
    observed: &Observed,
    book: &Book,
    trouble: Option<&str>,
    measured: bool,
) -> MafaldaClusterStatus {
    let before = look.cluster.status.clone().unwrap_or_default();
    let states: Vec<State> = observed
        .pods
        .iter()
        .map(|pod| pod.state(&observed.cluster, observed.now))
        .collect();
    let count = |wanted: &[State]| number(states.iter().filter(|s| wanted.contains(s)).count());
    let ready = count(&[State::Available]);
    let homes = |seat: &&mafalda_plan::Session| seat.phase == SessionPhase::Active;
    let generation = look.cluster.metadata.generation;
    let of = |says: Says<'_>| condition(&says, &before.conditions, generation, look.now);
    let utilization = match measured || before.utilization.is_none() {
        true => utilization(observed, &states),
        false => before.utilization,
    };
    let participants = match measured || before.participants.is_none() {
        true => Some(participants(look)),
        false => before.participants,
    };
    let address = address(look);
    let hindrances = hindrances(look, observed, book);
    MafaldaClusterStatus {
        pods: number(observed.pods.len()),
        ready,
        draining: count(&[State::Cordoned, State::Draining, State::Terminating]),
        sessions: number(observed.sessions.iter().filter(homes).count()),
        participants,
        utilization,
        versions: versions(observed),
        selector: Some(format!("{CLUSTER}={}", look.cluster.name_any())),
        conditions: vec![
            of(readiness(ready, &states, &address, trouble, &hindrances)),
            of(address.says()),
            of(saturation(observed, book, &states)),
            of(progress(&states, &hindrances)),
        ],
        observed_generation: generation,
    }
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn utilization(observed: &Observed, states: &[State]) -> Option<u8> {
    let serving = observed.pods.iter().zip(states);
    let cpu: Vec<f64> = serving
        .filter(|(_, state)| **state == State::Available)
        .flat_map(|(pod, _)| pod.cpu.iter().copied())
        .collect();
    let mean = cpu.iter().sum::<f64>() / cpu.len() as f64;
    (!cpu.is_empty()).then(|| (mean * 100.0).round().clamp(0.0, 100.0) as u8)
}

fn participants(look: &Look<'_>) -> u64 {
    let sessions = look.heard.values().flat_map(|heard| &heard.report.sessions);
    sessions.filter_map(|said| said.participants).sum()
}

fn versions(observed: &Observed) -> Vec<PodVersion> {
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    for version in observed
        .pods
        .iter()
        .filter_map(|pod| pod.mediasoup.as_ref())
    {
        *counts.entry(version.as_str()).or_default() += 1;
    }
    let version = |(mediasoup, pods): (&str, u32)| PodVersion {
        mediasoup: mediasoup.to_owned(),
        pods,
    };
    counts.into_iter().map(version).collect()
}

/// What is known of the pods' addresses.
enum Addresses {
    Known,
    NotYet,
    Missing(String),
}

impl Addresses {
    fn says(&self) -> Says<'_> {
        let (holds, reason, message) = match self {
            Self::Known => (
                Some(true),
                "Resolved",
                "the address of every media pod is known",
            ),
            Self::NotYet => (
                None,
                "Pending",
                "the address of a media pod is not known yet",
            ),
            Self::Missing(what) => (Some(false), "AddressUnknown", what.as_str()),
        };
        Says {
            of: "AddressResolved",
            holds,
            reason,
            message,
        }
    }
}

fn address(look: &Look<'_>) -> Addresses {
    let mut found = match look.pods {
        [] => Addresses::NotYet,
        [..] => Addresses::Known,
    };
    for pod in look.pods.iter().filter(|pod| !look.is_of_before(pod)) {
        match look.addresses_of(pod) {
            Ok(_) => {}
            Err(Unknown::NotYet) => found = Addresses::NotYet,
            Err(Unknown::Missing(what)) => return Addresses::Missing(what),
        }
    }
    found
}

/// What keeps the pool from being as it should.
struct Hindrance {
    reason: &'static str,
    message: String,
    /// It keeps pods from being there, and not only a session.
    of_pods: bool,
}

/// The one that is to be told first comes first.
fn hindrances(look: &Look<'_>, observed: &Observed, book: &Book) -> Vec<Hindrance> {
    let refused = look.refused.first().map(|(what, said)| Hindrance {
        reason: what.reason(),
        message: said.to_owned(),
        of_pods: what != What::Session,
    });
    // Those that the API server has not had, and that have no ports: see `Look::starting`.
    let unmade = |pod: &&mafalda_plan::Pod| {
        let note = book.pods.get(&pod.name);
        pod.unschedulable && note.is_some_and(|note| !note.seen)
    };
    let portless = observed.pods.iter().find(unmade).map(|_| {
        let exposure = &look.cluster.spec.exposure;
        let workers = look.workers_per_pod();
        Hindrance {
            reason: "PortsExhausted",
            message: ports::why_none(exposure.type_, exposure.port_range, workers),
            of_pods: true,
        }
    });
    let mut found: Vec<Hindrance> = refused.into_iter().chain(portless).collect();
    found.sort_by_key(|hindrance| !hindrance.of_pods);
    found
}

fn readiness<'a>(
    ready: u32,
    states: &[State],
    address: &'a Addresses,
    trouble: Option<&'a str>,
    hindrances: &'a [Hindrance],
) -> Says<'a> {
    let hindrance = hindrances.iter().find(|hindrance| hindrance.of_pods);
    let (holds, reason, message) = match (trouble, ready, hindrance, address) {
        (Some(trouble), ..) => (false, "OperatorFailed", trouble),
        (None, 1.., ..) => (true, "PodsReady", "new sessions are placed at once"),
        (None, 0, Some(hindrance), _) => (false, hindrance.reason, hindrance.message.as_str()),
        (None, 0, None, Addresses::Missing(what)) => (false, "AddressUnknown", what.as_str()),
        (None, 0, None, _) if states.contains(&State::Starting) => {
            (false, "PodsStarting", "the first media pod starts")
        }
        (None, 0, None, _) if states.is_empty() => (
            false,
            "NoPods",
            "there is no media pod; one is made when a session needs it",
        ),
        (None, 0, None, _) => (false, "NoPodReady", "no media pod takes sessions"),
    };
    Says {
        of: "Ready",
        holds: Some(holds),
        reason,
        message,
    }
}

fn saturation(observed: &Observed, book: &Book, states: &[State]) -> Says<'static> {
    let waits = |seat: &crate::book::Seat| {
        seat.phase == SessionPhase::Pending
            && matches!(seat.waiting, Some(NoPod::Full | NoPod::NoneReady))
    };
    let waiting = book.seats.values().any(waits);
    let there = |state: &&State| !matches!(state, State::Terminating | State::Failed);
    let pods = number(states.iter().filter(there).count());
    let full = waiting && pods >= observed.cluster.pool.max;
    let (reason, message) = if full {
        (
            "PoolAtMaximum",
            "sessions wait, and the pool has spec.pool.max media pods",
        )
    } else {
        ("RoomLeft", "the pool has room, or may grow")
    };
    Says {
        of: "Saturated",
        holds: Some(full),
        reason,
        message,
    }
}

fn progress<'a>(states: &[State], hindrances: &'a [Hindrance]) -> Says<'a> {
    let has = |wanted: State| states.contains(&wanted);
    let (holds, reason, message) = if let Some(hindrance) = hindrances.first() {
        (true, hindrance.reason, hindrance.message.as_str())
    } else if has(State::Starting) {
        (true, "PodsStarting", "media pods start")
    } else if has(State::Cordoned) || has(State::Draining) {
        (true, "PodsDraining", "media pods drain")
    } else if has(State::Terminating) {
        (true, "PodsEnding", "media pods end")
    } else if has(State::Suspect) || has(State::Failed) || has(State::Stuck) {
        (true, "PodsLost", "media pods failed or do not answer")
    } else {
        (false, "Settled", "there is nothing to add or to take away")
    };
    Says {
        of: "Progressing",
        holds: Some(holds),
        reason,
        message,
    }
}
