//! Media pods: drained before they are deleted, replaced when what they are made from changes.

use crate::world::{until, with_operator};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use std::time::Instant;

fn pool() -> Value {
    json!({
        "workersPerPod": 1,
        "exposure": {"type": "Internal"},
        "pool": {"min": 1, "max": 4, "spare": 1},
        "drainDeadlineSeconds": 20,
    })
}

/// Protects who empties a machine: a pod that somebody wants drained takes nothing new, its
/// sessions leave, then it goes; a drain that is taken back leaves it as it was.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn a_drain_is_asked_for_and_taken_back() {
    with_operator("drain", pool(), async |world| {
        world.serving(1).await;
        world.apply("stage").await;
        world.active("stage", 1).await;
        let home = world.status("stage").await.home_pod.unwrap();
        let ask = async |value: Value| {
            let patch =
                json!({"metadata": {"annotations": {"mafalda.dev/drain-requested": value}}});
            let parameters = PatchParams::default();
            world
                .pods
                .patch(&home, &parameters, &Patch::Merge(patch))
                .await
                .unwrap();
        };
        let draining = async || {
            let pod = world.pods.get(&home).await.unwrap();
            pod.metadata
                .annotations
                .unwrap_or_default()
                .contains_key("mafalda.dev/drain")
        };
        let pod = world.pods.get(&home).await.unwrap();
        let safe = "cluster-autoscaler.kubernetes.io/safe-to-evict";
        assert_eq!(pod.metadata.annotations.unwrap()[safe], "false");
        assert_eq!(pod.metadata.labels.unwrap()["mafalda.dev/occupied"], "true");

        ask(json!("true")).await;
        until("the pod is cordoned", &draining).await;
        ask(json!(null)).await;
        until("the pod is restored", async || !draining().await).await;
        assert_eq!(
            world.status("stage").await.home_pod.as_deref(),
            Some(home.as_str())
        );

        ask(json!("true")).await;
        let begun = Instant::now();
        until("the pod is gone", async || {
            !world.pod_names().await.contains(&home)
        })
        .await;
        println!("drained and gone after {:?}", begun.elapsed());
        world.active("stage", 2).await;
        let status = world.status("stage").await;
        assert_ne!(status.home_pod.as_deref(), Some(home.as_str()));
        assert_eq!(status.generation, Some(2));
    });
}

/// Protects calls from an upgrade: new pods come first, the old ones drain, no session is without
/// a home.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn a_change_of_the_template_replaces_the_pods() {
    with_operator("upgrade", pool(), async |world| {
        world.serving(1).await;
        world.apply("stage").await;
        world.active("stage", 1).await;
        for round in 0..3 {
            let before = world.pod_names().await;
            let patch = json!({"spec": {"podTemplate": {"labels": {"round": round.to_string()}}}});
            let parameters = PatchParams::default();
            world
                .clusters
                .patch("talk", &parameters, &Patch::Merge(patch))
                .await
                .unwrap();
            let begun = Instant::now();
            until("the old pods are gone", async || {
                let status = world.status("stage").await;
                assert_eq!(status.phase, Some(mafalda_operator::crd::Phase::Active));
                let now = world.pod_names().await;
                !now.is_empty() && before.iter().all(|pod| !now.contains(pod))
            })
            .await;
            println!(
                "round {round}: {before:?} replaced after {:?}",
                begun.elapsed()
            );
        }
    });
}
