//! A cluster that does as it is told, and to which things happen.

use crate::common::{NOW, cluster, pod, s, session};
use mafalda_plan::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const NODES: usize = 3;

/// What happens. The numbers pick one of what is there.
#[derive(Clone, Debug)]
pub enum Event {
    Wait(u64),
    NewSession {
        participants: u32,
        fussy: u8,
        spread: u32,
    },
    EndSession(usize),
    Empty(usize),
    Join(usize),
    PodsReady {
        address: bool,
    },
    Addresses,
    Noise(Vec<f64>),
    /// All workers of a session are above the watermark, and all it was lent is used.
    Hot(usize),
    /// It uses nothing of what it was lent.
    Cool(usize),
    /// No node has room for pods that start.
    NodesFull(bool),
    Silent(usize),
    /// Its process ends. The machine says so.
    Dies(usize),
    Answers(usize),
    Fails(usize),
    Vanishes(usize),
    Restarts(usize),
    DeletedBySomebody(usize),
    AskDrain(usize),
    WithdrawDrain(usize),
    Upgrade(u8),
    Resize {
        min: u32,
        more: u32,
        spare: u32,
    },
}

pub fn event() -> impl Strategy<Value = Event> {
    use Event::*;
    let any = 0..1000usize;
    prop_oneof![
        8 => prop_oneof![Just(1), Just(10), Just(100), Just(1000)].prop_map(Wait),
        8 => (0..60u32, 0..8u8, 1..4u32).prop_map(|(participants, fussy, spread)| {
            NewSession { participants, fussy, spread }
        }),
        2 => any.clone().prop_map(EndSession),
        3 => any.clone().prop_map(Empty),
        1 => any.clone().prop_map(Join),
        8 => prop::bool::weighted(0.8).prop_map(|address| PodsReady { address }),
        1 => Just(Addresses),
        4 => prop::collection::vec(0.0..1.0f64, 1..6).prop_map(Noise),
        6 => any.clone().prop_map(Hot),
        3 => any.clone().prop_map(Cool),
        1 => prop::bool::ANY.prop_map(NodesFull),
        2 => any.clone().prop_map(Silent),
        2 => any.clone().prop_map(Dies),
        4 => any.clone().prop_map(Answers),
        1 => any.clone().prop_map(Fails),
        2 => any.clone().prop_map(Vanishes),
        1 => any.clone().prop_map(Restarts),
        1 => any.clone().prop_map(DeletedBySomebody),
        1 => any.clone().prop_map(AskDrain),
        2 => any.prop_map(WithdrawDrain),
        1 => (0..3u8).prop_map(Upgrade),
        1 => (0..4u32, 0..6u32, 0..3u32).prop_map(|(min, more, spare)| {
            Resize { min, more, spare }
        }),
    ]
}

/// What there is, what was observed of it, and what the past forbids.
pub struct Model {
    pub observed: Observed,
    /// Pods that do not answer, though they may run.
    silent: BTreeSet<PodName>,
    /// Where each generation of each session was placed.
    pub homes: BTreeMap<(SessionName, Generation), PodName>,
    /// Pods that ever were.
    pub names: BTreeSet<PodName>,
    sessions_made: u32,
}

impl Model {
    pub fn new() -> Self {
        let first = pod(0, 0.1);
        Self {
            names: [first.name.clone()].into(),
            observed: Observed {
                cluster: cluster(),
                pods: vec![first],
                sessions: vec![],
                now: NOW,
            },
            silent: BTreeSet::new(),
            homes: BTreeMap::new(),
            sessions_made: 0,
        }
    }

    fn pod(&mut self, pick: usize) -> Option<&mut Pod> {
        let count = self.observed.pods.len().max(1);
        self.observed.pods.get_mut(pick % count)
    }

    fn session(&mut self, pick: usize) -> Option<&mut Session> {
        let count = self.observed.sessions.len().max(1);
        self.observed.sessions.get_mut(pick % count)
    }

    pub fn happen(&mut self, event: Event) {
        let now = self.observed.now;
        match event {
            Event::Wait(seconds) => self.observed.now += s(seconds),
            Event::NewSession {
                participants,
                fussy,
                spread,
            } => {
                self.sessions_made += 1;
                let mut made = session(&format!("s{}", self.sessions_made), participants);
                made.created = now;
                made.max_pods = spread;
                match fussy {
                    0 => made.hints.region = Some("far".into()),
                    1 => made.hints.mediasoup = Some("3.28.0".into()),
                    2 => made.hints.node_labels = [("odd".into(), "yes".into())].into(),
                    3 => made.time_to_live.empty = Some(s(500)),
                    4 => made.time_to_live.total = Some(s(5000)),
                    _ => {}
                }
                self.observed.sessions.push(made);
            }
            Event::EndSession(pick) => {
                if !self.observed.sessions.is_empty() {
                    let pick = pick % self.observed.sessions.len();
                    self.observed.sessions.remove(pick);
                }
            }
            Event::Empty(pick) => {
                if let Some(session) = self.session(pick) {
                    session.empty_since = Some(now);
                    session.attended = pick % 2 == 0;
                }
            }
            Event::Join(pick) => {
                if let Some(session) = self.session(pick) {
                    session.empty_since = None;
                    session.attended = true;
                }
            }
            Event::PodsReady { address } => self.ready(address),
            Event::Addresses => {
                for pod in &mut self.observed.pods {
                    pod.address_known = pod.ready_since.is_some();
                }
            }
            Event::Noise(loads) => {
                for (pod, load) in self.observed.pods.iter_mut().zip(loads.iter().cycle()) {
                    pod.cpu = vec![*load; 2];
                }
            }
            Event::Hot(pick) | Event::Cool(pick) => {
                let hot = matches!(event, Event::Hot(_));
                let name = self.session(pick).map(|session| session.name.clone());
                let pods = self.observed.pods.iter_mut();
                let said = pods.flat_map(|pod| &mut pod.sessions);
                for hosted in said.filter(|hosted| Some(&hosted.session) == name.as_ref()) {
                    hosted.wants_more = hot;
                    for lent in &mut hosted.lenders {
                        lent.unused_since = (!hot).then_some(now);
                    }
                }
            }
            Event::NodesFull(full) => {
                let starting = |pod: &&mut Pod| pod.ready_since.is_none();
                for pod in self.observed.pods.iter_mut().filter(starting) {
                    pod.unschedulable = full;
                }
            }
            Event::Silent(pick) => {
                if let Some(pod) = self.pod(pick) {
                    let name = pod.name.clone();
                    self.silent.insert(name);
                }
            }
            Event::Dies(pick) => {
                if let Some(pod) = self.pod(pick) {
                    pod.down = true;
                    let name = pod.name.clone();
                    self.silent.insert(name);
                }
            }
            Event::Answers(pick) => {
                if let Some(pod) = self.pod(pick) {
                    pod.down = false;
                    let name = pod.name.clone();
                    self.silent.remove(&name);
                }
            }
            Event::Fails(pick) => {
                if let Some(pod) = self.pod(pick) {
                    pod.phase = PodPhase::Failed;
                }
            }
            Event::Vanishes(pick) => {
                // Only what was asked to end, or failed, goes away.
                let count = self.observed.pods.len().max(1);
                let ends = |pod: &Pod| !pod.is_running();
                if self.observed.pods.get(pick % count).is_some_and(ends) {
                    self.observed.pods.remove(pick % count);
                }
            }
            Event::Restarts(pick) => {
                if let Some(pod) = self.pod(pick) {
                    pod.sessions.clear();
                }
            }
            Event::DeletedBySomebody(pick) => {
                if let Some(pod) = self.pod(pick)
                    && pod.is_running()
                {
                    pod.terminating_since = Some(now);
                }
            }
            Event::AskDrain(pick) | Event::WithdrawDrain(pick) => {
                let asked = matches!(event, Event::AskDrain(_));
                if let Some(pod) = self.pod(pick) {
                    pod.drain_requested = asked;
                }
            }
            Event::Upgrade(to) => self.observed.cluster.revision = format!("r{to}").into(),
            Event::Resize { min, more, spare } => {
                let max = (min + more).max(1);
                self.observed.cluster.pool = Pool { min, max, spare };
            }
        }
    }

    /// Pods that start come up, each on a node of its own kind.
    fn ready(&mut self, address: bool) {
        let now = self.observed.now;
        for pod in &mut self.observed.pods {
            if pod.ready_since.is_some() || !pod.is_running() {
                continue;
            }
            let number = pod.name.as_str().len() + pod.name.as_str().ends_with('3') as usize;
            pod.ready_since = Some(now);
            pod.address_known = address;
            let ordinal = pod.name.as_str().rsplit('-').next().unwrap_or_default();
            let ordinal: usize = ordinal.parse().unwrap_or_default();
            pod.node = Some(format!("n{}", ordinal % NODES).into());
            pod.region = Some(
                if number.is_multiple_of(2) {
                    "far"
                } else {
                    "here"
                }
                .into(),
            );
            let new = pod.revision.as_str() == "r1";
            pod.mediasoup = Some(if new { "3.28.0" } else { "3.27.1" }.into());
            if pod.name.as_str().ends_with('5') {
                pod.node_labels = [("odd".into(), "yes".into())].into();
            }
        }
    }

    /// Pods that can are asked how they are.
    pub fn poll(&mut self) {
        let now = self.observed.now;
        for pod in &mut self.observed.pods {
            let up = pod.ready_since.is_some() && pod.phase != PodPhase::Failed;
            if up && !self.silent.contains(&pod.name) {
                pod.last_seen = Some(now);
                for hosted in &mut pod.sessions {
                    hear_of_lenders(hosted, &self.observed.sessions, now);
                }
            }
        }
    }

    /// Carries the actions out.
    pub fn carry_out(&mut self, actions: &[Action]) {
        self.observed.apply(actions);
        for action in actions {
            let (session, pod, generation) = match &action.step {
                Step::PlaceSession {
                    session,
                    pod,
                    generation,
                }
                | Step::MoveSession {
                    session,
                    to: pod,
                    generation,
                    ..
                } => (session, pod, *generation),
                Step::CreatePod { pod } => {
                    assert!(self.names.insert(pod.clone()), "{pod} was there before");
                    continue;
                }
                _ => continue,
            };
            let earlier = self
                .homes
                .insert((session.clone(), generation), pod.clone());
            assert_eq!(earlier, None, "{session} has two homes in {generation}");
            let hosted = Hosted::new(session.clone(), generation);
            let pods = &mut self.observed.pods;
            if let Some(pod) = pods.iter_mut().find(|candidate| candidate.name == *pod) {
                pod.sessions.retain(|hosted| hosted.session != *session);
                pod.sessions.push(hosted);
            }
        }
    }
}

/// A home knows what it was told of pods that lend to a session.
fn hear_of_lenders(hosted: &mut Hosted, sessions: &[Session], now: std::time::Duration) {
    let session = sessions
        .iter()
        .find(|session| session.name == hosted.session);
    let lenders = session.map_or(&[][..], |session| &session.lenders);
    let known = std::mem::take(&mut hosted.lenders);
    let lent = |lender: &Lender| {
        let fresh = || Lent {
            pod: lender.pod.clone(),
            unused_since: Some(now),
        };
        let known = known.iter().find(|lent| lent.pod == lender.pod);
        known.cloned().unwrap_or_else(fresh)
    };
    hosted.lenders = lenders.iter().map(lent).collect();
}
