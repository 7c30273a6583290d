//! What is to be done so that Kubernetes and the pods are as was decided: the difference of the two.
//! Pure.

use crate::book::{Book, Note, Seat};
use crate::crd::{MafaldaClusterStatus, Phase, Session};
use crate::media_pod::{manifest, ports};
use crate::names::{DRAIN, OCCUPIED, RTC_PORT, SAFE_TO_EVICT, SECRETS, WORKERS};
use crate::observe::{Look, ip_of, session_of};
use crate::pod_api::access::LENDING_LIFE;
use crate::pod_api::client::Peer;
use crate::pod_api::report;
use crate::session::access;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use mafalda_plan::{
    Action, Drain, DrainPhase, Lender, Observed, PodName, SessionName, SessionPhase, Step,
};
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// How long a status is given to come back from the API server before it is written again.
const ECHO: Duration = Duration::from_secs(5);
/// How often the number of a session's participants is written at most.
const COUNTED: Duration = Duration::from_secs(30);
/// After how long a home is told again which pods lend to its session: their token is good for more.
const LEND: Duration = Duration::from_secs(LENDING_LIFE.as_secs() / 3);

/// One thing to do. Doing it twice is harmless.
#[derive(Clone, Debug)]
pub enum Job {
    /// Apply a pod and its Service.
    CreatePod {
        name: String,
        rtc_port: u16,
        workers: u16,
        secrets: String,
    },
    /// Apply the Service of a pod that exists.
    ExposePod {
        name: String,
        uid: String,
        rtc_port: u16,
        workers: u16,
    },
    /// Write down the address that a pod waits for.
    TellAddress {
        pod: String,
        uid: String,
        addresses: Vec<String>,
    },
    /// Change labels and annotations of a pod.
    MarkPod {
        pod: String,
        patch: Value,
    },
    /// Tell a pod how far it is to drain.
    DrainPod {
        pod: String,
        ip: IpAddr,
        phase: report::Phase,
        deadline: Duration,
    },
    DeletePod {
        pod: String,
        uid: String,
    },
    /// End a session on a pod where it should not be.
    Fence {
        pod: String,
        ip: IpAddr,
        session: String,
        generation: u64,
    },
    /// Start a session on its home pod.
    Tell {
        session: String,
        home: Peer,
        generation: u64,
        max_participants: u32,
        decision: u32,
    },
    /// Tell a session's home which pods lend it workers, and how many participants it lets in.
    Lend {
        session: String,
        home: Peer,
        generation: u64,
        max_participants: u32,
        lenders: Vec<Peer>,
        decision: u32,
    },
    /// Tell the API server what was decided for a session.
    Settle(Box<Settle>),
    /// Write the cluster's status.
    Status(Box<MafaldaClusterStatus>),
}

/// What was decided for a session.
#[derive(Clone, Debug)]
pub struct Settle {
    pub session: Arc<Session>,
    pub seat: Seat,
    /// Its home pod's address.
    pub pod: Option<IpAddr>,
    /// How many its home says are in it.
    pub participants: Option<u64>,
    /// Whether its Secret is to be written too.
    pub access: bool,
}

/// Jobs with the same key are not done at the same time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key(&'static str, String, u64);

impl Job {
    /// Whether a pod is asked, not the API server.
    pub fn asks_pod(&self) -> bool {
        matches!(
            self,
            Self::Tell { .. } | Self::Lend { .. } | Self::Fence { .. } | Self::DrainPod { .. }
        )
    }

    /// What it is about.
    pub fn key(&self) -> Key {
        match self {
            Self::CreatePod { name, .. } => Key("create", name.clone(), 0),
            Self::ExposePod { name, .. } => Key("expose", name.clone(), 0),
            Self::TellAddress { pod, .. } => Key("address", pod.clone(), 0),
            Self::MarkPod { pod, .. } => Key("mark", pod.clone(), 0),
            Self::DrainPod { pod, .. } => Key("drain", pod.clone(), 0),
            Self::DeletePod { pod, .. } => Key("delete", pod.clone(), 0),
            Self::Fence {
                pod,
                session,
                generation,
                ..
            } => Key::fence(pod, session, *generation),
            // A later decision does not wait for a pod that does not answer.
            Self::Tell {
                session, decision, ..
            } => Key("tell", session.clone(), (*decision).into()),
            Self::Lend {
                session, decision, ..
            } => Key("lend", session.clone(), (*decision).into()),
            Self::Settle(settle) => Key("settle", settle.session.name_any(), 0),
            Self::Status(_) => Key("status", String::new(), 0),
        }
    }
}

impl Key {
    /// Of [`Job::Fence`].
    pub fn fence(pod: impl fmt::Display, session: impl fmt::Display, generation: u64) -> Self {
        Self("fence", format!("{pod}/{session}"), generation)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0, self.1)
    }
}

/// All that is to be done after a plan.
pub fn due(look: &Look<'_>, observed: &Observed, book: &mut Book, actions: &[Action]) -> Vec<Job> {
    let there: HashMap<PodName, &Arc<Pod>> = look
        .pods
        .iter()
        .map(|pod| (pod.name_any().into(), pod))
        .collect();
    let mut jobs = Vec::new();
    create_pods(look, book, &mut jobs);
    let occupied_pods = book.occupied();
    // What they say of their drain is behind: they would refuse a session.
    let mut reopening: HashSet<&PodName> = HashSet::new();
    for planned in &observed.pods {
        if let (Some(pod), Some(note)) = (there.get(&planned.name), book.pods.get(&planned.name)) {
            let others = planned.anonymous > 0 || planned.borrowers > 0;
            let occupied = occupied_pods.contains(&planned.name) || !planned.sessions.is_empty();
            jobs.extend(mark(look, pod, note, occupied || others));
            jobs.extend(tell_address(look, pod));
            jobs.extend(expose(look, pod));
            let drain = drain(look, pod, planned);
            if drain.is_some() && planned.drain.is_none() {
                reopening.insert(&planned.name);
            }
            jobs.extend(drain);
            jobs.extend(delete(pod, note));
        }
    }
    for action in actions {
        if let Step::FenceSession {
            pod,
            session,
            generation,
        } = &action.step
            && let Some(ip) = there.get(pod).and_then(|pod| ip_of(pod))
        {
            jobs.push(Job::Fence {
                pod: pod.to_string(),
                ip,
                session: session.to_string(),
                generation: generation.0,
            });
        }
    }
    // Few sessions are lent anything, or have another limit than their homes: the others are not looked
    // at more closely.
    let reports = look.heard.values().flat_map(|heard| &heard.report.sessions);
    let mut limits: HashMap<&str, Option<u32>> = HashMap::new();
    let mut borrowing: HashSet<&str> = HashSet::new();
    for said in reports {
        if said.participants.is_some() {
            limits.insert(&said.name, said.max_participants);
        }
        if !said.pods.is_empty() {
            borrowing.insert(&said.name);
        }
    }
    for session in look.sessions {
        let name = SessionName::from(session.name_any());
        let seat = book.seats.get(&name);
        let uid = session.metadata.uid.as_ref();
        if let Some(seat) = seat.filter(|seat| uid == Some(&seat.uid)) {
            let home = seat.home.as_ref().and_then(|home| there.get(&home.pod));
            let reopens = || {
                seat.home
                    .as_ref()
                    .is_some_and(|home| reopening.contains(&home.pod))
            };
            let lends = !seat.lenders.is_empty() || borrowing.contains(name.as_str());
            let limit = limits.get(name.as_str());
            let limited = limit.is_some_and(|told| *told != Some(session.spec.max_participants));
            if let Some(home) = home.filter(|_| lends || limited) {
                jobs.extend(lend(look, session, seat, home, &there));
            }
            jobs.extend(match (seat.untold, home) {
                // It said no a moment ago.
                (true, Some(_)) if seat.refused_until.is_some() || reopens() => None,
                (true, Some(pod)) => tell(look, session, seat, pod),
                (true, None) | (false, _) => settle(look, session, seat, home.copied()),
            });
        }
    }
    jobs
}

/// Pods that were decided on and are not there yet. Each takes its ports.
fn create_pods(look: &Look<'_>, book: &mut Book, jobs: &mut Vec<Job>) {
    let workers = look.workers_per_pod();
    let block_of = |pod: &Arc<Pod>| {
        let number = |key| pod.annotations().get(key)?.parse().ok();
        Some(ports::block(
            number(RTC_PORT)?,
            number(WORKERS).unwrap_or(1),
        ))
    };
    let mut taken: Vec<_> = look.pods.iter().filter_map(block_of).collect();
    let coming = book.pods.values().filter(|note| !note.seen);
    let coming = coming.filter_map(|note| note.rtc_port);
    taken.extend(coming.map(|port| ports::block(port, workers)));
    let exposure = &look.cluster.spec.exposure;
    for (name, note) in &mut book.pods {
        if note.seen || note.deleted.is_some() {
            continue;
        }
        if note.rtc_port.is_none() {
            let (kind, range) = (exposure.type_, exposure.port_range);
            note.rtc_port = ports::first_port(kind, range, workers, &taken, look.node_ports);
            taken.extend(note.rtc_port.map(|port| ports::block(port, workers)));
            note.portless = note.rtc_port.is_none();
            // It may have waited for ports.
            note.created = look.now;
        }
        if let Some(rtc_port) = note.rtc_port {
            jobs.push(Job::CreatePod {
                name: name.to_string(),
                rtc_port,
                workers,
                secrets: look.secrets.to_owned(),
            });
        }
    }
    // A pod that was given up before it was made is no more to be thought of.
    book.pods
        .retain(|_, note| note.seen || note.deleted.is_none());
}

/// The labels and annotations that a pod should have and has not.
fn mark(look: &Look<'_>, pod: &Pod, note: &Note, occupied: bool) -> Option<Job> {
    if pod.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let drain = note
        .drain
        .and_then(|drain| serde_json::to_string(&drain).ok());
    let occupied = occupied.then_some("true");
    let safe = occupied.map(|_| "false");
    let label = pod.labels().get(OCCUPIED).map(String::as_str);
    let annotation = |key| pod.annotations().get(key).map(String::as_str);
    // While there are none nothing is known of them.
    let secrets = Some(look.secrets).filter(|secrets| !secrets.is_empty());
    let secrets = secrets.or(annotation(SECRETS));
    let differs = label != occupied
        || annotation(SECRETS) != secrets
        || annotation(SAFE_TO_EVICT) != safe
        || annotation(DRAIN) != drain.as_deref();
    differs.then(|| Job::MarkPod {
        pod: pod.name_any(),
        patch: json!({"metadata": {
            "labels": {OCCUPIED: occupied},
            "annotations": {SAFE_TO_EVICT: safe, DRAIN: drain, SECRETS: secrets},
        }}),
    })
}

/// The address that a pod waits for before its container starts.
fn tell_address(look: &Look<'_>, pod: &Pod) -> Option<Job> {
    let waits = manifest::waits_for_address(&look.cluster.spec);
    if !waits || crate::observe::started(pod).is_some() || look.heard_of(pod).is_some() {
        return None;
    }
    Some(Job::TellAddress {
        pod: pod.name_any(),
        uid: pod.uid()?,
        addresses: look.addresses_of(pod).ok()?,
    })
}

fn expose(look: &Look<'_>, pod: &Pod) -> Option<Job> {
    use crate::crd::ExposureType;
    let exposure = look.cluster.spec.exposure.type_;
    let has_service = matches!(
        exposure,
        ExposureType::NodePort | ExposureType::LoadBalancer
    );
    let wanted = has_service && manifest::is_exposed_as(&look.cluster.spec, pod);
    if !wanted || look.services.contains_key(&pod.name_any()) {
        return None;
    }
    let written = |key| pod.annotations().get(key)?.parse().ok();
    Some(Job::ExposePod {
        name: pod.name_any(),
        uid: pod.uid()?,
        rtc_port: written(RTC_PORT)?,
        workers: written(WORKERS)?,
    })
}

/// What a pod should know of its drain and does not.
fn drain(look: &Look<'_>, pod: &Pod, planned: &mafalda_plan::Pod) -> Option<Job> {
    let heard = look.heard_of(pod)?;
    // It drains by itself when it is asked to end.
    if !planned.is_running() {
        return None;
    }
    let wanted = match planned.drain {
        None => report::Phase::Active,
        Some(Drain {
            phase: DrainPhase::Cordoned,
            ..
        }) => report::Phase::Cordoned,
        Some(Drain {
            phase: DrainPhase::Draining,
            ..
        }) => report::Phase::Draining,
    };
    let limit = Duration::from_secs(look.cluster.spec.drain_deadline_seconds.into());
    let end = planned.drain.map_or(look.now, |drain| drain.since + limit);
    (heard.report.drain.phase != wanted).then_some(Job::DrainPod {
        pod: pod.name_any(),
        ip: ip_of(pod)?,
        phase: wanted,
        deadline: end.saturating_sub(look.now),
    })
}

fn delete(pod: &Pod, note: &Note) -> Option<Job> {
    note.deleted?;
    let asked = pod.metadata.deletion_timestamp.is_some();
    (!asked).then_some(Job::DeletePod {
        pod: pod.name_any(),
        uid: pod.uid()?,
    })
}

/// What a pod does not know of its session. The API server learns of it afterwards: what can be read
/// there is true.
fn tell(look: &Look<'_>, session: &Session, seat: &Seat, pod: &Pod) -> Option<Job> {
    Some(Job::Tell {
        session: session.name_any(),
        home: look.peer(pod)?,
        generation: seat.generation.0,
        max_participants: session.spec.max_participants,
        decision: seat.decided,
    })
}

/// What a home does not know of the pods that lend to its session, and of its limit.
fn lend(
    look: &Look<'_>,
    session: &Session,
    seat: &Seat,
    home: &Pod,
    there: &HashMap<PodName, &Arc<Pod>>,
) -> Option<Job> {
    let said = session_of(look.heard_of(home)?, &session.name_any())?;
    if seat.untold || seat.phase != SessionPhase::Active || said.generation != seat.generation.0 {
        return None;
    }
    let is_told = said.pods.len() == seat.lenders.len()
        && seat
            .lenders
            .iter()
            .all(|lender| said.pods.iter().any(|pod| pod.name == lender.pod.as_str()));
    // A pod that counts nobody knows of no limit either.
    let max_participants = session.spec.max_participants;
    let is_limited = said.participants.is_none() || said.max_participants == Some(max_participants);
    let is_fresh = |at: Duration| look.now.saturating_sub(at) < LEND;
    if is_told && is_limited && (seat.lenders.is_empty() || seat.lent_at.is_some_and(is_fresh)) {
        return None;
    }
    let peer = |lender: &Lender| look.peer(there.get(&lender.pod)?);
    Some(Job::Lend {
        session: session.name_any(),
        home: look.peer(home)?,
        generation: seat.generation.0,
        max_participants,
        // One without an address has gone: the next plan takes it back.
        lenders: seat.lenders.iter().filter_map(peer).collect(),
        decision: seat.decided,
    })
}

/// What the API server does not know of a session.
fn settle(
    look: &Look<'_>,
    session: &Arc<Session>,
    seat: &Seat,
    home: Option<&Arc<Pod>>,
) -> Option<Job> {
    let status = session.status.as_ref();
    let generation = status.and_then(|status| status.generation);
    let age = look.now.saturating_sub(seat.settled_at);
    let active = seat.phase == SessionPhase::Active;
    let same = generation.unwrap_or_default() == seat.generation.0;
    let written = same && (status.and_then(|status| status.phase) == Some(Phase::Active)) == active;
    let access = (seat.decided > seat.settled && !seat.untold)
        || (seat.decided > 0 && !written && age >= ECHO)
        || (active && access::is_due(seat.token_since, look.now))
        || (active && written && age >= ECHO && is_of_others(look, session));
    let counted = status.and_then(|status| status.participants);
    // Those of an earlier generation are gone.
    let participants = || participants(look, session, seat, home).or(counted.filter(|_| same));
    // Before the pod was told, what would be written is not true yet.
    let stale = !seat.untold
        && (is_edited(session, seat, age)
            || (active && written && age >= COUNTED && participants() != counted));
    (access || stale).then(|| {
        Job::Settle(Box::new(Settle {
            session: session.clone(),
            seat: seat.clone(),
            pod: home.and_then(|pod| ip_of(pod)),
            participants: participants().or(active.then_some(0)),
            access,
        }))
    })
}

/// Whether its application's Secret was made from other keys or authorities than are in use, be it by a
/// replica before this one.
fn is_of_others(look: &Look<'_>, session: &Session) -> bool {
    let status = session.status.as_ref();
    let made_from = status.and_then(|status| status.access_from.as_deref());
    look.access_from.is_some_and(|now| made_from != Some(now))
}

/// Whether the status is about an earlier spec, and that was not written a moment ago.
fn is_edited(session: &Session, seat: &Seat, age: Duration) -> bool {
    let generation = session.metadata.generation;
    let status = session.status.as_ref();
    let behind = status.is_some_and(|status| status.observed_generation != generation);
    behind && (seat.settled_spec != generation || age >= ECHO)
}

/// How many its home says are in it, in this generation.
fn participants(
    look: &Look<'_>,
    session: &Session,
    seat: &Seat,
    home: Option<&Arc<Pod>>,
) -> Option<u64> {
    let said = session_of(look.heard_of(home?)?, &session.name_any())?;
    said.participants
        .filter(|_| said.generation == seat.generation.0)
}
