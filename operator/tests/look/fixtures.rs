//! A cluster `talk` in the namespace `here`, at a time of its own.

use k8s_openapi::api::core::v1::{Node, Pod, Service};
use kube::ResourceExt;
use mafalda_operator::book::Book;
use mafalda_operator::clock::kubernetes_time;
use mafalda_operator::cluster::jobs::{Job, due};
use mafalda_operator::cluster::refusals::Refusals;
use mafalda_operator::crd::{MafaldaCluster, MafaldaClusterStatus, Session};
use mafalda_operator::observe::Look;
use mafalda_operator::pod_api::{Heard, Report};
use mafalda_plan::{Action, Observed, Timing, plan};
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

/// Now.
pub const NOW: Duration = Duration::from_secs(1_800_000_000);
pub const IMAGE: &str = "image:1";

/// All that can be looked at.
pub struct Scene {
    pub cluster: MafaldaCluster,
    pub pods: Vec<Arc<Pod>>,
    pub sessions: Vec<Arc<Session>>,
    pub nodes: HashMap<String, Arc<Node>>,
    pub heard: HashMap<String, Heard>,
    pub refusing: HashSet<String>,
    pub refused: Refusals,
    pub node_ports: Vec<u16>,
    pub services: HashMap<String, Arc<Service>>,
    /// When pods that have said nothing gave a sign of life.
    pub alive: HashMap<String, Duration>,
    pub secrets: &'static str,
    pub access_from: Option<&'static str>,
    pub book: Book,
    pub now: Duration,
}

pub fn ago(seconds: u64) -> Duration {
    NOW - Duration::from_secs(seconds)
}

pub fn time(time: Duration) -> Value {
    serde_json::to_value(kubernetes_time(time)).unwrap()
}

impl Scene {
    /// One node, no pod, an operator that leads since a second.
    pub fn new(spec: Value) -> Self {
        let cluster = json!({
            "apiVersion": "mafalda.dev/v1alpha1",
            "kind": "MafaldaCluster",
            "metadata": {"name": "talk", "namespace": "here", "uid": "c", "generation": 3},
            "spec": spec,
        });
        let mut scene = Self {
            cluster: serde_json::from_value(cluster).unwrap(),
            pods: Vec::new(),
            sessions: Vec::new(),
            nodes: HashMap::new(),
            heard: HashMap::new(),
            refusing: HashSet::new(),
            refused: Refusals::default(),
            node_ports: Vec::new(),
            services: HashMap::new(),
            alive: HashMap::new(),
            secrets: "",
            access_from: None,
            book: Book::new(ago(1)),
            now: NOW,
        };
        scene.node(json!({}));
        scene
    }

    /// With pods that announce a fixed address.
    pub fn simple() -> Self {
        Self::new(json!({
            "workersPerPod": 2,
            "announcedAddress": {"source": "Fixed", "addresses": ["192.0.2.1"]},
        }))
    }

    pub fn node(&mut self, spec: Value) {
        let node = json!({
            "metadata": {"name": "n1", "labels": {"topology.kubernetes.io/region": "north"}},
            "spec": spec,
            "status": {"allocatable": {"cpu": "4"}},
        });
        let node = serde_json::from_value(node).unwrap();
        self.nodes.insert("n1".to_owned(), Arc::new(node));
    }

    /// A pod that runs for a minute; `change` is merged into it.
    pub fn pod(&mut self, name: &str, change: Value) {
        let mut pod = json!({
            "metadata": {
                "name": name,
                "namespace": "here",
                "uid": name,
                "creationTimestamp": time(ago(60)),
                "labels": {"mafalda.dev/cluster": "talk", "mafalda.dev/revision": self.revision()},
                "annotations": {"mafalda.dev/rtc-port": "40000", "mafalda.dev/workers": "2"},
            },
            "spec": {"nodeName": "n1", "containers": []},
            "status": {
                "phase": "Running",
                "podIP": "10.0.0.9",
                "podIPs": [{"ip": "10.0.0.9"}],
                "containerStatuses": [{
                    "name": "media-pod", "image": "", "imageID": "", "ready": true,
                    "restartCount": 0,
                    "state": {"running": {"startedAt": time(ago(50))}},
                }],
            },
        });
        merge(&mut pod, change);
        self.pods
            .push(Arc::new(serde_json::from_value(pod).unwrap()));
    }

    /// What a pod said so many seconds ago.
    pub fn says(&mut self, pod: &str, seconds: u64, report: Value) {
        let mut whole = json!({
            "mediasoup": {"npm": "3.27.1"},
            "workers": [{"state": "idle", "cpu": 0.5}, {"state": "idle", "cpu": 0.0}],
        });
        merge(&mut whole, report);
        let report: Report = serde_json::from_value(whole).unwrap();
        let heard = Heard {
            last_seen: ago(seconds),
            ready_since: Some(ago(seconds)),
            stops_since: report.stops().then(|| ago(seconds)),
            report: Arc::new(report),
        };
        self.heard.insert(pod.to_owned(), heard);
    }

    /// A pod's Service, with its ports.
    pub fn service(&mut self, pod: &str, ports: Value) {
        let service =
            json!({"metadata": {"name": pod, "namespace": "here"}, "spec": {"ports": ports}});
        let service = serde_json::from_value(service).unwrap();
        self.services.insert(pod.to_owned(), Arc::new(service));
    }

    /// A Session; `status` is its status.
    pub fn session(&mut self, name: &str, uid: &str, status: Value) {
        let session = json!({
            "apiVersion": "mafalda.dev/v1alpha1",
            "kind": "Session",
            "metadata": {"name": name, "namespace": "here", "uid": uid,
                "creationTimestamp": time(ago(40))},
            "spec": {"clusterRef": {"name": "talk"}, "expectedParticipants": 2},
            "status": status,
        });
        self.sessions.retain(|session| session.name_any() != name);
        self.sessions
            .push(Arc::new(serde_json::from_value(session).unwrap()));
    }

    fn revision(&self) -> String {
        let revision = mafalda_operator::media_pod::manifest::revision(&self.cluster, IMAGE);
        revision.to_string()
    }

    fn with_look<T>(&mut self, look_at: impl FnOnce(&Look<'_>, &mut Book) -> T) -> T {
        let look = Look {
            cluster: &self.cluster,
            default_image: IMAGE,
            pods: &self.pods,
            sessions: &self.sessions,
            nodes: &self.nodes,
            services: &self.services,
            heard: &self.heard,
            secrets: self.secrets,
            access_from: self.access_from,
            refusing: &self.refusing,
            node_ports: &self.node_ports,
            refused: &self.refused,
            alive: &self.alive,
            timing: Timing::default(),
            now: self.now,
        };
        look_at(&look, &mut self.book)
    }

    pub fn observe(&mut self) -> Observed {
        self.with_look(|look, book| look.observe(book))
    }

    /// Whether nothing is to be decided yet.
    pub fn is_early(&mut self) -> bool {
        self.with_look(|look, book| look.is_early(book))
    }

    /// A whole turn: what was decided, and what is to be done.
    pub fn turn(&mut self) -> (Vec<Action>, Vec<Job>) {
        self.with_look(|look, book| {
            let mut observed = look.observe(book);
            let actions = plan(&observed);
            observed.apply(&actions);
            book.note(&actions, &observed);
            let jobs = due(look, &observed, book, &actions);
            (actions, jobs)
        })
    }

    /// The status of the cluster after a turn.
    pub fn status(&mut self, trouble: Option<&str>) -> MafaldaClusterStatus {
        self.with_look(|look, book| {
            let mut observed = look.observe(book);
            let actions = plan(&observed);
            observed.apply(&actions);
            book.note(&actions, &observed);
            mafalda_operator::cluster::status::status(look, &observed, book, trouble, true)
        })
    }

    /// The conditions of the cluster: of each the status and the reason.
    pub fn conditions(&mut self, trouble: Option<&str>) -> HashMap<String, (String, String)> {
        let status = self.status(trouble);
        let of = |c: k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition| {
            (c.type_, (c.status, c.reason))
        };
        status.conditions.into_iter().map(of).collect()
    }
}

/// The words of jobs, as `create talk-0`, in their order.
pub fn words(jobs: &[Job]) -> Vec<String> {
    jobs.iter().map(|job| job.key().to_string()).collect()
}

/// Puts one object's fields into another's.
pub fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}
