//! Nodes and sessions from the Kubernetes API: the media pods of a MafaldaCluster and its Sessions. Reads
//! only.

use crate::gateway::Gateway;
use crate::nodes::{Address, Listed};
use crate::sessions::Home;
use futures_util::StreamExt;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::reflector::{Store, store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use mafalda_operator::crd::{Phase, Session};
use mafalda_operator::names::{API_PORT, CLUSTER};
use mafalda_plan::Generation;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// Changes this close together are one.
const TOGETHER: Duration = Duration::from_millis(20);

/// Which cluster.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// The namespace of the MafaldaCluster; `None`: that of the gateway's own pod or of the kubeconfig.
    pub namespace: Option<String>,
    /// The MafaldaCluster's name.
    pub name: String,
}

/// Connects to the API server as kubectl does, or as a pod.
///
/// # Errors
/// Nothing says where it is.
pub async fn client() -> Result<Client, kube::Error> {
    Client::try_default().await
}

/// Watches until it is dropped.
pub async fn kubernetes(gateway: Gateway, client: Client, cluster: Cluster) {
    let namespace = cluster
        .namespace
        .unwrap_or_else(|| client.default_namespace().to_owned());
    let (changed, mut changes) = watch::channel(());
    // They end with this.
    let mut tasks = JoinSet::new();
    let ours = watcher::Config::default().labels(&format!("{CLUSTER}={}", cluster.name));
    let of_cluster =
        watcher::Config::default().fields(&format!("spec.clusterRef.name={}", cluster.name));
    let pods: Store<Pod> = follow(&client, &namespace, ours, &changed, &mut tasks);
    let sessions: Store<Session> = follow(&client, &namespace, of_cluster, &changed, &mut tasks);
    // A writer ends with its task, and those with this.
    let _ = pods.wait_until_ready().await;
    let _ = sessions.wait_until_ready().await;
    let mut last = None;
    loop {
        changes.mark_unchanged();
        let nodes = nodes(pods.state().iter().map(AsRef::as_ref));
        if last.as_ref() != Some(&nodes) {
            gateway.list(nodes.clone());
            last = Some(nodes);
        }
        gateway.direct(homes(sessions.state().iter().map(AsRef::as_ref)));
        if changes.changed().await.is_err() {
            return;
        }
        sleep(TOGETHER).await;
    }
}

fn follow<K>(
    client: &Client,
    namespace: &str,
    config: watcher::Config,
    changed: &watch::Sender<()>,
    tasks: &mut JoinSet<()>,
) -> Store<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let (reader, writer) = store();
    let stream = watcher(api, config)
        .default_backoff()
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
                Ok(_) => drop(changed.send_replace(())),
                Err(error) => {
                    tracing::warn!(kind = %K::kind(&()), %error, "the watch is broken; it begins anew");
                }
            }
        }
    });
    reader
}

/// The media pods that have an address.
fn nodes<'a>(pods: impl Iterator<Item = &'a Pod>) -> Vec<Listed> {
    let mut nodes: Vec<Listed> = pods
        .filter_map(|pod| {
            let status = pod.status.as_ref()?;
            let ended = matches!(status.phase.as_deref(), Some("Failed" | "Succeeded"));
            let host = status
                .pod_ip
                .clone()
                .filter(|ip| !ip.is_empty() && !ended)?;
            Some(Listed {
                name: pod.name_any().into(),
                address: Address {
                    tls: true,
                    host,
                    port: API_PORT,
                },
            })
        })
        .collect();
    nodes.sort_by(|a, b| a.name.cmp(&b.name));
    nodes
}

/// Where the sessions are that are anywhere.
fn homes<'a>(sessions: impl Iterator<Item = &'a Session>) -> BTreeMap<String, Home> {
    sessions
        .filter_map(|session| {
            let status = session.status.as_ref()?;
            let home = Home {
                pod: status.home_pod.as_deref()?.into(),
                generation: Generation(status.generation?),
            };
            (status.phase != Some(Phase::Ended)).then(|| (session.name_any(), home))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, from_value, json};

    #[test]
    fn pods_that_run_and_have_an_address_are_nodes() {
        let pod = |name: &str, status: Value| -> Pod {
            from_value(json!({"metadata": {"name": name}, "status": status})).unwrap()
        };
        let pods = [
            pod("b", json!({"phase": "Running", "podIP": "10.0.0.2"})),
            pod("a", json!({"phase": "Running", "podIP": "fd00::1"})),
            pod("c", json!({"phase": "Failed", "podIP": "10.0.0.3"})),
            pod("d", json!({"phase": "Pending"})),
        ];
        let nodes = nodes(pods.iter());
        let told: Vec<String> = nodes
            .iter()
            .map(|node| format!("{} {}", node.name, node.address))
            .collect();
        assert_eq!(told, ["a wss://[fd00::1]:4400", "b wss://10.0.0.2:4400"]);
    }

    #[test]
    fn sessions_with_a_home_are_there() {
        let session = |name: &str, status: Value| -> Session {
            from_value(json!({
                "apiVersion": "mafalda.dev/v1alpha1",
                "kind": "Session",
                "metadata": {"name": name},
                "spec": {"clusterRef": {"name": "c"}},
                "status": status,
            }))
            .unwrap()
        };
        let sessions = [
            session(
                "a",
                json!({"phase": "Active", "homePod": "p", "generation": 2}),
            ),
            session(
                "b",
                json!({"phase": "Ended", "homePod": "p", "generation": 2}),
            ),
            session("c", json!({"phase": "Pending"})),
        ];
        let homes = homes(sessions.iter());
        assert_eq!(homes.len(), 1);
        assert_eq!(homes["a"].generation, Generation(2));
    }
}
