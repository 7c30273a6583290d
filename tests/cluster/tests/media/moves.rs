//! A session that moves takes its application along.

use crate::world::{until, with_operator};
use kube::api::DeleteParams;
use mafalda_e2e::{Calls, Event};
use serde_json::json;

/// Protects calls from the end of their pod: an ordinary application, which makes its worker anew
/// when that dies, reaches the session's new home with no restart.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn calls_go_on_where_their_session_goes() {
    let spec = json!({
        "workersPerPod": 1,
        "exposure": {"type": "Internal"},
        "pool": {"min": 2, "max": 3, "spare": 0},
    });
    with_operator("moves", spec, async |world| {
        world.serving(2).await;
        world.apply("stage").await;
        let calls = Calls::start(&world.client, &world.namespace, "stage", 3).await;
        until("media flows", async || calls.flow()).await;
        let home = world.status("stage").await.home_pod.unwrap();
        let before = calls.lines().len();
        let now = DeleteParams::default().grace_period(0);
        world.pods.delete(&home, &now).await.unwrap();
        let took = until("media flows again", async || {
            calls.count(Event::Recovered) == 1
        })
        .await;
        println!(
            "{home} deleted, media again after {took:?}; longest gap {:?}",
            calls.longest_gap(before)
        );
        assert_eq!(calls.count(Event::Died), 1);
        let last = calls.stop().await;
        assert_eq!(last.sent, last.received + last.lost);
    });
}
