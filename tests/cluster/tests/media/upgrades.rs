//! Upgrades of the media pods under calls.

use crate::world::{World, until, with_operator};
use kube::api::{DeleteParams, Patch, PatchParams};
use mafalda_e2e::{Calls, Event};
use serde_json::json;
use std::time::Duration;

/// How many upgrades end, and how many begin: some are taken back.
const ENDED: u32 = 10;
const ROUNDS: u32 = ENDED + TAKEN_BACK.len() as u32;
/// In these the upgrade is taken back while the pod drains.
const TAKEN_BACK: [u32; 2] = [4, 10];
/// How long a draining pod waits for its sessions.
const DEADLINE: Duration = Duration::from_secs(10);
/// Packets that a call goes on for while its pod drains: two seconds.
const MORE: u64 = 100;

/// Makes the pods of another template.
async fn upgrade(world: &World, label: &str) {
    let patch = json!({"spec": {"podTemplate": {"labels": {"round": label}}}});
    let parameters = PatchParams::default();
    let patch = Patch::Merge(patch);
    world
        .clusters
        .patch("talk", &parameters, &patch)
        .await
        .unwrap();
}

/// When the pod was cordoned, in milliseconds since 1970, if it drains.
async fn drains_since(world: &World, pod: &str) -> Option<u64> {
    let pod = world.pods.get_opt(pod).await.unwrap()?;
    let drain = pod.metadata.annotations?.remove("mafalda.dev/drain")?;
    let drain: serde_json::Value = serde_json::from_str(&drain).unwrap();
    let since: Duration = serde_json::from_value(drain["since"].clone()).unwrap();
    u64::try_from(since.as_millis()).ok()
}

async fn home(world: &World, session: &str) -> String {
    world.status(session).await.home_pod.unwrap()
}

/// A call that ends by itself while its pod drains: nothing happens to it.
async fn ends_in_time(world: &World, round: u32, calls: Calls, session: &str) -> String {
    let pod = home(world, session).await;
    until("its pod drains", async || {
        drains_since(world, &pod).await.is_some()
    })
    .await;
    let before = calls.received();
    until("it goes on", async || calls.received() >= before + MORE).await;
    assert_eq!(calls.count(Event::Died), 0, "round {round}");
    let last = calls.stop().await;
    assert_eq!(last.lost, 0, "round {round}: {last:?}");
    let parameters = DeleteParams::default();
    world.sessions.delete(session, &parameters).await.unwrap();
    format!("{} packets, none lost", last.received)
}

/// A call that does not end: it may go on until the deadline, and then goes on elsewhere.
async fn is_moved(round: u32, calls: &Calls, since: u64, died: usize) -> String {
    let lines = calls.lines().len();
    until("it goes on elsewhere", async || {
        calls.count(Event::Died) > died && calls.flow()
    })
    .await;
    let all = calls.lines();
    let end = all.iter().rfind(|line| line.event == Event::Died).unwrap();
    let after = Duration::from_millis(end.t.saturating_sub(since));
    assert!(after >= DEADLINE, "round {round}: ended after {after:?}");
    let gap = calls.longest_gap(lines);
    // A packet counts as lost a second after it was sent, in the line of the second that follows.
    let resumed = calls.lines().last().map_or(0, |line| line.t);
    until("what was lost is counted", async || {
        let last = calls.lines().last().map_or(0, |line| line.t);
        last > resumed + 2000
    })
    .await;
    format!(
        "moved after {:.1} s, {} ms without media",
        after.as_secs_f32(),
        gap.as_millis()
    )
}

/// The upgrade is taken back: the pod is as before, and the call with it.
async fn is_spared(world: &World, round: u32, calls: &Calls, pod: &str, since: u64) -> String {
    let (lost, died) = (calls.lost(), calls.count(Event::Died));
    upgrade(world, &(round - 1).to_string()).await;
    until("the drain is cancelled", async || {
        drains_since(world, pod).await.is_none()
    })
    .await;
    let another = format!("again{round}");
    world.apply(&another).await;
    world.active(&another, 1).await;
    assert_eq!(home(world, &another).await, pod, "it takes sessions again");
    world
        .sessions
        .delete(&another, &DeleteParams::default())
        .await
        .unwrap();
    let deadline = since + u64::try_from(DEADLINE.as_millis()).unwrap();
    until("the deadline is over", async || {
        calls
            .lines()
            .last()
            .is_some_and(|line| line.t > deadline + 1000)
    })
    .await;
    assert_eq!(calls.count(Event::Died), died, "round {round}");
    assert_eq!(calls.lost(), lost, "round {round}");
    "drain cancelled, takes sessions again, none lost".to_owned()
}

/// Protects calls from upgrades: ten that end, and no call is ended before its pod's deadline; those
/// that end by themselves until then lose no packet, the others go on elsewhere. An upgrade that is
/// taken back hurts nobody, and leaves no pod that takes nothing.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn no_call_ends_before_the_deadline_of_an_upgrade() {
    let spec = json!({
        "workersPerPod": 1,
        "exposure": {"type": "Internal"},
        "pool": {"min": 1, "max": 3, "spare": 0},
        "drainDeadlineSeconds": DEADLINE.as_secs(),
        "podTemplate": {"labels": {"round": "start"}},
    });
    with_operator("upgrades", spec, async |world| {
        world.serving(1).await;
        world.apply("long").await;
        let long = Calls::start(&world.client, &world.namespace, "long", 2).await;
        until("media flows", async || long.flow()).await;
        println!(
            "| round | a call that ends within the deadline of {DEADLINE:?} | a call that does not |"
        );
        println!("|---|---|---|");
        let mut ended = 0;
        for round in 0..ROUNDS {
            let (pod, died) = (home(world, "long").await, long.count(Event::Died));
            let short = format!("short{round}");
            world.apply(&short).await;
            let calls = Calls::start(&world.client, &world.namespace, &short, 2).await;
            until("media flows", async || calls.flow()).await;
            upgrade(world, &round.to_string()).await;
            until("the pod drains", async || {
                drains_since(world, &pod).await.is_some()
            })
            .await;
            let since = drains_since(world, &pod).await.unwrap();
            let (of_short, of_long) = if TAKEN_BACK.contains(&round) {
                let of_long = is_spared(world, round, &long, &pod, since).await;
                assert_eq!(calls.count(Event::Died), 0, "round {round}");
                let last = calls.stop().await;
                assert_eq!(last.lost, 0, "round {round}: {last:?}");
                world
                    .sessions
                    .delete(&short, &DeleteParams::default())
                    .await
                    .unwrap();
                (format!("{} packets, none lost", last.received), of_long)
            } else {
                let of_short = ends_in_time(world, round, calls, &short).await;
                let of_long = is_moved(round, &long, since, died).await;
                // The application may be there before the Session's status says so.
                until("the status says where", async || {
                    home(world, "long").await != pod
                })
                .await;
                ended += 1;
                (of_short, of_long)
            };
            println!("| {round} | {of_short} | {of_long} |");
        }
        assert_eq!(ended, ENDED);
        let last = long.stop().await;
        println!("the call that does not end: {last:?}");
    });
}
