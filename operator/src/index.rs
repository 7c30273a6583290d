//! What the API server has, kept up to date by watching it.

use crate::crd::{MafaldaCluster, Session};
use crate::names::CLUSTER;
use futures_util::StreamExt;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Node, NodeStatus, Pod, Service};
use kube::runtime::reflector::{ObjectRef, Store, store};
use kube::runtime::utils::Backoff;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use std::collections::HashSet;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How long the API server keeps a watch open. Then it goes on from where it was, on whatever connection
/// there is; one that is silent for 5 s more is given up. So an API server that loses its power leaves
/// nobody with what it said last.
pub const WATCH_SECONDS: u32 = 30;

/// The objects that decisions depend on.
#[derive(Clone)]
pub struct Index {
    clusters: Store<MafaldaCluster>,
    sessions: Store<Session>,
    pods: Store<Pod>,
    nodes: Store<Node>,
    services: Store<Service>,
    changes: watch::Receiver<()>,
}

impl Index {
    /// Watches one namespace, or all. The tasks that do it go on until they are dropped.
    pub fn start(client: &Client, namespace: Option<&str>, tasks: &mut JoinSet<()>) -> Self {
        let (changed, changes) = watch::channel(());
        let changed = Arc::new(changed);
        let all = watcher::Config::default().timeout(WATCH_SECONDS);
        let ours = all.clone().labels(CLUSTER);
        Self {
            clusters: follow(scoped(client, namespace), all.clone(), &changed, tasks),
            sessions: follow(scoped(client, namespace), all.clone(), &changed, tasks),
            pods: follow(scoped(client, namespace), ours.clone(), &changed, tasks),
            nodes: follow(Api::all(client.clone()), all, &changed, tasks),
            services: follow(scoped(client, namespace), ours, &changed, tasks),
            changes,
        }
    }

    /// Returns when each kind was listed once.
    pub async fn ready(&self) {
        // A writer ends with its task, and those with the program.
        let _ = self.clusters.wait_until_ready().await;
        let _ = self.sessions.wait_until_ready().await;
        let _ = self.pods.wait_until_ready().await;
        let _ = self.nodes.wait_until_ready().await;
        let _ = self.services.wait_until_ready().await;
    }

    /// Learns of each change.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changes.clone()
    }

    /// All MafaldaClusters.
    pub fn clusters(&self) -> Vec<Arc<MafaldaCluster>> {
        self.clusters.state()
    }

    /// One MafaldaCluster.
    pub fn cluster(&self, namespace: &str, name: &str) -> Option<Arc<MafaldaCluster>> {
        self.clusters.get(&ObjectRef::new(name).within(namespace))
    }

    /// All Sessions.
    pub fn sessions(&self) -> Vec<Arc<Session>> {
        self.sessions.state()
    }

    /// The Sessions of a cluster.
    pub fn sessions_of(&self, namespace: &str, cluster: &str) -> Vec<Arc<Session>> {
        let of = |session: &Session| {
            session.spec.cluster_ref.name == cluster
                && session.metadata.namespace.as_deref() == Some(namespace)
        };
        self.sessions.state_filter(of)
    }

    /// The pods of a cluster.
    pub fn pods_of(&self, namespace: &str, cluster: &str) -> Vec<Arc<Pod>> {
        self.pods.state_filter(|pod| is_of(pod, namespace, cluster))
    }

    /// The Services of a cluster: its pods' and its gateway's.
    pub fn services_of(&self, namespace: &str, cluster: &str) -> Vec<Arc<Service>> {
        self.services
            .state_filter(|service| is_of(service, namespace, cluster))
    }

    /// The node ports of all Services but those of these pods of one namespace.
    pub fn node_ports_but(&self, namespace: &str, pods: &[Arc<Pod>]) -> Vec<u16> {
        let names: HashSet<String> = pods.iter().map(|pod| pod.name_any()).collect();
        let is_other = |service: &Arc<Service>| {
            let here = service.metadata.namespace.as_deref() == Some(namespace);
            !(here && names.contains(&service.name_any()))
        };
        let services = self.services.state().into_iter().filter(is_other);
        services.flat_map(|service| node_ports(&service)).collect()
    }

    /// All nodes.
    pub fn nodes(&self) -> Vec<Arc<Node>> {
        self.nodes.state()
    }
}

/// What is kept of an object, and when another version of it is news.
trait Watched: Resource<DynamicType = ()> + Sized {
    /// Takes away what nobody reads: most of the memory.
    fn strip(&mut self) {
        self.managed_fields_mut().clear();
    }

    /// Whether nothing in it that is read differs. Each version of most objects has something new.
    fn is_like(&self, before: &Self) -> bool {
        self.meta().resource_version == before.meta().resource_version
    }
}

impl Watched for MafaldaCluster {}
impl Watched for Session {}
impl Watched for Pod {}
impl Watched for Service {}

/// The status of a node is written whenever it says that it is well.
impl Watched for Node {
    fn strip(&mut self) {
        self.managed_fields_mut().clear();
        if let Some(status) = &mut self.status {
            *status = NodeStatus {
                addresses: status.addresses.take(),
                allocatable: status.allocatable.take(),
                ..NodeStatus::default()
            };
        }
    }

    fn is_like(&self, before: &Self) -> bool {
        let (metadata, known) = (&self.metadata, &before.metadata);
        metadata.uid == known.uid
            && metadata.labels == known.labels
            && metadata.annotations == known.annotations
            && self.spec == before.spec
            && self.status == before.status
    }
}

/// How long a watch that broke waits before it begins anew, each time: kube's own waits would grow to
/// half a minute, in which an API server that has come back is not heard.
struct Again;

impl Iterator for Again {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(Duration::from_secs(1))
    }
}

impl Backoff for Again {
    fn reset(&mut self) {}
}

fn node_ports(service: &Service) -> Vec<u16> {
    let ports = service
        .spec
        .iter()
        .flat_map(|spec| spec.ports.iter().flatten());
    let ports = ports.filter_map(|port| port.node_port);
    ports.filter_map(|port| u16::try_from(port).ok()).collect()
}

fn is_of(object: &impl ResourceExt, namespace: &str, cluster: &str) -> bool {
    object.meta().namespace.as_deref() == Some(namespace)
        && object
            .labels()
            .get(CLUSTER)
            .is_some_and(|name| name == cluster)
}

fn scoped<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

fn follow<K>(
    api: Api<K>,
    config: watcher::Config,
    changed: &Arc<watch::Sender<()>>,
    tasks: &mut JoinSet<()>,
) -> Store<K>
where
    K: Watched + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    K::DynamicType: Eq + Hash + Clone,
{
    let (reader, mut writer) = store();
    let stream = watcher(api, config).backoff(Again).modify(K::strip);
    let (known, changed) = (reader.clone(), changed.clone());
    tasks.spawn(async move {
        let mut stream = std::pin::pin!(stream);
        while let Some(event) = stream.next().await {
            match event {
                Ok(event) => {
                    let is_news = match &event {
                        watcher::Event::Apply(object) => {
                            let before = known.get(&ObjectRef::from_obj(object));
                            before.is_none_or(|before| !object.is_like(&before))
                        }
                        _ => true,
                    };
                    writer.apply_watcher_event(&event);
                    if is_news {
                        changed.send_replace(());
                    }
                }
                Err(error) => {
                    tracing::warn!(kind = %K::kind(&()), %error, "the watch is broken; it begins anew");
                }
            }
        }
    });
    reader
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Protects the operator's idle time: a cluster has many nodes, and each says often that it is well.
    #[test]
    fn a_node_that_is_as_before_is_no_news() {
        let node = |change: &dyn Fn(&mut serde_json::Value)| {
            let mut node = json!({
                "metadata": {
                    "name": "n1",
                    "uid": "u",
                    "resourceVersion": "1",
                    "labels": {"topology.kubernetes.io/zone": "a"},
                },
                "spec": {},
                "status": {
                    "addresses": [{"type": "ExternalIP", "address": "192.0.2.1"}],
                    "allocatable": {"cpu": "4"},
                    "conditions": [{"type": "Ready", "status": "True",
                        "lastHeartbeatTime": "2026-11-24T00:00:00Z"}],
                },
            });
            change(&mut node);
            let mut node: Node = serde_json::from_value(node).unwrap();
            node.strip();
            node
        };
        let before = node(&|_| {});
        let well = node(&|node| {
            node["metadata"]["resourceVersion"] = "2".into();
            node["status"]["conditions"][0]["lastHeartbeatTime"] = "2026-11-24T00:05:00Z".into();
        });
        assert!(well.is_like(&before));
        for (path, value) in [
            ("/metadata/uid", json!("another")),
            ("/metadata/labels", json!({})),
            ("/spec", json!({"unschedulable": true})),
            ("/status/addresses", json!([])),
            ("/status/allocatable/cpu", json!("8")),
        ] {
            let other = node(&|node| *node.pointer_mut(path).unwrap() = value.clone());
            assert!(!other.is_like(&before), "{path}");
        }
    }
}
