//! Which nodes lend workers to which sessions, and which sessions have lost their home. Pure: what nodes
//! say and the time in, the plan's decisions out. All of it follows from what nodes report, so that any
//! gateway decides alike.

use crate::announce::peer;
use crate::nodes::{Node, Nodes};
use crate::report::{Report, Session};
use crate::sessions::{Directory, Home};
use mafalda_plan::{
    Cluster, Drain, DrainCause, DrainPhase, Generation, Hints, Hosted, Lender, Lent, Observed, Pod,
    PodName, PodPhase, Pool, Reason, Revision, SessionPhase, Step, TimeToLive, Timing, ZONE, lend,
    lost_home,
};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// Over how many nodes a session may spread that does not say it, as a Session's `spec.spread.maxPods`.
pub const DEFAULT_MAX_PODS: u32 = 8;
/// The most that may be said.
pub const MOST_PODS: u32 = 64;
/// How many are expected in a session that does not say it, as a Session's `spec.expectedParticipants`.
pub const DEFAULT_EXPECTED: u32 = 10;
/// The most that may be said.
pub const MOST_EXPECTED: u32 = 100_000;

/// Since when each lender of each session has not been used: what its home says, and when that was heard
/// first. Only the latter is compared with anything, as clocks of hosts may differ.
#[derive(Debug, Default)]
pub struct Unused(BTreeMap<(String, String), (u64, Duration)>);

/// What is to be told to a session's home.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The session.
    pub session: String,
    /// Its home, which is to be told.
    pub home: Home,
    /// What its lenders were called when this was decided.
    pub before: Vec<String>,
    /// The lenders from now on, as the home must be told of them.
    pub pods: Vec<Value>,
    /// Whether it was granted one, and why: the last of [`Change::reasons`] is that of the grant then.
    pub grants: bool,
    /// Why, each with the node that it is about.
    pub reasons: Vec<(PodName, Reason)>,
}

/// What is due for the sessions whose home answers.
pub fn due(nodes: &Nodes, unused: &mut Unused, watermark: f64, now: Duration) -> Vec<Change> {
    let observed = observe(nodes, unused, watermark, now);
    let names = Names::new(nodes);
    let mut decided: BTreeMap<String, Vec<(Step, Reason)>> = BTreeMap::new();
    for action in lend(&observed) {
        if let Step::GrantPod { session, .. } | Step::ReturnPod { session, .. } = &action.step {
            let of_session = decided.entry(session.to_string()).or_default();
            of_session.push((action.step, action.reason));
        }
    }
    let homes = Directory::Nodes.all(nodes);
    let change = |(session, steps): (String, Vec<_>)| {
        let home = homes.get(&session)?.clone();
        let answers = nodes.get(&home.pod)?.state(now).answers();
        let said = nodes.session(&home.pod, &session).filter(|_| answers)?;
        names.change(nodes, &home, said, steps)
    };
    decided.into_iter().filter_map(change).collect()
}

/// Why a session is to be placed anew, if its home is known to be lost.
pub fn lost(nodes: &Nodes, session: &str, watermark: f64, now: Duration) -> Option<Reason> {
    let observed = observe(nodes, &mut Unused::default(), watermark, now);
    lost_home(&observed, &session.into())
}

/// What nodes are called by each other, and here.
pub struct Names<'a>(HashMap<&'a str, &'a PodName>);

impl<'a> Names<'a> {
    /// Those of all that are listed.
    pub fn new(nodes: &'a Nodes) -> Self {
        Self(
            nodes
                .all()
                .map(|node| (node.peer_name(), &node.listed.name))
                .collect(),
        )
    }

    /// The name here, of one that is not listed the one that others have for it.
    pub fn here(&self, peer: &str) -> PodName {
        self.0
            .get(peer)
            .map_or_else(|| peer.into(), |name| (*name).clone())
    }

    /// What to tell a session's home; `None` if not all that lend to it can be named.
    fn change(
        &self,
        nodes: &Nodes,
        home: &Home,
        said: &Session,
        steps: Vec<(Step, Reason)>,
    ) -> Option<Change> {
        let before: Vec<String> = said.pods.iter().map(|lender| lender.name.clone()).collect();
        let mut lenders: Vec<PodName> = before.iter().map(|name| self.here(name)).collect();
        let mut reasons = Vec::new();
        let mut grants = false;
        for (step, reason) in steps {
            match step {
                Step::GrantPod { pod, .. } => {
                    lenders.push(pod.clone());
                    reasons.push((pod, reason));
                    grants = true;
                }
                Step::ReturnPod { pod, .. } => {
                    lenders.retain(|lender| *lender != pod);
                    reasons.push((pod, reason));
                }
                _ => {}
            }
        }
        let told = |name: &PodName| {
            let node = nodes.get(name)?;
            Some(peer(node, node.report.as_deref()?))
        };
        Some(Change {
            session: said.name.clone(),
            home: home.clone(),
            before,
            pods: lenders.iter().map(told).collect::<Option<_>>()?,
            grants,
            reasons,
        })
    }
}

fn observe(nodes: &Nodes, unused: &mut Unused, watermark: f64, now: Duration) -> Observed {
    let names = Names::new(nodes);
    let before = std::mem::take(&mut unused.0);
    let mut sessions = Vec::new();
    let mut pods: Vec<Pod> = nodes.all().map(|node| pod(node, now)).collect();
    let index: HashMap<PodName, usize> = pods
        .iter()
        .enumerate()
        .map(|(index, pod)| (pod.name.clone(), index))
        .collect();
    for (name, home) in Directory::Nodes.all(nodes) {
        let (Some(said), Some(&at)) = (nodes.session(&home.pod, &name), index.get(&home.pod))
        else {
            continue;
        };
        let mut lenders = Vec::new();
        for lender in &said.pods {
            let pod = names.here(&lender.name);
            let since = lender.unused_since.map(|said| {
                let key = (name.clone(), lender.name.clone());
                let known = before.get(&key).filter(|(known, _)| *known == said);
                let first = known.map_or(now, |(_, first)| *first);
                unused.0.insert(key, (said, first));
                first
            });
            lenders.push(Lent {
                pod,
                unused_since: since,
            });
        }
        sessions.push(session(said, &home, &lenders));
        pods[at].sessions.push(Hosted {
            session: name.as_str().into(),
            generation: home.generation,
            consumers: said.carries.consumers,
            wants_more: said.wants_more,
            lenders,
        });
    }
    // Another gateway may have a longer list: what is not on this one, and never was, is used for as
    // long as it is used.
    let mut strange: Vec<PodName> = sessions
        .iter()
        .flat_map(|session| &session.lenders)
        .map(|lender| lender.pod.clone())
        .filter(|name| !index.contains_key(name) && !nodes.is_gone(name))
        .collect();
    strange.sort();
    strange.dedup();
    pods.extend(strange.into_iter().map(unlisted));
    Observed {
        cluster: cluster(watermark),
        pods,
        sessions,
        now,
    }
}

/// A session, as its home says.
fn session(said: &Session, home: &Home, lenders: &[Lent]) -> mafalda_plan::Session {
    let lender = |lent: &Lent| Lender {
        pod: lent.pod.clone(),
        since: Duration::ZERO,
    };
    mafalda_plan::Session {
        name: said.name.as_str().into(),
        expected_participants: Some(said.expected_participants.unwrap_or(DEFAULT_EXPECTED)),
        max_participants: said.max_participants,
        max_pods: said.max_pods.unwrap_or(DEFAULT_MAX_PODS),
        hints: Hints::default(),
        time_to_live: TimeToLive::default(),
        created: Duration::ZERO,
        empty_since: None,
        attended: said.connections > 0,
        phase: SessionPhase::Active,
        generation: home.generation,
        home: Some(mafalda_plan::Home {
            pod: home.pod.clone(),
            since: Duration::ZERO,
        }),
        lenders: lenders.iter().map(lender).collect(),
        waiting: None,
    }
}

/// A node, but for its sessions.
fn pod(node: &Node, now: Duration) -> Pod {
    let nothing = Report::default();
    let report = node.report.as_deref().unwrap_or(&nothing);
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let zone = some(&report.pod.zone).map(|zone| (ZONE.to_owned(), zone));
    Pod {
        // Each is a host of its own, as far as anybody knows.
        node: Some(node.listed.name.as_str().into()),
        region: some(&report.pod.region).map(Into::into),
        node_labels: zone.into_iter().collect(),
        mediasoup: some(&report.mediasoup.npm).map(Into::into),
        cpu: report.workers.iter().map(|worker| worker.cpu).collect(),
        ready_since: report.is_ready().then_some(Duration::ZERO),
        drain: report.draining.then_some(Drain {
            phase: DrainPhase::Cordoned,
            cause: DrainCause::Requested,
            since: now,
        }),
        down: node.refuses,
        last_seen: node.last_seen,
        anonymous: report.anonymous(),
        borrowers: report.borrowers,
        ..unlisted(node.listed.name.clone())
    }
}

/// A node of which nothing is known.
fn unlisted(name: PodName) -> Pod {
    Pod {
        name,
        node: None,
        region: None,
        node_labels: BTreeMap::new(),
        revision: Revision::from(""),
        mediasoup: None,
        cpu: Vec::new(),
        phase: PodPhase::Running,
        unschedulable: false,
        created: Duration::ZERO,
        terminating_since: None,
        ready_since: None,
        address_known: true,
        drain_requested: false,
        drain: None,
        restored_at: None,
        suspect: false,
        down: false,
        last_seen: None,
        sessions: Vec::new(),
        anonymous: 0,
        borrowers: 0,
    }
}

/// The plan's settings: nobody makes pods here, and drains have no end.
fn cluster(watermark: f64) -> Cluster {
    Cluster {
        name: "".into(),
        pool: Pool {
            min: 0,
            max: 0,
            spare: 0,
        },
        workers_per_pod: 1,
        watermark,
        revision: Revision::from(""),
        drain_deadline: Duration::MAX,
        next_ordinal: 0,
        made_room: None,
        timing: Timing::default(),
    }
}

/// What is next for a session whose home may be lost.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// Its home answers, or there is no such session any more.
    Stays,
    /// Its home may answer yet.
    Wait,
    /// It is placed anew as this generation, for this reason.
    Place(Generation, Reason),
    /// Whether it is lost, or where it is by now, is not certain, as nothing is known of this node.
    Unsure(PodName),
}

/// Decides whether a session is placed anew because somebody asks for it.
///
/// Which generation is the last nodes alone know. So nothing is done as long as there is a node that this
/// gateway never heard: it may be its home by now.
pub fn next(nodes: &Nodes, name: &str, watermark: f64, now: Duration) -> Next {
    let Some(home) = Directory::Nodes.home(nodes, name) else {
        return Next::Stays;
    };
    let node = nodes.get(&home.pod);
    if node.is_some_and(|node| node.state(now).answers()) {
        // It was not reached this once.
        return Next::Wait;
    }
    if let Some(unheard) = nodes.unheard() {
        return Next::Unsure(unheard.clone());
    }
    match lost(nodes, name, watermark, now) {
        Some(reason) => Next::Place(home.generation.next(), reason),
        // So many are silent that it may be this gateway that is cut off.
        None => Next::Unsure(home.pod),
    }
}

#[cfg(test)]
mod tests;
