//! A node that is only played, with room for all played pods: it says of each that it runs, and lets
//! it go when it is deleted.

use futures_util::StreamExt;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::time::Duration;

/// The played node.
pub const NODE: &str = "played";
/// It is NotReady 15 s after its last sign.
const SIGN: Duration = Duration::from_secs(4);

/// Plays the node and its pods until it is dropped.
///
/// # Errors
/// When the API server refuses the node.
pub async fn play(client: Client, namespace: &str) -> kube::Result<()> {
    let nodes: Api<Node> = Api::all(client.clone());
    let apply = PatchParams::apply("played-kubelet").force();
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}});
    nodes.patch(NODE, &apply, &Patch::Apply(node)).await?;
    tokio::select! {
        result = signs(nodes, &apply) => result,
        () = pods(client, namespace, &apply) => Ok(()),
    }
}

async fn signs(nodes: Api<Node>, apply: &PatchParams) -> kube::Result<()> {
    loop {
        let now = Timestamp::now();
        let status = json!({"apiVersion": "v1", "kind": "Node", "status": {
            "capacity": {"cpu": "4000", "memory": "4000Gi", "pods": "5000"},
            "allocatable": {"cpu": "4000", "memory": "4000Gi", "pods": "5000"},
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "conditions": [{"type": "Ready", "status": "True", "reason": "Played",
                "message": "", "lastHeartbeatTime": now, "lastTransitionTime": now}],
        }});
        nodes
            .patch_status(NODE, apply, &Patch::Apply(status))
            .await?;
        tokio::time::sleep(SIGN).await;
    }
}

async fn pods(client: Client, namespace: &str, apply: &PatchParams) {
    let pods: Api<Pod> = Api::namespaced(client, namespace);
    let ours = watcher::Config::default().fields(&format!("spec.nodeName={NODE}"));
    let stream = watcher(pods.clone(), ours)
        .default_backoff()
        .applied_objects();
    let mut addresses: HashMap<String, Ipv4Addr> = HashMap::new();
    stream
        .filter_map(async |event| event.ok())
        .map(|pod| {
            let number = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
            let uid = pod.uid().unwrap_or_default();
            let fresh = Ipv4Addr::from_bits(Ipv4Addr::new(127, 1, 0, 1).to_bits() + number);
            let address = *addresses.entry(uid).or_insert(fresh);
            run(&pods, pod, address, apply)
        })
        .buffer_unordered(32)
        .for_each(async |()| {})
        .await;
}

/// Says that a pod runs, or lets it go. What fails is said again by the next watch event.
async fn run(pods: &Api<Pod>, pod: Pod, address: Ipv4Addr, apply: &PatchParams) {
    let name = pod.name_any();
    if pod.metadata.deletion_timestamp.is_some() {
        let _ = pods
            .delete(&name, &DeleteParams::default().grace_period(0))
            .await;
        return;
    }
    if pod.status.is_some_and(|status| status.pod_ip.is_some()) {
        return;
    }
    let now = Timestamp::now();
    let status = json!({"apiVersion": "v1", "kind": "Pod", "status": {
        "phase": "Running",
        "hostIP": "127.0.0.1",
        "hostIPs": [{"ip": "127.0.0.1"}],
        "podIP": address,
        "podIPs": [{"ip": address}],
        "startTime": now,
        "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": now}],
        "containerStatuses": [{"name": "media-pod", "image": "", "imageID": "", "ready": true,
            "started": true, "restartCount": 0, "state": {"running": {"startedAt": now}}}],
    }});
    let _ = pods.patch_status(&name, apply, &Patch::Apply(status)).await;
}
