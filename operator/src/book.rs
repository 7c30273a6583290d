//! What was decided for one cluster, whether or not Kubernetes and the pods know it already.
//!
//! The plan is made from it, and what it decides is noted here before it is carried out: so the next
//! plan, a moment later, does not decide it again. After a restart it is filled from what the API
//! server has.

use crate::clock::since_1970;
use crate::crd::{Phase, Session};
use crate::names::DRAIN;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use mafalda_plan::{
    Action, Drain, Generation, Home, Lender, MediasoupVersion, NoPod, Observed, PodName, PodPhase,
    Revision, SessionName, SessionPhase, Step,
};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

/// How long the generation of a Session that is gone is remembered, so that one of the same name begins
/// with a later one: a little longer than pods remember it, which refuse an older one.
const REMEMBERED: Duration = Duration::from_secs(65 * 60);
/// How long a pod is not asked again for a session whose placements are refused, after the second time
/// and at most.
const REFUSED: Duration = Duration::from_millis(250);
const REFUSED_MOST: Duration = Duration::from_secs(5);

/// What was decided for one cluster.
#[derive(Debug)]
pub struct Book {
    /// Of the Sessions that exist.
    pub seats: HashMap<SessionName, Seat>,
    /// The last generation of those that are gone, and until when it is remembered.
    pub gone: HashMap<SessionName, (Generation, Duration)>,
    pub pods: BTreeMap<PodName, Note>,
    /// The number of the next pod.
    pub next_ordinal: u64,
    /// For which revision a pod was given up last, and when.
    pub made_room: Option<(Revision, Duration)>,
    /// Since when this operator listens to the pods; until it does, since when it leads.
    pub since: Duration,
}

/// What was decided for a session.
#[derive(Clone, Debug, PartialEq)]
pub struct Seat {
    /// The Session's, so that one of the same name that comes later is another.
    pub uid: String,
    pub phase: SessionPhase,
    pub generation: Generation,
    pub home: Option<Home>,
    /// The pods that lend it workers.
    pub lenders: Vec<Lender>,
    /// When its home was told of them.
    pub lent_at: Option<Duration>,
    /// mediasoup's version on its home, or on its last one.
    pub mediasoup: Option<String>,
    pub waiting: Option<NoPod>,
    /// Why it is where it is: a word and a sentence.
    pub why: (String, String),
    /// Whether its pod is still to be told. A pod that has lost it is not: what began anew is
    /// another generation.
    pub untold: bool,
    /// Goes up with each decision.
    pub decided: u32,
    /// The decision that the API server knows of.
    pub settled: u32,
    /// The metadata.generation of the Session that was settled last.
    pub settled_spec: Option<i64>,
    /// When the operator learned of it.
    pub met: Duration,
    /// When the last decision was settled.
    pub settled_at: Duration,
    /// When its access token was written.
    pub token_since: Duration,
    /// How often in a row a pod did not take it.
    pub refusals: u32,
    /// When it is placed anew, as its pod did not take it.
    pub refused_until: Option<Duration>,
}

/// What was decided for a pod.
#[derive(Clone, Debug, PartialEq)]
pub struct Note {
    pub drain: Option<Drain>,
    /// When its last drain was taken back.
    pub restored_at: Option<Duration>,
    pub suspect: bool,
    /// When it was to be made.
    pub created: Duration,
    /// Whether the API server has had it.
    pub seen: bool,
    /// When it was to be deleted.
    pub deleted: Option<Duration>,
    /// The media port of its first worker, as soon as it has one.
    pub rtc_port: Option<u16>,
    /// Whether ports were looked for, and none were free.
    pub portless: bool,
}

impl Book {
    /// Empty, of an operator that leads since then.
    pub fn new(since: Duration) -> Self {
        Self {
            seats: HashMap::new(),
            gone: HashMap::new(),
            pods: BTreeMap::new(),
            next_ordinal: 0,
            made_room: None,
            since,
        }
    }

    /// Takes in a pod that the API server has, and what is written on it.
    pub fn meet_pod(&mut self, pod: &Pod) {
        let created = pod.creation_timestamp().as_ref().map(since_1970);
        let written = || {
            let drain = pod.annotations().get(DRAIN)?;
            serde_json::from_str(drain).ok()
        };
        let note = self
            .pods
            .entry(pod.name_any().into())
            .or_insert_with(|| Note {
                drain: written(),
                restored_at: None,
                suspect: false,
                created: created.unwrap_or_default(),
                seen: true,
                deleted: None,
                rtc_port: None,
                portless: false,
            });
        note.seen = true;
    }

    /// Forgets pods that the API server had and has no more.
    pub fn keep_pods(&mut self, is_there: impl Fn(&PodName) -> bool) {
        self.pods.retain(|name, note| !note.seen || is_there(name));
    }

    /// Takes in a Session of the API server. `false` if it has to wait: pods still run one of the same
    /// name that was deleted.
    pub fn meet_session(&mut self, session: &Session, still_runs: bool, now: Duration) -> bool {
        let uid = session.uid().unwrap_or_default();
        let name = SessionName::from(session.name_any());
        if let Some(seat) = self.seats.get_mut(&name) {
            if seat.uid == uid {
                seat.end_refusal(now);
                return true;
            }
            self.forget(&name, now);
        }
        let before = self.gone.get(&name);
        if before.is_some() && still_runs {
            return false;
        }
        let last = before.map(|(generation, _)| *generation);
        let seat = written(session, uid, last.unwrap_or_default(), now);
        if let Some(home) = &seat.home {
            // Names of pods that are gone are not given again either.
            let ordinal = home.pod.as_str().rsplit('-').next();
            let ordinal = ordinal.and_then(|ordinal| ordinal.parse::<u64>().ok());
            let next = ordinal.map_or(0, |ordinal| ordinal.saturating_add(1));
            self.next_ordinal = self.next_ordinal.max(next);
        }
        self.gone.remove(&name);
        self.seats.insert(name, seat);
        true
    }

    /// Forgets Sessions that are gone, all but the last generation of each, and in time that as well.
    /// `exist` are the names of those that have a seat and are decided on; `runs` says whether a pod said
    /// last that it runs one.
    pub fn keep_sessions(&mut self, exist: &[&str], runs: impl Fn(&str) -> bool, now: Duration) {
        // Each of them has a seat: mostly there is nothing to look for.
        if self.seats.len() > exist.len() {
            let exist: HashSet<&str> = exist.iter().copied().collect();
            let gone = self
                .seats
                .keys()
                .filter(|name| !exist.contains(name.as_str()));
            for name in gone.cloned().collect::<Vec<_>>() {
                self.forget(&name, now);
            }
        }
        self.gone.retain(|name, (_, until)| {
            if runs(name.as_str()) {
                *until = now + REMEMBERED;
            }
            *until > now
        });
    }

    fn forget(&mut self, name: &SessionName, now: Duration) {
        if let Some(seat) = self.seats.remove(name) {
            let gone = (seat.generation, now + REMEMBERED);
            self.gone.insert(name.clone(), gone);
        }
    }

    /// Notes what a plan decided. `after` is what was observed, with the actions applied.
    pub fn note(&mut self, actions: &[Action], after: &Observed) {
        if actions.is_empty() {
            return;
        }
        self.next_ordinal = after.cluster.next_ordinal;
        self.made_room.clone_from(&after.cluster.made_room);
        for pod in &after.pods {
            let fresh = Note {
                drain: None,
                restored_at: None,
                suspect: false,
                created: pod.created,
                seen: false,
                deleted: None,
                rtc_port: None,
                portless: false,
            };
            let note = self.pods.entry(pod.name.clone()).or_insert(fresh);
            note.drain = pod.drain;
            note.restored_at = pod.restored_at;
            note.suspect = pod.suspect;
        }
        for session in &after.sessions {
            if let Some(seat) = self.seats.get_mut(&session.name) {
                seat.phase = session.phase;
                seat.generation = session.generation;
                seat.home.clone_from(&session.home);
                seat.lenders.clone_from(&session.lenders);
                seat.waiting = session.waiting;
            }
        }
        let pods = after.pods.iter();
        let versions: HashMap<&PodName, &MediasoupVersion> = pods
            .filter_map(|pod| Some((&pod.name, pod.mediasoup.as_ref()?)))
            .collect();
        for action in actions {
            if let Step::PlaceSession { session, pod, .. }
            | Step::AdoptSession { session, pod, .. }
            | Step::MoveSession {
                session, to: pod, ..
            } = &action.step
                && let Some(seat) = self.seats.get_mut(session)
            {
                let version = versions.get(pod).map(|version| version.as_str().to_owned());
                seat.mediasoup = version.or(seat.mediasoup.take());
            }
            match &action.step {
                Step::DeletePod { pod } => {
                    if let Some(note) = self.pods.get_mut(pod) {
                        note.deleted = Some(after.now);
                    }
                }
                Step::PlaceSession { session, .. }
                | Step::MoveSession { session, .. }
                | Step::AdoptSession { session, .. }
                | Step::HoldSession { session }
                | Step::ExpireSession { session } => {
                    if let Some(seat) = self.seats.get_mut(session) {
                        seat.decided += 1;
                        seat.why = (action.reason.name().to_owned(), action.reason.to_string());
                        seat.refused_until = None;
                        seat.untold = matches!(
                            action.step,
                            Step::PlaceSession { .. } | Step::MoveSession { .. }
                        );
                    }
                }
                Step::GrantPod { session, .. } | Step::ReturnPod { session, .. } => {
                    if let Some(seat) = self.seats.get_mut(session) {
                        seat.decided += 1;
                        seat.lent_at = None;
                    }
                }
                Step::CreatePod { .. }
                | Step::CordonPod { .. }
                | Step::DrainPod { .. }
                | Step::CancelDrain { .. }
                | Step::MarkSuspect { .. }
                | Step::ClearSuspect { .. }
                | Step::FenceSession { .. } => {}
            }
        }
    }

    /// Notes that the pod did not take the session: another generation has to be placed. At once, and
    /// after a pause when that one is not taken either: who refuses may do so for long.
    pub fn unseat(&mut self, session: &SessionName, decision: u32, now: Duration) {
        if let Some(seat) = self.seats.get_mut(session)
            && seat.decided == decision
            && seat.home.is_some()
            && seat.refused_until.is_none()
        {
            let pause = match seat.refusals {
                0 => Duration::ZERO,
                before => REFUSED * 2u32.saturating_pow((before - 1).min(8)),
            };
            seat.refusals = seat.refusals.saturating_add(1);
            seat.refused_until = Some(now + pause.min(REFUSED_MOST));
            seat.end_refusal(now);
        }
    }

    /// Notes that the pod knows a placement: from now on it is expected to run the session.
    pub fn told(&mut self, session: &SessionName, decision: u32, now: Duration) {
        if let Some(seat) = self.seats.get_mut(session)
            && seat.decided == decision
        {
            seat.untold = false;
            seat.refusals = 0;
            if let Some(home) = &mut seat.home {
                home.since = now;
            }
        }
    }

    /// Notes that the home knows which pods lend to the session.
    pub fn lent(&mut self, session: &SessionName, decision: u32, now: Duration) {
        if let Some(seat) = self.seats.get_mut(session)
            && seat.decided == decision
        {
            seat.lent_at = Some(now);
        }
    }

    /// Notes that the API server knows a decision, of that metadata.generation of the Session; `access`:
    /// and the Secret is new.
    pub fn settle(
        &mut self,
        session: &SessionName,
        decision: u32,
        spec: Option<i64>,
        access: bool,
        now: Duration,
    ) {
        if let Some(seat) = self.seats.get_mut(session) {
            seat.settled = seat.settled.max(decision);
            seat.settled_spec = spec;
            seat.settled_at = now;
            if access && seat.phase == SessionPhase::Active {
                seat.token_since = now;
            }
        }
    }

    /// The pods that are the home of a session that counts, or lend to it.
    pub fn occupied<'a>(&'a self) -> HashSet<&'a PodName> {
        let counts = |seat: &&Seat| seat.phase != SessionPhase::Ended;
        let pods = |seat: &'a Seat| {
            let home = seat.home.iter().map(|home| &home.pod);
            home.chain(seat.lenders.iter().map(|lender| &lender.pod))
        };
        self.seats.values().filter(counts).flat_map(pods).collect()
    }
}

impl Seat {
    /// Lets it be placed anew, if its pod did not take it and the pause after that is over.
    fn end_refusal(&mut self, now: Duration) {
        if self.refused_until.is_some_and(|until| until <= now) {
            self.refused_until = None;
            self.home = None;
            self.phase = SessionPhase::Pending;
            self.waiting = None;
        }
    }
}

/// What the status of a Session says was decided.
fn written(session: &Session, uid: String, last: Generation, now: Duration) -> Seat {
    let status = session.status.clone().unwrap_or_default();
    let placed = status
        .conditions
        .iter()
        .find(|condition| condition.type_ == "Placed");
    let since = placed.map_or(now, |placed| since_1970(&placed.last_transition_time));
    let phase = match status.phase {
        Some(Phase::Active) => SessionPhase::Active,
        Some(Phase::Ended) => SessionPhase::Ended,
        Some(Phase::Pending | Phase::Recovering) | None => SessionPhase::Pending,
    };
    let message = status
        .conditions
        .iter()
        .find(|condition| condition.type_ == "Ready");
    let lenders = status
        .pods
        .iter()
        .filter(|pod| status.home_pod.as_ref() != Some(pod));
    let lenders = lenders.map(|pod| Lender {
        pod: pod.as_str().into(),
        since,
    });
    Seat {
        uid,
        phase,
        generation: Generation(status.generation.unwrap_or_default()).max(last),
        home: status.home_pod.as_deref().map(|pod| Home {
            pod: pod.into(),
            since,
        }),
        lenders: lenders.collect(),
        lent_at: None,
        mediasoup: status.mediasoup_version,
        waiting: None,
        why: (
            status.last_reason.unwrap_or_default(),
            message
                .map(|message| message.message.clone())
                .unwrap_or_default(),
        ),
        untold: false,
        decided: 0,
        settled: 0,
        settled_spec: None,
        met: now,
        settled_at: now,
        token_since: since,
        refusals: 0,
        refused_until: None,
    }
}

/// Since when a pod that was asked to end was asked.
pub fn terminating_since(pod: &Pod, note: &Note) -> Option<Duration> {
    let asked = pod.metadata.deletion_timestamp.as_ref().map(|time| {
        let grace = pod
            .metadata
            .deletion_grace_period_seconds
            .unwrap_or_default();
        since_1970(time).saturating_sub(Duration::from_secs(u64::try_from(grace).unwrap_or(0)))
    });
    asked.or(note.deleted)
}

/// What Kubernetes says of a pod.
pub fn phase_of(pod: &Pod, node_is_gone: bool) -> PodPhase {
    let phase = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    if node_is_gone || matches!(phase, Some("Failed" | "Succeeded")) {
        PodPhase::Failed
    } else {
        PodPhase::Running
    }
}
