//! Media pods: drained before they are deleted, replaced when what they are made from changes.

use crate::sessions::running;
use crate::world::{World, until, with_operator};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, EvictParams, ListParams, Patch, PatchParams};
use mafalda_operator::crd::Phase;
use mafalda_operator::names::{OCCUPIED, SAFE_TO_EVICT};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Instant;

fn pool() -> Value {
    json!({
        "workersPerPod": 1,
        "exposure": {"type": "Internal"},
        "pool": {"min": 1, "max": 4, "spare": 1},
        "drainDeadlineSeconds": 20,
    })
}

/// What keeps a pod, by what Kubernetes and its autoscaler look at.
fn keeps(pod: &Pod) -> (Option<&str>, Option<&str>) {
    let label = pod.labels().get(OCCUPIED).map(String::as_str);
    let annotation = pod.annotations().get(SAFE_TO_EVICT).map(String::as_str);
    (label, annotation)
}

/// Evicts a pod, as `kubectl drain` does: the status and the words of a refusal.
async fn evict(world: &World, pod: &str) -> Result<(), (u16, String)> {
    let client = world.cluster.impatient().await.unwrap();
    let pods: Api<Pod> = Api::namespaced(client, &world.namespace);
    match pods.evict(pod, &EvictParams::default()).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) => Err((status.code, status.message.clone())),
        Err(error) => panic!("{error}"),
    }
}

/// Protects who empties a machine: a pod that somebody wants drained takes nothing new, its
/// sessions leave, then it goes; a drain that is taken back leaves it as it was. And those in a call, from
/// who empties it without asking: while a session lives on a pod it is not evicted, and after it is.
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
        assert_eq!(keeps(&pod), (Some("true"), Some("false")));
        let refused = evict(world, &home).await.unwrap_err();
        assert_eq!(refused.0, 429, "{refused:?}");
        assert!(refused.1.contains("disruption budget"), "{refused:?}");
        let placed = world.status("stage").await.conditions;
        let placed = placed.iter().find(|condition| condition.type_ == "Placed");
        let placed = placed.map(|condition| (&*condition.status, &*condition.reason));
        assert_eq!(placed, Some(("True", "Placed")));

        ask(json!("true")).await;
        until("the pod is cordoned", &draining).await;
        ask(json!(null)).await;
        until("the pod is restored", async || !draining().await).await;
        for what in [
            ("CordonPod", "DrainRequested"),
            ("CancelDrain", "RequestWithdrawn"),
        ] {
            world.is_told("MafaldaCluster", "talk", what).await;
        }
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
        let home = status.home_pod.filter(|now| *now != home).unwrap();
        assert_eq!(status.generation, Some(2));
        // Nobody was in it: it need not wait for the deadline.
        world
            .is_told("Session", "stage", ("MoveSession", "NobodyThere"))
            .await;
        for action in ["CreatePod", "DeletePod"] {
            until(&format!("{action} is told"), async || {
                let told = world.told("MafaldaCluster", "talk").await;
                told.iter().any(|(told, _)| told == action)
            })
            .await;
        }

        let parameters = DeleteParams::default();
        world.sessions.delete("stage", &parameters).await.unwrap();
        until("nothing keeps the pod", async || {
            let pod = world.pods.get(&home).await.unwrap();
            assert!(pod.metadata.deletion_timestamp.is_none(), "it is needed");
            keeps(&pod) == (None, None)
        })
        .await;
        evict(world, &home).await.unwrap();
        until("the pod is gone", async || {
            !world.pod_names().await.contains(&home)
        })
        .await;
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

/// Protects who has no machine to spare: where each node has room for one media pod alone, an upgrade takes
/// the place of one after the other, and no session is lost.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn pods_are_replaced_where_no_more_fit() {
    let spec = json!({
        "workersPerPod": 1,
        // Two would want the same ports of the node.
        "exposure": {"type": "HostNetwork"},
        "announcedAddress": {"source": "NodeInternalIP"},
        "pool": {"min": 2, "max": 2, "spare": 0},
        "drainDeadlineSeconds": 20,
    });
    with_operator("no-room", spec, async |world| {
        world.calm(2).await;
        let before: BTreeSet<_> = world.pod_names().await.into_iter().collect();
        let sessions = ["one", "two", "three"];
        for name in sessions {
            world.apply(name).await;
            world.active(name, 1).await;
        }
        let template = json!({"spec": {"podTemplate": {"labels": {"round": "next"}}}});
        let parameters = PatchParams::default();
        world
            .clusters
            .patch("talk", &parameters, &Patch::Merge(template))
            .await
            .unwrap();
        let begun = Instant::now();
        let (mut unplaced, mut least) = (BTreeSet::new(), 2);
        until(
            "the old pods are gone, and two new ones serve",
            async || {
                for name in sessions {
                    assert_eq!(
                        world.status(name).await.phase,
                        Some(Phase::Active),
                        "{name}"
                    );
                }
                let pods = world.pods.list(&ListParams::default()).await.unwrap();
                let waits = pods.iter().filter(|pod| waits_for_a_node(pod));
                unplaced.extend(waits.map(ResourceExt::name_any));
                let status = world.clusters.get("talk").await.unwrap().status;
                let ready = status.unwrap_or_default().ready;
                least = least.min(ready);
                let now: BTreeSet<_> = world.pod_names().await.into_iter().collect();
                now.is_disjoint(&before) && now.len() == 2 && ready == 2
            },
        )
        .await;
        println!(
            "{before:?} replaced after {:?}; {unplaced:?} waited for a node; {least} served at least",
            begun.elapsed()
        );
        assert!(!unplaced.is_empty(), "there was room for another one");
        until("each session has one home", async || {
            let names: Vec<_> = running(world).await.into_iter().map(|one| one.0).collect();
            names == ["one", "three", "two"]
        })
        .await;
    });
}

fn waits_for_a_node(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| {
        condition.type_ == "PodScheduled" && condition.reason.as_deref() == Some("Unschedulable")
    })
}
