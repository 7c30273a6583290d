//! What each fault costs a session that is on three pods.

use crate::stage::{Stage, with_pool};
use crate::world::{World, until};
use mafalda_e2e::Said;
use serde_json::json;
use std::time::{Duration, Instant};

/// How long a node is cut off.
const CUT: Duration = Duration::from_secs(10);
/// The session is Active elsewhere that soon when its home is lost.
const ELSEWHERE: Duration = Duration::from_secs(10);

/// Kills all processes of a pod at once.
async fn kill(world: &World, pod: &str) {
    let id = i32::try_from(world.process_of(pod).await).unwrap();
    let id = rustix::process::Pid::from_raw(id).unwrap();
    rustix::process::kill_process(id, rustix::process::Signal::KILL).unwrap();
}

/// A stage on three pods where everybody hears, and the one that is not the home and has most people.
async fn on_three(stage: &mut Stage<'_>) -> String {
    stage.world.serving(3).await;
    if stage.used().await.len() < 3 {
        stage.grow_to(3).await;
    }
    stage.all_hear().await;
    // What was measured so far is told and forgotten.
    stage.room.tell("hear").await;
    let home = stage.home().await;
    let used = stage.used().await.into_iter();
    let others = used.filter(|(pod, _)| *pod != home);
    others.max_by_key(|(_, people)| *people).unwrap().0
}

fn row(fault: &str, hit: &str, noticed: &str, time: Duration, last: &Said) {
    let seconds = time.as_secs_f32();
    println!(
        "| {fault} | {noticed} | {hit} | {seconds:.1} s | {} | {} |",
        last.moved, last.died
    );
}

/// Protects everybody who is not on what breaks: the loss of a member pod hits those on it alone, the
/// loss of the home lets the session go on elsewhere.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn only_what_was_on_the_dead_pod_is_hit() {
    with_pool(
        "hit",
        json!({"min": 3, "max": 4, "spare": 0}),
        async |world| {
            world.serving(3).await;
            let mut stage = Stage::open(world).await;
            println!("| fault | who noticed | hit | all hear again after | moved | died |");
            println!("|---|---|---|---|---|---|");

            let member = on_three(&mut stage).await;
            let on = stage.behind(std::slice::from_ref(&member)).await;
            let before = stage.room.said().last().unwrap().clone();
            let begun = Instant::now();
            kill(world, &member).await;
            until("they are told", async || {
                stage.room.tell("hear").await.moved >= before.moved + on
            })
            .await;
            stage.all_hear().await;
            let last = stage.room.said().last().unwrap().clone();
            row(
                "member pod `kill -9`",
                &format!("{on} of {} people", last.people),
                "home (connection refused)",
                begun.elapsed(),
                &last,
            );
            assert_eq!(last.moved, before.moved + on, "nobody else was hit");
            assert_eq!(last.died, 0);

            let member = on_three(&mut stage).await;
            let node = world.node_of(&member).await;
            let home = world.node_of(&stage.home().await).await;
            assert_ne!(node, home, "pods are on three nodes");
            // A fourth pod may be there as well.
            let on = stage.behind(&world.pods_on(&node).await).await;
            let before = stage.room.said().last().unwrap().clone();
            let begun = Instant::now();
            world.cluster.script(&["cut", &node]).unwrap();
            tokio::time::sleep(CUT).await;
            world.cluster.script(&["heal", &node]).unwrap();
            stage.all_hear().await;
            let last = stage.room.tell("hear").await;
            row(
                "member's node cut for 10 s, healed",
                &format!("{on} of {} people", last.people),
                "home (silence), operator",
                begun.elapsed(),
                &last,
            );
            assert!(last.moved <= before.moved + on, "nobody else was hit");
            assert_eq!(last.died, 0);

            on_three(&mut stage).await;
            let home = stage.home().await;
            let before = stage.room.said().len();
            let begun = Instant::now();
            kill(world, &home).await;
            world.active("stage", 2).await;
            let active = begun.elapsed();
            assert!(active < ELSEWHERE, "{active:?}");
            stage.room.after(before, |said| said.event == "died").await;
            let back = stage
                .room
                .after(before, |said| said.event == "recovered")
                .await;
            row(
                &format!(
                    "home pod `kill -9` (Active elsewhere after {:.1} s)",
                    active.as_secs_f32()
                ),
                &format!("{} of {} people", back.people, back.people),
                "operator (connection refused), relay",
                begun.elapsed(),
                &back,
            );
            assert_eq!(back.died, 1);
            stage.all_hear().await;
        },
    );
}
