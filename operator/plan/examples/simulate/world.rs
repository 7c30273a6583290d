//! What happens, in order: events with a time, carried out one after the other.

use crate::numbers::Numbers;
use crate::report::Day;
use mafalda_plan::*;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet};
use std::time::Duration;

pub const HOUR: f64 = 3600.0;
/// Sessions at the same time, when most are there.
const PEAK: f64 = 10_000.0;
const LIFE: f64 = 1800.0;
const LONGEST_LIFE: f64 = 3.0 * HOUR;
const NODES: usize = 250;
const NODES_LOST: usize = 12;
/// How often the operator plans. News in between wait for it.
const TICK: f64 = 2.0;
/// How long people take to join.
pub const JOIN: f64 = 120.0;
const UPGRADE: f64 = 12.5 * HOUR;
/// For two minutes no pod answers the operator.
pub const CUT: std::ops::Range<f64> = 20.0 * HOUR..20.0 * HOUR + 120.0;

#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Event {
    Arrive,
    Leave(SessionName),
    PodUp(PodName),
    PodGone(PodName),
    NodeDies,
    /// Kubernetes notices, later than the operator.
    NodeLost(NodeName),
    Upgrade,
    Plan,
    Sample,
}

/// What is true of a session, whatever the planner was told.
pub struct Truth {
    pub load: f64,
    pub since: f64,
    /// When its pod died under it, until it is placed anew.
    pub cut: Option<f64>,
}

pub struct World {
    pub observed: Observed,
    queue: BinaryHeap<Reverse<(Duration, u64, Event)>>,
    events: u64,
    pub numbers: Numbers,
    pub truth: HashMap<SessionName, Truth>,
    pub over: HashSet<SessionName>,
    pub dead: HashSet<PodName>,
    nodes: u64,
    pub day: Day,
}

impl World {
    pub fn new() -> Self {
        let cluster = Cluster {
            name: "c".into(),
            pool: Pool {
                min: 10,
                max: 1000,
                spare: 5,
            },
            workers_per_pod: 4,
            watermark: 0.6,
            revision: "r1".into(),
            drain_deadline: Duration::from_secs(2 * 3600),
            next_ordinal: 0,
            made_room: None,
            timing: Timing::default(),
        };
        let mut world = Self {
            observed: Observed {
                cluster,
                pods: vec![],
                sessions: vec![],
                now: Duration::ZERO,
            },
            queue: BinaryHeap::new(),
            events: 0,
            numbers: Numbers::new(20_261_123),
            truth: HashMap::new(),
            over: HashSet::new(),
            dead: HashSet::new(),
            nodes: 0,
            day: Day::default(),
        };
        for event in [Event::Arrive, Event::Plan, Event::Sample] {
            world.at(0.0, event);
        }
        world.at(UPGRADE, Event::Upgrade);
        for _ in 0..NODES_LOST {
            let when = world.numbers.share() * 22.0 * HOUR + HOUR;
            world.at(when, Event::NodeDies);
        }
        world
    }

    pub fn at(&mut self, seconds: f64, event: Event) {
        self.events += 1;
        let when = Duration::from_secs_f64(seconds);
        self.queue.push(Reverse((when, self.events, event)));
    }

    fn now(&self) -> f64 {
        self.observed.now.as_secs_f64()
    }

    /// A day, from midnight to midnight.
    pub fn run(mut self) -> Day {
        while let Some(Reverse((when, _, event))) = self.queue.pop() {
            if when.as_secs_f64() > 24.0 * HOUR {
                break;
            }
            self.observed.now = when;
            let now = self.now();
            match event {
                Event::Arrive => self.arrive(now),
                Event::Leave(session) => self.leave(&session),
                Event::PodUp(pod) => self.pod_up(&pod),
                Event::PodGone(pod) => self.observed.pods.retain(|other| other.name != pod),
                Event::NodeDies => self.node_dies(now),
                Event::NodeLost(node) => self.node_lost(&node, now),
                Event::Upgrade => self.observed.cluster.revision = "r2".into(),
                Event::Plan => {
                    self.measure(now);
                    self.plan(now);
                    self.at(now + TICK, Event::Plan);
                }
                Event::Sample => {
                    self.sample(now);
                    self.at(now + 60.0, Event::Sample);
                }
            }
        }
        self.day
    }

    fn arrive(&mut self, now: f64) {
        let wait = self.numbers.exponential(1.0 / arrivals(now));
        self.at(now + wait, Event::Arrive);
        let name: SessionName = format!("s{}", self.day.arrived).into();
        self.day.arrived += 1;
        let participants = self.numbers.participants();
        // One in five says nothing; the others are wrong by up to a fifth.
        let tells = self.numbers.share() < 0.8;
        let guess = f64::from(participants) * (0.8 + 0.4 * self.numbers.share());
        let expires = self.numbers.share() < 0.5;
        self.observed.sessions.push(Session {
            name: name.clone(),
            expected_participants: tells.then_some(guess.round() as u32),
            max_participants: None,
            max_pods: 1,
            hints: Hints::default(),
            time_to_live: TimeToLive {
                empty: expires.then_some(Duration::from_secs(300)),
                total: None,
            },
            created: self.observed.now,
            empty_since: None,
            attended: false,
            phase: SessionPhase::Pending,
            generation: Generation(0),
            home: None,
            lenders: Vec::new(),
            waiting: None,
        });
        let truth = Truth {
            load: Load::expected(participants).workers(),
            since: now,
            cut: None,
        };
        self.truth.insert(name.clone(), truth);
        let life = self.numbers.exponential(LIFE).clamp(60.0, LONGEST_LIFE);
        self.at(now + life, Event::Leave(name));
    }

    /// The last participant leaves; half of the sessions are deleted at once, the others expire.
    fn leave(&mut self, name: &SessionName) {
        let now = self.observed.now;
        self.truth.remove(name);
        let found = self
            .observed
            .sessions
            .iter_mut()
            .find(|session| session.name == *name);
        if let Some(session) = found {
            session.empty_since = Some(now);
            if session.time_to_live.empty.is_none() {
                self.over.insert(name.clone());
            }
        }
    }

    fn pod_up(&mut self, name: &PodName) {
        let now = self.observed.now;
        let mut pods_on: BTreeMap<u64, usize> = (self.nodes..self.nodes + NODES as u64)
            .map(|node| (node, 0))
            .collect();
        for pod in &self.observed.pods {
            let node = pod
                .node
                .as_ref()
                .and_then(|node| node.as_str().parse().ok());
            if let Some(count) = node.and_then(|node| pods_on.get_mut(&node)) {
                *count += 1;
            }
        }
        let least = pods_on.iter().min_by_key(|(_, count)| **count);
        let node = least.map_or(0, |(node, _)| *node);
        if let Some(pod) = self.observed.pods.iter_mut().find(|pod| pod.name == *name) {
            pod.ready_since = Some(now);
            pod.last_seen = Some(now);
            pod.address_known = true;
            pod.node = Some(node.to_string().into());
            pod.mediasoup = Some("3.27.1".into());
        }
    }

    /// The node that has the most pods loses its power. A new node takes its place.
    fn node_dies(&mut self, now: f64) {
        let mut pods_on: BTreeMap<&NodeName, usize> = BTreeMap::new();
        for node in self
            .observed
            .pods
            .iter()
            .filter_map(|pod| pod.node.as_ref())
        {
            *pods_on.entry(node).or_default() += 1;
        }
        let Some(node) = pods_on.into_iter().max_by_key(|(_, count)| *count) else {
            return;
        };
        let node = node.0.clone();
        for pod in self
            .observed
            .pods
            .iter()
            .filter(|pod| pod.node.as_ref() == Some(&node))
        {
            self.dead.insert(pod.name.clone());
            self.day.pods_lost += 1;
            for hosted in &pod.sessions {
                if let Some(truth) = self.truth.get_mut(&hosted.session) {
                    truth.cut = Some(now);
                }
            }
        }
        self.at(now + 40.0, Event::NodeLost(node));
    }

    fn node_lost(&mut self, node: &NodeName, now: f64) {
        let mut gone = vec![];
        for pod in &mut self.observed.pods {
            if pod.node.as_ref() == Some(node) {
                pod.phase = PodPhase::Failed;
                gone.push(pod.name.clone());
            }
        }
        for pod in gone {
            self.at(now + 300.0, Event::PodGone(pod));
        }
    }
}

/// Sessions a second that begin at that time of the day: two waves, and meetings begin on the half hour.
fn arrivals(now: f64) -> f64 {
    let hour = now / HOUR % 24.0;
    let wave = |top: f64, width: f64| (-((hour - top) / width).powi(2)).exp();
    let share = 0.15 + 0.85 * (wave(10.5, 2.0) + 0.95 * wave(15.5, 2.5)).min(1.0);
    let sharp = if now % 1800.0 < 180.0 { 3.0 } else { 0.78 };
    PEAK / LIFE * share * sharp
}
