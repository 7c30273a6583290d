//! What happens to sessions when something breaks: what it hit goes elsewhere, and the rest goes on.

use crate::drill::{Drill, PODS, kill, pool};
use crate::sessions::running;
use crate::world::{on_cluster, percentile, until, with_operator};
use kube::api::DeleteParams;
use serde_json::json;
use std::time::{Duration, Instant};

/// What happens to the home pod of a session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fault {
    Deleted,
    Killed,
    PowerCut,
    NodeCut,
    KilledWithOperator,
    GoneWithOperator,
}

/// Of each so many, in this order: what a power cut leaves on one node the next ones spread again.
const FAULTS: [(Fault, &str, u32); 6] = [
    (Fault::Deleted, "media pod deleted with grace", 9),
    (Fault::PowerCut, "node loses power", 4),
    (Fault::Killed, "media pod kill -9", 9),
    (Fault::NodeCut, "node cut off, and healed", 4),
    (
        Fault::KilledWithOperator,
        "operator and media pod kill -9",
        3,
    ),
    (
        Fault::GoneWithOperator,
        "operator kill -9, media pod gone",
        3,
    ),
];

/// Protects calls from all that breaks, thirty times: what was hit is Active elsewhere within
/// seconds, though it be the operator that broke too; a node that comes back brings no second home;
/// and a call that was not hit stays where it is and loses nothing.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn what_is_hit_goes_elsewhere_and_the_rest_goes_on() {
    on_cluster("faults", pool(), async |world| {
        let mut drill = Drill::new(world).await;
        let mut table = Vec::new();
        for (fault, what, count) in FAULTS {
            let mut times = Vec::new();
            for _ in 0..count {
                times.push(strike(&mut drill, fault).await);
            }
            table.push((what, times));
        }
        let whole: Vec<Duration> = table.iter().flat_map(|(_, times)| times.clone()).collect();
        table.push(("all", whole));
        println!("| fault | times | p50 | p99 |\n|---|---|---|---|");
        for (what, times) in &mut table {
            let (p50, p99) = (percentile(times, 0.5), percentile(times, 0.99));
            let (p50, p99) = (p50.as_secs_f32(), p99.as_secs_f32());
            println!("| {what} | {} | {p50:.1} s | {p99:.1} s |", times.len());
        }
        println!("the call that was not hit: {}", drill.packets());
        let (_, all) = table.last_mut().unwrap();
        assert!(all.len() >= 30);
        assert!(percentile(all, 0.5) < Duration::from_secs(3));
        assert!(percentile(all, 0.99) < Duration::from_secs(10));
    });
}

/// One fault, until all is as it was: how long its session was not Active.
async fn strike(drill: &mut Drill<'_>, fault: Fault) -> Duration {
    let world = drill.world;
    world.calm(PODS).await;
    let (session, before) = drill.session().await;
    let home = before.home_pod.unwrap();
    let hit = world.pods_on(&drill.far).await;
    let begun = Instant::now();
    match fault {
        Fault::Deleted => {
            let grace = DeleteParams::default();
            world.pods.delete(&home, &grace).await.unwrap();
        }
        Fault::Killed => kill(world, &home).await,
        Fault::PowerCut => {
            // A machine without power does not say that its connections are gone.
            world.cluster.script(&["cut", &drill.far]).unwrap();
            world.cluster.script(&["kill-node", &drill.far]).unwrap();
        }
        Fault::NodeCut => drop(world.cluster.script(&["cut", &drill.far]).unwrap()),
        Fault::KilledWithOperator => {
            drill.replicas.kill_leader().await;
            kill(world, &home).await;
        }
        Fault::GoneWithOperator => {
            drill.replicas.kill_leader().await;
            world.sweep(std::slice::from_ref(&home)).await;
        }
    }
    let next = before.generation.unwrap() + 1;
    world.active(&session, next).await;
    let took = begun.elapsed();
    let after = world.status(&session).await;
    println!(
        "{fault:?}: {home} → {:?} after {took:?} ({:?})",
        after.home_pod, after.last_reason
    );
    until("people are told", async || {
        let told = world.told("Session", &session).await;
        told.iter().any(|(action, _)| action == "MoveSession")
    })
    .await;
    // The kubelet may have begun its container anew before anybody saw that it was gone.
    let begun_anew = after.last_reason.as_deref() == Some("SessionMissing");
    assert!(begun_anew || after.home_pod.as_ref() != Some(&home));
    match fault {
        Fault::Deleted => {}
        Fault::Killed => world.sweep(&[home]).await,
        Fault::PowerCut => {
            world.sweep(&hit).await;
            world.cluster.script(&["heal", &drill.far]).unwrap();
            world.cluster.script(&["start-node", &drill.far]).unwrap();
        }
        Fault::NodeCut => {
            world.cluster.script(&["heal", &drill.far]).unwrap();
            let homes = [("call".to_owned(), 1), (session.clone(), next)];
            until("each session has one home", async || {
                running(world).await == homes
            })
            .await;
            world.sweep(&hit).await;
        }
        Fault::KilledWithOperator | Fault::GoneWithOperator => {
            drill.replicas.complete();
            world.sweep(&[home]).await;
        }
    }
    drill.call_goes_on().await;
    drill.end(&session).await;
    took
}

/// Protects the pool from a pod that dies again and again: the kubelet waits longer and longer before
/// it starts it, and meanwhile another serves.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn a_pod_in_back_off_is_replaced() {
    let spec = json!({
        "workersPerPod": 1,
        "exposure": {"type": "Internal"},
        "pool": {"min": 2, "max": 5, "spare": 1},
    });
    with_operator("back-off", spec, async |world| {
        world.calm(2).await;
        let pod = world.pod_names().await.remove(0);
        kill(world, &pod).await;
        until("it runs again", async || {
            let container = world.container(&pod).await;
            let state = container.state.unwrap_or_default();
            container.restart_count == 1 && state.running.is_some()
        })
        .await;
        kill(world, &pod).await;
        until("it is in back-off, and the pool is whole", async || {
            let state = world.container(&pod).await.state.unwrap_or_default();
            let waits = state.waiting.and_then(|waiting| waiting.reason);
            let status = world.clusters.get("talk").await.unwrap().status.unwrap();
            waits.as_deref() == Some("CrashLoopBackOff") && status.ready == 2
        })
        .await;
    });
}
