//! What the API server has, kept up to date by watching it.

use crate::crd::{MafaldaCluster, Session};
use crate::names::CLUSTER;
use futures_util::StreamExt;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use kube::runtime::reflector::{ObjectRef, Store, store};
use kube::runtime::utils::Backoff;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

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
        let ours = watcher::Config::default().labels(CLUSTER);
        let all = watcher::Config::default();
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

    /// All nodes.
    pub fn nodes(&self) -> Vec<Arc<Node>> {
        self.nodes.state()
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
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    K::DynamicType: Eq + Hash + Clone,
{
    let (reader, writer) = store();
    let stream = watcher(api, config)
        .backoff(Again)
        .modify(|object| {
            // Nobody reads it, and it is half of the memory.
            object.managed_fields_mut().clear();
        })
        .reflect(writer);
    let changed = changed.clone();
    tasks.spawn(async move {
        let mut stream = std::pin::pin!(stream);
        while let Some(event) = stream.next().await {
            match event {
                Ok(_) => {
                    changed.send_replace(());
                }
                Err(error) => {
                    tracing::warn!(kind = %K::kind(&()), %error, "the watch is broken; it begins anew");
                }
            }
        }
    });
    reader
}
