//! What each fault costs a session that is on three pods.

use crate::gateway::{Gateway, NAMESPACE};
use crate::notice::{Notice, Since, cells, seconds};
use crate::stage::{Stage, with_pool};
use crate::world::{World, until};
use mafalda_e2e::Said;
use serde_json::json;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// How long a node is cut off.
const CUT: Duration = Duration::from_secs(10);
/// The session is Active elsewhere that soon when its home is lost.
const ELSEWHERE: Duration = Duration::from_secs(10);
/// A pod that dies is noticed that soon,
const DEATH: Duration = Duration::from_secs(5);
/// and one that is silent.
const SILENCE: Duration = Duration::from_secs(8);
/// How often a second the application asks its worker something.
const ASKS: u32 = 20;

/// Kills a program of a pod.
async fn kill(world: &World, pod: &str, program: &str) {
    let id = i32::try_from(world.program_of(pod, program).await).unwrap();
    let id = rustix::process::Pid::from_raw(id).unwrap();
    rustix::process::kill_process(id, rustix::process::Signal::KILL).unwrap();
}

/// A fault that begins now, on a stage on three pods where everybody hears.
struct Fault {
    what: String,
    /// What the application had said before.
    before: Said,
    lines: usize,
    since: Since,
    begun: Instant,
}

impl Fault {
    async fn begin(stage: &mut Stage<'_>, what: &str) -> Self {
        // What was measured so far is told and forgotten.
        let before = stage.room.tell("count").await;
        Self {
            what: what.to_owned(),
            before,
            lines: stage.room.said().len(),
            since: Since::now(),
            begun: Instant::now(),
        }
    }

    /// Waits until all is well for the application: who noticed the fault, and what it cost, as a row. Those
    /// who lost media are these people, and nobody else.
    async fn end(self, stage: &mut Stage<'_>, notices: Vec<Notice>, on: &BTreeSet<String>) -> Said {
        stage.all_hear().await;
        let took = self.begun.elapsed();
        stage.room.tell("ask 0").await;
        let last = stage.room.tell("hear").await;
        assert!(!notices.is_empty(), "nobody noticed: {}", self.what);
        let (who, after) = cells(notices);
        println!(
            "| {} | {who} | {after} | {} of {} people | {} | {} of {}, {} ms | {} | {} |",
            self.what,
            last.hit.len(),
            last.people,
            seconds(took),
            last.asked - last.answered,
            last.asked,
            last.waited,
            last.moved - self.before.moved,
            last.died - self.before.died,
        );
        assert_eq!(last.hit, *on, "who lost media, and who was on what broke");
        last
    }
}

/// A stage on three pods where everybody hears and the application asks: the pod that is not the home and
/// has most people.
async fn on_three(stage: &mut Stage<'_>) -> String {
    stage.world.serving(3).await;
    if stage.used().await.len() < 3 {
        stage.grow_to(3).await;
    }
    stage.all_hear().await;
    stage.room.tell(&format!("ask {ASKS}")).await;
    let home = stage.home().await;
    let used = stage.used().await.into_iter();
    let others = used.filter(|(pod, _)| *pod != home);
    others.max_by_key(|(_, people)| *people).unwrap().0
}

async fn a_member_dies(stage: &mut Stage<'_>) {
    let (world, member) = (stage.world, on_three(stage).await);
    let on = stage.people_on(std::slice::from_ref(&member)).await;
    let home = stage.home().await;
    let fault = Fault::begin(stage, "member pod `kill -9`").await;
    let before = fault.before.clone();
    kill(world, &member, "serve").await;
    until("they are told", async || {
        stage.room.tell("hear").await.moved >= before.moved + on.len()
    })
    .await;
    let by_home = fault.since.by_home(world, &home, &member).await.unwrap();
    assert!(by_home.after < DEATH, "{by_home:?}");
    // The kubelet may have begun it anew before the operator looked.
    let by_operator = fault.since.by_operator(world, &member);
    let notices = [by_home].into_iter().chain(by_operator).collect();
    let last = fault.end(stage, notices, &on).await;
    assert_eq!(
        (last.moved, last.died),
        (before.moved + on.len(), before.died)
    );
    assert_eq!(last.asked, last.answered, "answers are lost");
}

async fn a_members_node_is_cut(stage: &mut Stage<'_>) {
    let (world, member) = (stage.world, on_three(stage).await);
    let node = world.node_of(&member).await;
    let home = stage.home().await;
    assert_ne!(node, world.node_of(&home).await, "pods are on three nodes");
    // A fourth pod may be there as well.
    let on = stage.people_on(&world.pods_on(&node).await).await;
    let fault = Fault::begin(stage, "member's node cut for 10 s, healed").await;
    let before = fault.before.clone();
    world.cluster.script(&["cut", &node]).unwrap();
    tokio::time::sleep(CUT).await;
    world.cluster.script(&["heal", &node]).unwrap();
    let by_operator = fault.since.by_operator(world, &member).unwrap();
    assert!(by_operator.after < SILENCE, "{by_operator:?}");
    let by_home = fault.since.by_home(world, &home, &member).await;
    let notices = [by_operator].into_iter().chain(by_home).collect();
    let last = fault.end(stage, notices, &on).await;
    assert_eq!(last.died, before.died);
    assert_eq!(last.asked, last.answered, "answers are lost");
}

async fn the_home_dies(stage: &mut Stage<'_>) {
    let world = stage.world;
    on_three(stage).await;
    let home = stage.home().await;
    let used: Vec<_> = stage.used().await.into_keys().collect();
    let on = stage.people_on(&used).await;
    let generation = world.status(stage.session).await.generation.unwrap();
    let mut fault = Fault::begin(stage, "home pod `kill -9`").await;
    let before = fault.before.clone();
    kill(world, &home, "serve").await;
    world.active(stage.session, generation + 1).await;
    let active = fault.begun.elapsed();
    assert!(active < ELSEWHERE, "{active:?}");
    fault.what += &format!(", Active elsewhere after {}", seconds(active));
    let room = &stage.room;
    let died = room.after(fault.lines, |said| said.event == "died").await;
    let recovered = |said: &Said| said.event == "recovered";
    room.after(fault.lines, recovered).await;
    let by_application = Notice {
        who: "relay (`died`)".to_owned(),
        after: fault.since.until(i64::try_from(died.t).unwrap()).unwrap(),
    };
    let by_operator = fault.since.by_operator(world, &home).unwrap();
    for notice in [&by_application, &by_operator] {
        assert!(notice.after < DEATH, "{notice:?}");
    }
    let last = fault
        .end(stage, vec![by_application, by_operator], &on)
        .await;
    assert_eq!(last.died, before.died + 1, "once, and the next one lives");
}

/// Another session, whose application knows the gateway's URL.
async fn a_gateway_dies(world: &World) {
    let gateway = Gateway::install(world).await;
    let mut stage = Stage::open_by(world, "gate", &gateway.url("gate")).await;
    on_three(&mut stage).await;
    let carrier = gateway.carrier().await;
    let fault = Fault::begin(&mut stage, "gateway `kill -9`").await;
    let before = fault.before.clone();
    kill(world, &carrier, "cluster").await;
    let another = gateway.resumed().await;
    // Seen by asking the replicas, which takes a moment.
    let by_relay = Notice {
        after: fault.begun.elapsed(),
        who: match another == carrier {
            true => "relay (resumed through the same one, begun anew)".to_owned(),
            false => "relay (resumed through the other one)".to_owned(),
        },
    };
    assert!(by_relay.after < ELSEWHERE, "{by_relay:?}");
    let last = fault
        .end(&mut stage, vec![by_relay], &BTreeSet::new())
        .await;
    assert_eq!((last.moved, last.died), (before.moved, before.died));
    assert!(last.asked > 0);
    assert_eq!(last.asked, last.answered, "answers are lost");
    assert_eq!(stage.used().await.len(), 3, "it is on three pods");
}

/// Protects everybody who is not on what breaks: the loss of a member pod hits those on it alone, the
/// loss of the home lets the session go on elsewhere, the loss of a gateway costs no media and no answer.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn only_what_was_on_the_dead_pod_is_hit() {
    with_pool(
        NAMESPACE,
        json!({"min": 3, "max": 4, "spare": 0}),
        async |world| {
            world.serving(3).await;
            let mut stage = Stage::open(world).await;
            println!(
                "| fault | who noticed | after | lost media | all hear again after | \
                 answers lost, the longest wait | moved | died |"
            );
            println!("|---|---|---|---|---|---|---|---|");
            a_member_dies(&mut stage).await;
            a_members_node_is_cut(&mut stage).await;
            the_home_dies(&mut stage).await;
            stage.close().await;
            a_gateway_dies(world).await;
        },
    );
}
