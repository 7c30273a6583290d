//! The cluster's own promises, on which tests of failures build: nodes run pods of loaded images,
//! and the faults are real and can be undone.
//!
//! Ignored unless asked for: `cargo test --release -p mafalda-e2e -- --ignored`, as root.

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::PostParams;
use kube::{Api, Client, ResourceExt};
use mafalda_e2e::Cluster;
use serde_json::json;
use std::process::Command;
use std::time::{Duration, Instant};

/// Far more than anything here takes: NotReady comes 16 s after a node's last sign.
const PATIENCE: Duration = Duration::from_secs(60);

async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !condition().await {
        assert!(started.elapsed() < PATIENCE, "{what}: not in {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    println!("{what}: {:.1} s", started.elapsed().as_secs_f32());
}

/// Whether a node is Ready; `None` while the API server is away.
async fn is_ready(nodes: &Api<Node>, name: &str) -> Option<bool> {
    let status = nodes.get(name).await.ok()?.status?;
    let ready = status
        .conditions?
        .into_iter()
        .find(|condition| condition.type_ == "Ready")?;
    Some(ready.status == "True")
}

/// An image that does nothing, made of one static program that a build leaves.
fn load_image(cluster: &Cluster, name: &str) {
    let here = env!("CARGO_MANIFEST_DIR");
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("pause");
    let source = format!("{here}/pause/pause.c");
    let compiled = Command::new("cc")
        .args(["-static", "-o"])
        .args([program.as_path(), source.as_ref()])
        .status();
    assert!(compiled.unwrap().success());
    let archive = folder.path().join("image.tar").display().to_string();
    let made = Command::new(format!("{here}/image"))
        .args([name, &archive, r#"["/pause"]"#])
        .arg(format!("{}=/pause", program.display()))
        .status();
    assert!(made.unwrap().success());
    cluster.script(&["load-image", &archive]).unwrap();
}

async fn run_pod(client: Client, node: &str, image: &str) {
    let pods: Api<Pod> = Api::default_namespaced(client);
    let pod = json!({
        "metadata": {"name": "loaded"},
        "spec": {
            "nodeName": node,
            "containers": [{"name": "pause", "image": image, "imagePullPolicy": "Never"}],
        },
    });
    let pod: Pod = serde_json::from_value(pod).unwrap();
    pods.create(&PostParams::default(), &pod).await.unwrap();
    until("a pod runs", async || {
        let status = pods.get("loaded").await.unwrap().status;
        status.and_then(|status| status.phase).as_deref() == Some("Running")
    })
    .await;
}

/// Protects every test of a failure: a cut or a power cut is noticed by Kubernetes as one, and
/// what was done to the cluster can be undone.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn faults_are_real_and_end() {
    let cluster = Cluster::start(2).unwrap();
    load_image(&cluster, "localhost/loaded:1");
    let test = async |client: Client| {
        let nodes: Api<Node> = Api::all(client.clone());
        let names: Vec<String> = nodes
            .list(&Default::default())
            .await
            .unwrap()
            .iter()
            .map(ResourceExt::name_any)
            .collect();
        // kind lists its control plane too.
        let [.., cut, killed] = &names[..] else {
            panic!("fewer than two nodes: {names:?}");
        };
        run_pod(client, killed, "localhost/loaded:1").await;

        cluster.script(&["cut", cut]).unwrap();
        cluster.script(&["kill-node", killed]).unwrap();
        for name in [cut, killed] {
            until(&format!("{name} is seen to be gone"), async || {
                is_ready(&nodes, name).await == Some(false)
            })
            .await;
        }
        cluster.script(&["heal", cut]).unwrap();
        cluster.script(&["start-node", killed]).unwrap();
        for name in [cut, killed] {
            until(&format!("{name} is back"), async || {
                is_ready(&nodes, name).await == Some(true)
            })
            .await;
        }

        cluster.script(&["kill-api"]).unwrap();
        until("the API server is gone", async || {
            is_ready(&nodes, cut).await.is_none()
        })
        .await;
        cluster.script(&["start-api"]).unwrap();
        until("the API server is back", async || {
            is_ready(&nodes, cut).await.is_some()
        })
        .await;
    };
    cluster.run(test).unwrap();
}
