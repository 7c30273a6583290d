//! What happens to sessions when something breaks: the rest goes on, they go elsewhere.

use crate::world::{World, percentile, until, with_operator};
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{DeleteParams, ListParams};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

fn two_pods() -> Value {
    json!({
        "workersPerPod": 1,
        "exposure": {"type": "Internal"},
        "pool": {"min": 2, "max": 5, "spare": 1},
    })
}

/// Breaks the home pod of a session, and measures until it is Active in the next generation.
async fn recovery(world: &World, session: &str, fault: impl AsyncFnOnce(&str)) -> Duration {
    let status = world.status(session).await;
    let home = status.home_pod.unwrap();
    let begun = Instant::now();
    fault(&home).await;
    world.active(session, status.generation.unwrap() + 1).await;
    let took = begun.elapsed();
    let now = world.status(session).await;
    println!(
        "{home} → {:?} ({:?}): {took:?}",
        now.home_pod, now.last_reason
    );
    took
}

/// Protects calls from the death of their pod: ten pods are killed, ten are deleted, and a session
/// on them is Active elsewhere within seconds; one on another pod stays as it is.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn pods_die_and_sessions_go_on() {
    with_operator("die", two_pods(), async |world| {
        world.serving(2).await;
        world.apply("stage").await;
        world.active("stage", 1).await;
        for (name, is_killed) in [("kill -9", true), ("deleted with grace", false)] {
            let mut times = Vec::new();
            for _ in 0..10 {
                world.calm(2).await;
                let home = world.status("stage").await.home_pod.unwrap();
                let fault = async |home: &str| {
                    if is_killed {
                        let id = i32::try_from(world.process_of(home).await).unwrap();
                        kill_process(Pid::from_raw(id).unwrap(), Signal::KILL).unwrap();
                    } else {
                        world
                            .pods
                            .delete(home, &DeleteParams::default())
                            .await
                            .unwrap();
                    }
                };
                times.push(recovery(world, "stage", fault).await);
                if is_killed {
                    // The kubelet would wait longer and longer before it starts it again.
                    let now = DeleteParams::default().grace_period(0);
                    world.pods.delete(&home, &now).await.unwrap();
                }
            }
            let (p50, p99) = (percentile(&mut times, 0.5), percentile(&mut times, 0.99));
            println!("{name}: p50 {p50:?}, p99 {p99:?} of {}", times.len());
            assert!(p50 < Duration::from_secs(3) && p99 < Duration::from_secs(10));
        }
    });
}

/// The node of a pod.
async fn node_of(world: &World, pod: &str) -> String {
    world
        .pods
        .get(pod)
        .await
        .unwrap()
        .spec
        .unwrap()
        .node_name
        .unwrap()
}

/// Protects calls from the loss of a machine, and from two homes when it comes back: what it ran
/// is fenced by generation.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn a_node_is_cut_off_and_comes_back() {
    with_operator("cut", two_pods(), async |world| {
        world.serving(2).await;
        world.apply("stage").await;
        world.active("stage", 1).await;
        let before = world.status("stage").await;
        let node = node_of(world, &before.home_pod.clone().unwrap()).await;
        let cut = async |_: &str| drop(world.cluster.script(&["cut", &node]).unwrap());
        let took = recovery(world, "stage", cut).await;
        assert!(took < Duration::from_secs(10), "{took:?}");
        let after = world.status("stage").await;
        assert_ne!(after.home_pod, before.home_pod);
        world.cluster.script(&["heal", &node]).unwrap();
        until("the node is ready", async || {
            let nodes: Api<Node> = Api::all(world.client.clone());
            let status = nodes.get(&node).await.unwrap().status.unwrap();
            let ready = status
                .conditions
                .unwrap()
                .into_iter()
                .find(|c| c.type_ == "Ready");
            ready.is_some_and(|ready| ready.status == "True")
        })
        .await;
        until("it has one home", async || {
            let running = crate::sessions::running(world).await;
            running == [("stage".to_owned(), after.generation.unwrap())]
        })
        .await;
    });
}

/// Protects calls from a power cut.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn a_node_loses_power() {
    with_operator("power", two_pods(), async |world| {
        world.serving(2).await;
        world.apply("stage").await;
        world.active("stage", 1).await;
        let home = world.status("stage").await.home_pod.unwrap();
        let node = node_of(world, &home).await;
        let power = async |_: &str| drop(world.cluster.script(&["kill-node", &node]).unwrap());
        let took = recovery(world, "stage", power).await;
        assert!(took < Duration::from_secs(10), "{took:?}");
        world.cluster.script(&["start-node", &node]).unwrap();
        let nodes: Api<Node> = Api::all(world.client.clone());
        until("all nodes are ready", async || {
            let nodes = nodes.list(&ListParams::default()).await.unwrap();
            nodes.iter().all(|node| {
                let conditions = node
                    .status
                    .as_ref()
                    .and_then(|status| status.conditions.as_ref());
                conditions.is_some_and(|conditions| {
                    conditions
                        .iter()
                        .any(|c| c.type_ == "Ready" && c.status == "True")
                })
            })
        })
        .await;
    });
}
