//! The custom resources on a real API server: what it refuses and how it says so, what it fills
//! in, what `kubectl` shows.
//!
//! Ignored unless asked for: `cargo test --release -p mafalda-e2e -- --ignored`, as root.

mod accepted;
mod changes;
mod kubectl;
mod wrong;

use kube::api::{ApiResource, DynamicObject};
use kube::{Api, Client};
use mafalda_e2e::{Cluster, apply_crds};
use mafalda_operator::crd::{MafaldaCluster, Session};
use serde_json::{Value, json};
use std::sync::LazyLock;

/// A control plane is enough: nothing runs on nodes here.
static CLUSTER: LazyLock<Cluster> = LazyLock::new(|| {
    let cluster = Cluster::start(0).unwrap();
    cluster
        .run(async |client| apply_crds(&client).await)
        .unwrap()
        .unwrap();
    cluster
});

/// Runs a test on the cluster.
fn on_cluster<T: Send>(test: impl AsyncFnOnce(Client) -> T + Send) -> T {
    CLUSTER.run(test).unwrap()
}

/// A MafaldaCluster as somebody would write it.
fn cluster(name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "mafalda.dev/v1alpha1",
        "kind": "MafaldaCluster",
        "metadata": {"name": name},
        "spec": spec,
    })
}

/// A Session as somebody would write it; its cluster is `mafalda` unless the spec says another.
fn session(name: &str, spec: &Value) -> Value {
    let mut whole = json!({"clusterRef": {"name": "mafalda"}});
    for (field, value) in spec.as_object().unwrap() {
        whole[field] = value.clone();
    }
    json!({
        "apiVersion": "mafalda.dev/v1alpha1",
        "kind": "Session",
        "metadata": {"name": name},
        "spec": whole,
    })
}

/// The API of a manifest's kind, without types that would refuse a wrong one themselves.
fn api_of(client: &Client, manifest: &Value) -> Api<DynamicObject> {
    let resource = if manifest["kind"] == "Session" {
        ApiResource::erase::<Session>(&())
    } else {
        ApiResource::erase::<MafaldaCluster>(&())
    };
    Api::default_namespaced_with(client.clone(), &resource)
}
