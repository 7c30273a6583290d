//! What the API server and the pods say, and what was decided, as the plan takes it. Pure.

use crate::book::{Book, Note, Seat, phase_of, terminating_since};
use crate::clock::since_1970;
use crate::cluster::refusals::{Refusals, What};
use crate::crd::{MafaldaCluster, Session};
use crate::media_pod::address::{self, Unknown};
use crate::media_pod::{manifest, workers};
use crate::names::{CONTAINER, DRAIN_REQUESTED, REGION, REVISION, WORKERS, ZONE};
use crate::pod_api::client::Peer;
use crate::pod_api::{Heard, report};
use k8s_openapi::api::core::v1::{ContainerStatus, Node, Pod, Service};
use kube::ResourceExt;
use mafalda_plan as plan;
use mafalda_plan::{Generation, Hosted, Observed, PodPhase, SessionName, SessionPhase};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// What a connection to a pod takes, with many others at the same time.
const FIRST_WORD: Duration = Duration::from_millis(10);

/// All that one look at a cluster takes in.
pub struct Look<'a> {
    pub cluster: &'a MafaldaCluster,
    pub default_image: &'a str,
    /// Its pods.
    pub pods: &'a [Arc<Pod>],
    /// Its Sessions.
    pub sessions: &'a [Arc<Session>],
    pub nodes: &'a HashMap<String, Arc<Node>>,
    /// Its pods' Services, by the pod's name.
    pub services: &'a HashMap<String, Arc<Service>>,
    /// What its pods said, by their uid.
    pub heard: &'a HashMap<String, Heard>,
    /// Which keys and certificate its Secrets have.
    pub secrets: &'a str,
    /// What applications' Secrets are made from, once that is known: [`crate::secrets::Kept::access_digest`].
    pub access_from: Option<&'a str>,
    /// Its pods whose hosts say that nobody listens there, by their uid.
    pub refusing: &'a HashSet<String>,
    /// Node ports of Services that are not its pods', as far as they are known.
    pub node_ports: &'a [u16],
    /// What the API server does not let the operator do.
    pub refused: &'a Refusals,
    /// When its pods that have said nothing yet gave a sign of life last, by their uid.
    pub alive: &'a HashMap<String, Duration>,
    pub timing: plan::Timing,
    pub now: Duration,
}

impl Look<'_> {
    /// How many workers a pod that is made now runs.
    pub fn workers_per_pod(&self) -> u16 {
        let nodes: Vec<_> = self.nodes.values().cloned().collect();
        workers::per_pod(&self.cluster.spec, &nodes)
    }

    /// The node that the pod runs on.
    pub fn node_of(&self, pod: &Pod) -> Option<&Arc<Node>> {
        let name = pod.spec.as_ref()?.node_name.as_ref()?;
        self.nodes.get(name)
    }

    /// How the pod is reached, and where it is; `None` while it has no address.
    pub fn peer(&self, pod: &Pod) -> Option<Peer> {
        let labels = self.node_of(pod).map(|node| node.labels());
        let label = |key| labels.and_then(|labels| labels.get(key)).cloned();
        Some(Peer {
            name: pod.name_any(),
            ip: ip_of(pod)?,
            region: label(REGION).unwrap_or_default(),
            zone: label(ZONE).unwrap_or_default(),
        })
    }

    /// The addresses that clients are told for a pod.
    ///
    /// # Errors
    /// Why one is not known.
    pub fn addresses_of(&self, pod: &Pod) -> Result<Vec<String>, Unknown> {
        let node = self.node_of(pod).map(Arc::as_ref);
        let service = self.services.get(&pod.name_any()).map(Arc::as_ref);
        let found = address::resolve(&self.cluster.spec, pod, node, service);
        let why = self.refused.of(What::Service, &pod.name_any());
        match (found, why) {
            // It does not come by itself.
            (Err(Unknown::NotYet), Some(why)) => Err(Unknown::Missing(why.to_owned())),
            (found, _) => found,
        }
    }

    /// Whether the pod was told its address before the cluster's exposure changed: it keeps it.
    pub fn is_of_before(&self, pod: &Pod) -> bool {
        started(pod).is_some() && !manifest::is_exposed_as(&self.cluster.spec, pod)
    }

    /// What the pod said, if it is the one that said it.
    pub fn heard_of(&self, pod: &Pod) -> Option<&Heard> {
        self.heard.get(pod.metadata.uid.as_ref()?)
    }

    /// Whether an operator that has just begun is yet to hear pods that ran before it. What it knows of
    /// their load and their sessions is then less than there is.
    pub fn is_early(&self, book: &Book) -> bool {
        let unheard = |pod: &Arc<Pod>| {
            let uid = pod.metadata.uid.as_ref();
            let refuses = uid.is_some_and(|uid| self.refusing.contains(uid));
            let is_older = started(pod).is_some_and(|started| started < book.since);
            is_older && !refuses && self.heard_of(pod).is_none()
        };
        let end = book.since + self.first_words() + self.timing.suspect();
        self.now < end && self.pods.iter().any(unheard)
    }

    /// Brings the book up to date, and puts together what to decide on.
    pub fn observe(&self, book: &mut Book) -> Observed {
        for pod in self.pods {
            book.meet_pod(pod);
        }
        let there: HashMap<plan::PodName, &Arc<Pod>> = self
            .pods
            .iter()
            .map(|pod| (pod.name_any().into(), pod))
            .collect();
        book.keep_pods(|name| there.contains_key(name));
        let mut met = self.meet_sessions(book);
        let sessions = met
            .iter_mut()
            .map(|(session, seat)| {
                let home = seat.home.as_ref().and_then(|home| there.get(&home.pod));
                let heard = home.and_then(|home| self.heard_of(home));
                meet_version(book, session, seat, heard);
                self.session(session, seat, heard)
            })
            .collect();
        let pods = book
            .pods
            .iter()
            .map(|(name, note)| match there.get(name) {
                Some(pod) => self.pod(book, pod, note),
                None => self.starting(name, note),
            })
            .collect();
        Observed {
            cluster: self.settings(book),
            pods,
            sessions,
            now: self.now,
        }
    }

    fn settings(&self, book: &Book) -> plan::Cluster {
        let spec = &self.cluster.spec;
        plan::Cluster {
            name: self.cluster.name_any().into(),
            pool: plan::Pool {
                min: spec.pool.min,
                max: spec.pool.max,
                spare: spec.pool.spare,
            },
            workers_per_pod: self.workers_per_pod().into(),
            watermark: f64::from(spec.watermark_percent) / 100.0,
            revision: manifest::revision(self.cluster, self.default_image),
            drain_deadline: Duration::from_secs(spec.drain_deadline_seconds.into()),
            next_ordinal: book.next_ordinal,
            made_room: book.made_room.clone(),
            timing: self.timing,
        }
    }

    /// The Sessions that are decided on, each with its seat.
    fn meet_sessions<'s>(&'s self, book: &mut Book) -> Vec<(&'s Arc<Session>, Seat)> {
        // Each with whether one that answers runs it. What a silent one runs is of an older generation, and
        // is ended when it is back.
        let mut running: HashMap<&str, bool> = HashMap::new();
        for (uid, heard) in self.heard {
            let silence = self.now.saturating_sub(heard.last_seen);
            let answers = silence < self.timing.suspect() && !self.refusing.contains(uid);
            for session in &heard.report.sessions {
                *running.entry(&session.name).or_default() |= answers;
            }
        }
        let mut met = Vec::with_capacity(self.sessions.len());
        for session in self.sessions {
            let name = session.name_any();
            if session.metadata.deletion_timestamp.is_none()
                && book.meet_session(session, running.get(name.as_str()) == Some(&true), self.now)
            {
                let seat = book.seats[&SessionName::from(name)].clone();
                met.push((session, seat));
            }
        }
        let exist: Vec<&str> = met
            .iter()
            .filter_map(|(session, _)| session.metadata.name.as_deref())
            .collect();
        book.keep_sessions(&exist, |name| running.contains_key(name), self.now);
        met
    }

    /// A Session, with what was heard of its home pod.
    fn session(&self, session: &Session, seat: &Seat, home: Option<&Heard>) -> plan::Session {
        let spec = &session.spec;
        let seconds = |seconds: Option<u32>| seconds.map(|s| Duration::from_secs(s.into()));
        let name = session.name_any();
        let said = home.and_then(|home| session_of(home, &name));
        plan::Session {
            name: name.as_str().into(),
            expected_participants: Some(spec.expected_participants),
            max_participants: Some(spec.max_participants),
            max_pods: spec.spread.max_pods.into(),
            hints: plan::Hints {
                region: spec.placement.region.as_deref().map(Into::into),
                node_labels: spec.placement.node_labels.clone(),
                mediasoup: seat.mediasoup.as_deref().map(Into::into),
            },
            time_to_live: plan::TimeToLive {
                empty: seconds(spec.lifetime.empty_seconds),
                total: seconds(spec.lifetime.total_seconds),
            },
            created: session
                .creation_timestamp()
                .as_ref()
                .map(since_1970)
                .unwrap_or(self.now),
            // A pod's clock may be behind: it was not empty there before it was there.
            empty_since: said.and_then(|said| {
                let since = Duration::from_secs(said.empty_since?);
                Some(since.max(seat.home.as_ref()?.since))
            }),
            attended: said.is_some_and(|said| said.connections > 0),
            phase: seat.phase,
            generation: seat.generation,
            home: seat.home.clone().map(|home| plan::Home {
                // A pod is not expected to run what it was not told of yet.
                since: if seat.untold { self.now } else { home.since },
                pod: home.pod,
            }),
            lenders: seat.lenders.clone(),
            waiting: seat.waiting,
        }
    }

    fn pod(&self, book: &Book, pod: &Pod, note: &Note) -> plan::Pod {
        let node = self.node_of(pod);
        let placed_on = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
        let node_labels = node.map(|node| node.labels().clone()).unwrap_or_default();
        let cordoned = node
            .and_then(|node| node.spec.as_ref()?.unschedulable)
            .unwrap_or(false);
        let requested = pod
            .annotations()
            .get(DRAIN_REQUESTED)
            .is_some_and(|on| on == "true");
        let addresses = self.addresses_of(pod);
        let view = self.view(book, pod, addresses.as_ref().err());
        let phase = phase_of(pod, placed_on.is_some() && node.is_none());
        // Its process was told to end, and Kubernetes does not know it yet: while it says so itself.
        let silence = view.last_seen.map(|seen| self.now.saturating_sub(seen));
        let says = phase == PodPhase::Running
            && !view.down
            && silence.is_some_and(|silence| silence < self.timing.suspect());
        let stops_since = self.heard_of(pod).and_then(|heard| heard.stops_since);
        plan::Pod {
            name: pod.name_any().into(),
            node: placed_on.as_deref().map(Into::into),
            region: node_labels.get(REGION).map(|region| region.as_str().into()),
            node_labels,
            revision: pod
                .labels()
                .get(REVISION)
                .cloned()
                .unwrap_or_default()
                .into(),
            mediasoup: view.mediasoup,
            cpu: view.cpu,
            phase,
            unschedulable: is_unschedulable(pod),
            created: note.created,
            terminating_since: terminating_since(pod, note).or(stops_since.filter(|_| says)),
            ready_since: view.ready_since,
            address_known: addresses.is_ok() || self.is_of_before(pod),
            drain_requested: cordoned || requested,
            drain: note.drain,
            restored_at: note.restored_at,
            suspect: note.suspect,
            down: view.down,
            last_seen: view.last_seen,
            sessions: view.sessions,
            anonymous: view.anonymous,
            borrowers: view.borrowers,
        }
    }

    /// Whether a pod that answered then is known to be dead now: its host says so, or Kubernetes,
    /// which is late to learn that a container runs again: who answers, lives.
    fn is_down(&self, pod: &Pod, seen: Duration) -> bool {
        let refuses = pod.metadata.uid.as_ref();
        let refuses = refuses.is_some_and(|uid| self.refusing.contains(uid));
        let missed = self.now.saturating_sub(seen) >= self.timing.poll_interval * 2;
        refuses || (missed && started(pod).is_none())
    }

    /// What an operator that begins needs until all its pods can be heard: a connection to each.
    fn first_words(&self) -> Duration {
        FIRST_WORD * u32::try_from(self.pods.len()).unwrap_or(u32::MAX)
    }

    /// When a pod that said nothing yet is taken to have been seen last.
    fn first_seen(&self, book: &Book, pod: &Pod) -> Duration {
        let since = book.since + self.first_words();
        let alive = pod
            .metadata
            .uid
            .as_ref()
            .and_then(|uid| self.alive.get(uid));
        alive.map_or(since, |alive| since.max(*alive))
    }

    /// What the workers of a pod that has not said it are taken to do: as much as they may, so that
    /// nothing is put there and the pool does not shrink for it.
    fn believed_load(&self, pod: &Pod) -> Vec<f64> {
        let watermark = f64::from(self.cluster.spec.watermark_percent) / 100.0;
        vec![watermark; workers_of(pod)]
    }

    /// How the pod itself is.
    fn view(&self, book: &Book, pod: &Pod, unknown: Option<&Unknown>) -> View {
        let started = started(pod);
        match (self.heard_of(pod), started, unknown) {
            (Some(heard), ..) => View {
                down: self.is_down(pod, heard.last_seen),
                ..View::heard(heard, started)
            },
            // It waits for an address that does not come: the plan knows such pods as ready.
            (None, None, Some(Unknown::Missing(_))) => View {
                ready_since: Some(self.now),
                last_seen: Some(self.now),
                ..View::silent(workers_of(pod))
            },
            // It was there before this operator, which has not heard it yet: what is written is
            // believed.
            (None, Some(started), _) if started < book.since => View {
                ready_since: Some(started),
                down: self.is_down(pod, book.since),
                last_seen: Some(self.now.min(self.first_seen(book, pod))),
                sessions: hosted(book, pod),
                cpu: self.believed_load(pod),
                ..View::silent(workers_of(pod))
            },
            (None, ..) => View::silent(workers_of(pod)),
        }
    }

    /// A pod that was decided on and that the API server does not have yet.
    fn starting(&self, name: &plan::PodName, note: &Note) -> plan::Pod {
        // Without ports it cannot be made, however long: as if no node had room for it.
        let has_ports = !note.portless;
        plan::Pod {
            name: name.clone(),
            node: None,
            region: None,
            node_labels: BTreeMap::new(),
            revision: manifest::revision(self.cluster, self.default_image),
            mediasoup: None,
            cpu: vec![0.0; self.workers_per_pod().into()],
            phase: PodPhase::Running,
            unschedulable: !has_ports,
            created: if has_ports { note.created } else { self.now },
            terminating_since: note.deleted,
            ready_since: None,
            address_known: false,
            drain_requested: false,
            drain: note.drain,
            restored_at: note.restored_at,
            suspect: note.suspect,
            down: false,
            last_seen: None,
            sessions: Vec::new(),
            anonymous: 0,
            borrowers: 0,
        }
    }
}

/// How a pod itself is.
struct View {
    mediasoup: Option<plan::MediasoupVersion>,
    cpu: Vec<f64>,
    ready_since: Option<Duration>,
    down: bool,
    last_seen: Option<Duration>,
    sessions: Vec<Hosted>,
    anonymous: u32,
    borrowers: u32,
}

impl View {
    fn silent(workers: usize) -> Self {
        Self {
            mediasoup: None,
            cpu: vec![0.0; workers],
            ready_since: None,
            down: false,
            last_seen: None,
            sessions: Vec::new(),
            anonymous: 0,
            borrowers: 0,
        }
    }

    fn heard(heard: &Heard, started: Option<Duration>) -> Self {
        let report = &heard.report;
        let version = &report.mediasoup.npm;
        let hosted = |session: &report::Session| Hosted {
            session: session.name.as_str().into(),
            generation: Generation(session.generation),
            consumers: session.carries.consumers,
            wants_more: session.wants_more,
            lenders: session.pods.iter().map(lent).collect(),
        };
        Self {
            mediasoup: (!version.is_empty()).then(|| version.as_str().into()),
            cpu: report.workers.iter().map(|worker| worker.cpu).collect(),
            // A restart of the operator is none of the pod.
            ready_since: heard
                .ready_since
                .map(|since| since.min(started.unwrap_or(since))),
            down: false,
            last_seen: Some(heard.last_seen),
            sessions: report.sessions.iter().map(hosted).collect(),
            anonymous: report.anonymous(),
            borrowers: report.borrowers,
        }
    }
}

/// Notes the mediasoup version of a home that was placed when nobody wrote it down.
fn meet_version(book: &mut Book, session: &Session, seat: &mut Seat, home: Option<&Heard>) {
    let Some(heard) = home.filter(|_| seat.mediasoup.is_none()) else {
        return;
    };
    let version = &heard.report.mediasoup.npm;
    let runs = session_of(heard, &session.name_any());
    let runs = runs.is_some_and(|said| said.generation == seat.generation.0);
    if runs && !version.is_empty() {
        seat.mediasoup = Some(version.clone());
        if let Some(noted) = book.seats.get_mut(&SessionName::from(session.name_any())) {
            noted.mediasoup.clone_from(&seat.mediasoup);
        }
    }
}

fn lent(lender: &report::Lender) -> plan::Lent {
    plan::Lent {
        pod: lender.name.as_str().into(),
        unused_since: lender.unused_since.map(Duration::from_secs),
    }
}

/// Whether no node has room for the pod.
fn is_unschedulable(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|condition| {
        let reason = condition.reason.as_deref();
        condition.type_ == "PodScheduled"
            && condition.status == "False"
            && reason == Some("Unschedulable")
    })
}

/// The address of a pod's API.
pub fn ip_of(pod: &Pod) -> Option<IpAddr> {
    pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok()
}

/// What a pod says of a session.
pub fn session_of<'h>(heard: &'h Heard, name: &str) -> Option<&'h report::Session> {
    let sessions = &heard.report.sessions;
    sessions.iter().find(|session| session.name == name)
}

/// Since when the pod's container runs.
pub fn started(pod: &Pod) -> Option<Duration> {
    let containers = pod.status.as_ref()?.container_statuses.as_ref()?;
    // A mesh may have put others beside it.
    let ours = |container: &&ContainerStatus| container.name == CONTAINER;
    let running = containers
        .iter()
        .find(ours)?
        .state
        .as_ref()?
        .running
        .as_ref()?;
    running.started_at.as_ref().map(since_1970)
}

fn workers_of(pod: &Pod) -> usize {
    let written = pod.annotations().get(WORKERS);
    written
        .and_then(|workers| workers.parse().ok())
        .unwrap_or(1)
}

/// The sessions that are written down to be on a pod.
fn hosted(book: &Book, pod: &Pod) -> Vec<Hosted> {
    let name = plan::PodName::from(pod.name_any());
    let here = |(session, seat): (&SessionName, &Seat)| {
        let home = seat.home.as_ref().filter(|home| home.pod == name)?;
        let counts = seat.phase != SessionPhase::Ended && home.pod == name;
        counts.then(|| Hosted::new(session.clone(), seat.generation))
    };
    book.seats.iter().filter_map(here).collect()
}
