//! What the API server does not let the operator do: said while it lasts, and done afterwards.

use crate::world::{World, on_cluster, until};
use k8s_openapi::api::core::v1::{Event, Namespace, Service};
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use mafalda_e2e::Operator;
use serde_json::json;

/// The reason and the message of the condition Ready.
async fn ready(world: &World) -> (String, String) {
    let talk = world.clusters.get("talk").await.unwrap();
    let conditions = talk.status.unwrap_or_default().conditions;
    let ready = conditions.into_iter().find(|found| found.type_ == "Ready");
    ready
        .map(|found| (found.reason, found.message))
        .unwrap_or_default()
}

/// The reasons of the warnings that were told of the MafaldaCluster.
async fn warnings(world: &World) -> Vec<String> {
    let events: Api<Event> = Api::namespaced(world.client.clone(), &world.namespace);
    let events = events.list(&ListParams::default()).await.unwrap().items;
    let is_it = |event: &Event| {
        let about = event.involved_object.kind.as_deref() == Some("MafaldaCluster");
        about && event.type_.as_deref() == Some("Warning")
    };
    let found = events.into_iter().filter(is_it);
    found.filter_map(|event| event.reason).collect()
}

/// Waits until the condition has that reason, and until an event of it is there. What the condition says.
async fn said(world: &World, reason: &str) -> String {
    until(&format!("Ready says {reason}"), async || {
        ready(world).await.0 == reason
    })
    .await;
    until(&format!("an event says {reason}"), async || {
        warnings(world).await.iter().any(|found| found == reason)
    })
    .await;
    ready(world).await.1
}

async fn allow(world: &World, level: &str) {
    let namespaces: Api<Namespace> = Api::all(world.client.clone());
    let labels = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": level}}});
    let parameters = PatchParams::default();
    namespaces
        .patch(&world.namespace, &parameters, &Patch::Merge(labels))
        .await
        .unwrap();
}

/// Protects who asks why there is no media pod: the API server's own words are in a condition and an
/// event, and the pod comes by itself when nothing speaks against it any more.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn a_pod_that_is_refused_is_told_and_made_later() {
    let spec = json!({
        "workersPerPod": 1,
        "exposure": {"type": "HostPort"},
        "announcedAddress": {"source": "HostIP"},
        "pool": {"min": 1, "max": 2, "spare": 0},
    });
    on_cluster("refused-pod", spec, async |world: &World| {
        // It forbids ports of the host.
        allow(world, "baseline").await;
        let _operator = Operator::start(world.cluster, "refused-pod", 8080).unwrap();
        let message = said(world, "PodRefused").await;
        println!("{message}");
        assert!(message.contains("PodSecurity"), "{message}");
        assert!(message.contains("talk-0"), "{message}");
        allow(world, "privileged").await;
        until("a pod serves", async || ready(world).await.0 == "PodsReady").await;
    });
}

/// Protects clients from a node port behind which somebody else is: the pod takes no session before its
/// Service is there.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn a_node_port_that_is_taken_is_told_and_fails_closed() {
    let spec = json!({
        "workersPerPod": 1,
        "exposure": {"type": "NodePort", "portRange": {"first": 32_000, "last": 32_009}},
        "announcedAddress": {"source": "NodeInternalIP"},
        "pool": {"min": 1, "max": 1, "spare": 0},
    });
    on_cluster("refused-port", spec, async |world: &World| {
        let services: Api<Service> = Api::namespaced(world.client.clone(), &world.namespace);
        // Not one of the operator's, so that it does not know of it.
        let other = json!({"metadata": {"name": "other"}, "spec": {"type": "NodePort",
            "ports": [{"port": 80, "nodePort": 32_000, "protocol": "UDP"}]}});
        let other = serde_json::from_value(other).unwrap();
        let parameters = PostParams::default();
        services.create(&parameters, &other).await.unwrap();
        let _operator = Operator::start(world.cluster, "refused-port", 8080).unwrap();
        let message = said(world, "ServiceRefused").await;
        println!("{message}");
        assert!(message.contains("32000"), "{message}");
        let talk = world.clusters.get("talk").await.unwrap();
        assert_eq!(talk.status.unwrap().ready, 0);
        let now = DeleteParams::default();
        services.delete("other", &now).await.unwrap();
        until("the pod serves", async || {
            ready(world).await.0 == "PodsReady"
        })
        .await;
    });
}
