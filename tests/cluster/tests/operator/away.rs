//! Those who decide are away for long: what runs goes on without them, and what was lost meanwhile
//! is found when they are back.

use crate::drill::{Drill, kill_supervisor, pool};
use crate::world::on_cluster;
use std::time::{Duration, Instant};

/// How long they are away. Issue 5 says so: it is the one thing here that is a time, and no condition.
const AWAY: Duration = Duration::from_secs(120);
/// Until what was lost meanwhile is Active again.
const RETURN: Duration = Duration::from_secs(10);

/// Protects calls from the end of the API server: pods go on, the session of one that died is placed
/// anew when it is back, and no other.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn the_api_server_is_away() {
    on_cluster("api-away", pool(), async |world| {
        let mut drill = Drill::new(world).await;
        let (session, before) = drill.session().await;
        let home = before.home_pod.unwrap();
        let supervisor = world.process_of(&home).await;
        world.cluster.script(&["kill-api"]).unwrap();
        let begun = Instant::now();
        kill_supervisor(supervisor);
        tokio::time::sleep(AWAY.saturating_sub(begun.elapsed())).await;
        world.cluster.script(&["start-api"]).unwrap();
        let back = Instant::now();
        world.active(&session, before.generation.unwrap() + 1).await;
        let took = back.elapsed();
        println!(
            "Active {took:?} after the API server was back; {}",
            drill.packets()
        );
        assert!(took < RETURN, "{took:?}");
        drill.call_goes_on().await;
    });
}

/// Protects calls from the end of all operators.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn both_replicas_are_away() {
    on_cluster("both-away", pool(), async |world| {
        let mut drill = Drill::new(world).await;
        let (session, before) = drill.session().await;
        drill.replicas.kill_all();
        let begun = Instant::now();
        world.sweep(&[before.home_pod.unwrap()]).await;
        tokio::time::sleep(AWAY.saturating_sub(begun.elapsed())).await;
        drill.replicas.complete();
        let back = Instant::now();
        world.active(&session, before.generation.unwrap() + 1).await;
        let took = back.elapsed();
        println!(
            "Active {took:?} after the replicas were back; {}",
            drill.packets()
        );
        assert!(took < RETURN, "{took:?}");
        drill.call_goes_on().await;
    });
}
