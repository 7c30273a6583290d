//! A cluster of two nodes with an operator, and what tests do with it.

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ContainerStatus, Namespace, Pod, ServiceAccount};
use k8s_openapi::api::events::v1::Event;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, Client, ResourceExt};
use mafalda_e2e::{Cluster, Operator, apply_crds, load_media_pod, wait};
use mafalda_operator::crd::{MafaldaCluster, Phase, Session, SessionStatus};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

/// Far more than anything here takes. Kubernetes' own controllers take a minute to hear an API server
/// that came back.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// The Lease that the operator's replicas agree by.
pub const LEASE: &str = "mafalda-operator";

static CLUSTER: LazyLock<Cluster> = LazyLock::new(|| prepare(2));

/// Tests have the cluster for themselves, one after the other.
static TURN: Mutex<()> = Mutex::new(());

/// A cluster of so many nodes with all that media pods and operators need.
pub fn prepare(nodes: u32) -> Cluster {
    let cluster = Cluster::start(nodes).unwrap();
    load_media_pod(&cluster).unwrap();
    cluster
        .run(async |client| apply_crds(&client).await)
        .unwrap()
        .unwrap();
    cluster
}

/// What a test has: a namespace of its own, with a MafaldaCluster `talk` in it.
pub struct World {
    pub client: Client,
    pub cluster: &'static Cluster,
    pub namespace: String,
    pub clusters: Api<MafaldaCluster>,
    pub sessions: Api<Session>,
    pub pods: Api<Pod>,
}

/// Runs a test with one replica of the operator.
pub fn with_operator(name: &str, spec: Value, test: impl AsyncFnOnce(&World) + Send) {
    on_cluster(name, spec, async |world: &World| {
        let _operator = Operator::start(world.cluster, name, 8080).unwrap();
        test(world).await;
    });
}

/// Runs a test that starts operators itself.
pub fn on_cluster(name: &str, spec: Value, test: impl AsyncFnOnce(&World) + Send) {
    on(&CLUSTER, name, spec, test);
}

/// As [`on_cluster`], on a cluster that was made by [`prepare`].
pub fn on(
    cluster: &'static LazyLock<Cluster>,
    name: &str,
    spec: Value,
    test: impl AsyncFnOnce(&World) + Send,
) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let cluster = &**cluster;
    let whole = async |client: Client| {
        let world = World::new(client, cluster, name, spec).await;
        test(&world).await;
        world.end().await;
    };
    cluster.run(whole).unwrap();
}

/// Waits until it is so, and says how long that took.
pub async fn until(what: &str, condition: impl AsyncFnMut() -> bool) -> Duration {
    wait(PATIENCE, what, condition).await
}

/// The value at that share of all, 0 to 1.
pub fn percentile(times: &mut [Duration], share: f64) -> Duration {
    times.sort_unstable();
    let index = (times.len() as f64 * share).ceil() as usize;
    times[index.clamp(1, times.len()) - 1]
}

impl World {
    async fn new(client: Client, cluster: &'static Cluster, name: &str, spec: Value) -> Self {
        // Its last holder was killed with the test before: nobody waits until it is over.
        let leases: Api<Lease> = Api::default_namespaced(client.clone());
        match leases.delete(LEASE, &DeleteParams::default()).await {
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            other => drop(other.unwrap()),
        }
        let namespaces: Api<Namespace> = Api::all(client.clone());
        let namespace = json!({"metadata": {"name": name}});
        let namespace = serde_json::from_value(namespace).unwrap();
        namespaces
            .create(&PostParams::default(), &namespace)
            .await
            .unwrap();
        let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), name);
        until("the namespace takes pods", async || {
            accounts.get_opt("default").await.unwrap().is_some()
        })
        .await;
        let world = Self {
            clusters: Api::namespaced(client.clone(), name),
            sessions: Api::namespaced(client.clone(), name),
            pods: Api::namespaced(client.clone(), name),
            namespace: name.to_owned(),
            client,
            cluster,
        };
        let talk = json!({
            "apiVersion": "mafalda.dev/v1alpha1",
            "kind": "MafaldaCluster",
            "metadata": {"name": "talk"},
            "spec": spec,
        });
        let talk = serde_json::from_value(talk).unwrap();
        world
            .clusters
            .create(&PostParams::default(), &talk)
            .await
            .unwrap();
        world
    }

    /// Media pods end at once: the next test wants the nodes.
    async fn end(&self) {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let now = DeleteParams::default().grace_period(0);
        self.pods
            .delete_collection(&now, &ListParams::default())
            .await
            .unwrap();
        namespaces
            .delete(&self.namespace, &DeleteParams::default())
            .await
            .unwrap();
    }

    /// Applies a Session of two participants.
    pub async fn apply(&self, name: &str) {
        self.apply_with(name, json!({})).await;
    }

    /// Applies a Session with more in its spec.
    pub async fn apply_with(&self, name: &str, spec: Value) {
        let mut whole = json!({"clusterRef": {"name": "talk"}, "expectedParticipants": 2});
        for (field, value) in spec.as_object().unwrap() {
            whole[field] = value.clone();
        }
        let session = json!({
            "apiVersion": "mafalda.dev/v1alpha1",
            "kind": "Session",
            "metadata": {"name": name},
            "spec": whole,
        });
        let session = serde_json::from_value(session).unwrap();
        self.sessions
            .create(&PostParams::default(), &session)
            .await
            .unwrap();
    }

    /// The status of a Session.
    pub async fn status(&self, name: &str) -> SessionStatus {
        self.sessions
            .get(name)
            .await
            .unwrap()
            .status
            .unwrap_or_default()
    }

    /// Waits until a Session is Active in that generation or a later one.
    pub async fn active(&self, name: &str, generation: u64) -> Duration {
        until(&format!("{name} is active"), async || {
            let status = self.status(name).await;
            status.phase == Some(Phase::Active) && status.generation >= Some(generation)
        })
        .await
    }

    /// Waits until so many media pods take sessions.
    pub async fn serving(&self, pods: u32) -> Duration {
        until(&format!("{pods} pods serve"), async || {
            let status = self.clusters.get("talk").await.unwrap().status;
            status.unwrap_or_default().ready >= pods
        })
        .await
    }

    /// Waits until so many media pods take sessions, no more are there, and none comes or goes.
    pub async fn calm(&self, pods: u32) {
        until("the pool is calm", async || {
            let there = self.pods.list(&ListParams::default()).await.unwrap();
            let status = self.clusters.get("talk").await.unwrap().status;
            let status = status.unwrap_or_default();
            let progressing = status.conditions.iter().find(|c| c.type_ == "Progressing");
            (status.ready, status.pods) == (pods, pods)
                && there.items.len() == pods as usize
                && progressing.is_some_and(|condition| condition.status == "False")
        })
        .await;
    }

    /// How many pods the plan's own formula asks for, with sessions of these participants and the pool of
    /// `talk`.
    pub async fn need(&self, participants: impl Iterator<Item = u32>) -> usize {
        let spec = self.clusters.get("talk").await.unwrap().spec;
        let cluster = mafalda_plan::Cluster {
            name: "talk".into(),
            pool: mafalda_plan::Pool {
                min: spec.pool.min,
                max: spec.pool.max,
                spare: spec.pool.spare,
            },
            workers_per_pod: spec.workers_per_pod.unwrap().into(),
            watermark: f64::from(spec.watermark_percent) / 100.0,
            revision: "".into(),
            drain_deadline: Duration::ZERO,
            next_ordinal: 0,
            made_room: None,
            timing: mafalda_plan::Timing::default(),
        };
        let load = participants.map(mafalda_plan::Load::expected).sum();
        mafalda_plan::need(&cluster, load) as usize
    }

    /// What people are told with `kubectl describe` of an object: each event's action and reason.
    pub async fn told(&self, kind: &str, name: &str) -> BTreeSet<(String, String)> {
        let events: Api<Event> = Api::namespaced(self.client.clone(), &self.namespace);
        let events = events.list(&ListParams::default()).await.unwrap();
        let about = events.iter().filter(|event| {
            let about = event.regarding.as_ref();
            about.is_some_and(|about| {
                about.kind.as_deref() == Some(kind) && about.name.as_deref() == Some(name)
            })
        });
        about
            .filter_map(|event| Some((event.action.clone()?, event.reason.clone()?)))
            .collect()
    }

    /// Waits until people are told that of an object: the action and its reason.
    pub async fn is_told(&self, kind: &str, name: &str, what: (&str, &str)) {
        let what = (what.0.to_owned(), what.1.to_owned());
        until(&format!("an event {what:?} of {kind} {name}"), async || {
            self.told(kind, name).await.contains(&what)
        })
        .await;
    }

    /// The condition of the MafaldaCluster: its status and its reason.
    pub async fn condition(&self, of: &str) -> Option<(String, String)> {
        let status = self.clusters.get("talk").await.unwrap().status?;
        let found = status.conditions.into_iter().find(|c| c.type_ == of)?;
        Some((found.status, found.reason))
    }

    /// The media pods that are not ending.
    pub async fn pod_names(&self) -> Vec<String> {
        let pods = self.pods.list(&ListParams::default()).await.unwrap();
        let lives = |pod: &&Pod| pod.metadata.deletion_timestamp.is_none();
        pods.iter()
            .filter(lives)
            .map(ResourceExt::name_any)
            .collect()
    }

    /// The node of a pod.
    pub async fn node_of(&self, pod: &str) -> String {
        let spec = self.pods.get(pod).await.unwrap().spec.unwrap();
        spec.node_name.unwrap()
    }

    /// The media pods on a node that are not ending.
    pub async fn pods_on(&self, node: &str) -> Vec<String> {
        let here = ListParams::default().fields(&format!("spec.nodeName={node}"));
        let pods = self.pods.list(&here).await.unwrap();
        let lives = |pod: &&Pod| pod.metadata.deletion_timestamp.is_none();
        pods.iter()
            .filter(lives)
            .map(ResourceExt::name_any)
            .collect()
    }

    /// Deletes pods at once, those that are still there.
    pub async fn sweep(&self, pods: &[String]) {
        for pod in pods {
            let now = DeleteParams::default().grace_period(0);
            match self.pods.delete(pod, &now).await {
                Err(kube::Error::Api(status)) if status.is_not_found() => {}
                other => drop(other.unwrap()),
            }
        }
    }

    /// What the kubelet says of a pod's container.
    pub async fn container(&self, pod: &str) -> ContainerStatus {
        let status = self.pods.get(pod).await.unwrap().status.unwrap();
        status.container_statuses.unwrap().remove(0)
    }

    /// The process of a pod's supervisor on this machine. Its control group is named after the pod.
    pub async fn process_of(&self, pod: &str) -> u32 {
        self.program_of(pod, "serve").await
    }

    /// The process of a pod's `mafalda`, by the word that follows on its command line.
    pub async fn program_of(&self, pod: &str, program: &str) -> u32 {
        let begins = format!("/usr/bin/mafalda\0{program}");
        let uid = self.pods.get(pod).await.unwrap().uid().unwrap();
        let names = [uid.clone(), uid.replace('-', "_")];
        let is_it = |id: &u32| {
            let read =
                |file| std::fs::read_to_string(format!("/proc/{id}/{file}")).unwrap_or_default();
            read("cmdline").starts_with(&begins) && {
                let group = read("cgroup");
                names.iter().any(|name| group.contains(name))
            }
        };
        let entries = std::fs::read_dir("/proc").unwrap();
        let mut ids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        ids.find(is_it).expect("the pod runs on this machine")
    }
}
