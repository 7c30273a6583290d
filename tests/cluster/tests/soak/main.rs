//! Everything at once: many sessions on many pods, applications that come and go, and faults at random.
//! In the end nothing is left of it.
//!
//! Ignored unless asked for: `cargo test --release -p mafalda-e2e --test soak -- --ignored --nocapture`,
//! as root. `MAFALDA_SOAK=SESSIONS,SECONDS` says how much of it, little where nobody says; `MAFALDA_SEED`
//! repeats the faults of a run.

mod applications;
#[path = "../operator/drill.rs"]
#[allow(dead_code, reason = "the tests of the operator have the rest")]
mod drill;
mod faults;
mod history;
#[path = "../upkeep/keys.rs"]
#[allow(dead_code, reason = "the tests of upkeep have the rest")]
mod keys;
mod leaks;
mod memory;
mod processes;
mod random;
mod report;
mod settings;
#[path = "../operator/world.rs"]
#[allow(dead_code, reason = "the tests of the operator have the rest")]
mod world;

use applications::Applications;
use drill::Replicas;
use faults::Striker;
use history::History;
use k8s_openapi::api::core::v1::Node;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use mafalda_e2e::{AllAccess, Cluster};
use memory::Memory;
use random::Random;
use serde_json::{Value, json};
use settings::Settings;
use std::sync::LazyLock;
use world::{World, on, prepare, until};

const NODES: u32 = 3;
const PODS: u32 = 6;
/// Sockets that a worker has once it was used: the pod's WebRtcServer on it, by UDP and by TCP.
const WEBRTC_SERVER: usize = 2;
/// One session in so many is large, and needs more than its home pod: soak.mjs has the same number.
const LARGE_EACH: usize = 50;
const HOSTNAME: &str = "kubernetes.io/hostname";

static CLUSTER: LazyLock<Cluster> = LazyLock::new(|| prepare(NODES));

/// Two workers a pod and a low watermark, so that sessions are on several workers and have pipes; not as low
/// as that a hundred sessions, by the plan's formula, had no room on what a cut of a node leaves. There are
/// more pods only while some are replaced.
fn pool() -> Value {
    json!({
        "workersPerPod": 2,
        "watermarkPercent": 15,
        "exposure": {"type": "Internal"},
        "pool": {"min": PODS, "max": PODS, "spare": 0},
        "drainDeadlineSeconds": 15,
    })
}

/// Protects a platform's nights: whatever breaks while applications come and go, each of their requests
/// is answered or ends with its worker, nothing of theirs stays on any worker when they have left, each
/// session has one home, and nobody's memory grows.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn nothing_is_left_and_no_answer_is_lost() {
    let settings = Settings::read();
    println!("{settings}");
    on(&CLUSTER, "soak", pool(), async |world| {
        soak(world, &settings).await;
    });
}

async fn soak(world: &World, settings: &Settings) {
    let replicas = Replicas::start(world);
    world.serving(PODS).await;
    let sockets = leaks::most_sockets(world).await + WEBRTC_SERVER;
    let nodes = nodes(world).await;
    let history = History::follow(world);
    let access = AllAccess::of(&world.client, &world.namespace);
    for index in 0..settings.sessions {
        // Only a wish, which spreads them in the beginning.
        let node = &nodes[index % nodes.len()];
        let is_large = index % LARGE_EACH == 0;
        let spec = json!({
            "expectedParticipants": if is_large { 6 } else { 2 },
            "placement": {"nodeLabels": {HOSTNAME: node}},
        });
        world.apply_with(&format!("s{index:04}"), spec).await;
    }
    until(
        "all sessions are Active, and their Secrets there",
        async || history.active() == settings.sessions && written(&access) == settings.sessions,
    )
    .await;

    let mut applications = Applications::start(world, access, settings.seed);
    let half = settings.sessions as u32 / 2;
    until("half of the applications are there", async || {
        let last = applications.last();
        last.is_some_and(|line| line.here() >= half)
    })
    .await;
    let memory = Memory::follow(world);
    let mut striker = Striker {
        world,
        replicas,
        nodes,
        kept: world.pod_names().await.into_iter().min().unwrap(),
        random: Random::new(settings.seed),
    };
    let strikes = striker
        .strike_for(settings.load, &history, &mut applications)
        .await;
    let rows = memory.rows();
    drop(memory);
    until("all sessions are Active again", async || {
        history.active() == settings.sessions
    })
    .await;
    applications.leave();
    let last = applications.last_word().await;
    world.serving(PODS).await;

    report::faults(&strikes, &history);
    report::applications(&last, applications.back());
    report::memory(&rows);
    let (look, took) = leaks::none_left(world, sockets).await;
    println!(
        "nothing is left on {} workers {took:.1?} after the last application left",
        look.workers
    );

    assert!(last.joined as usize > settings.sessions, "{last:?}");
    assert!(last.answered > 0 && last.packets.received > 0, "{last:?}");
    assert!(last.lost.is_empty(), "{last:?}");
    assert_eq!((last.pending, last.strays), (0, 0), "{last:?}");
    assert_eq!(last.sent, last.answered + last.rejected + last.cut);
    let (several, _) = history.spread();
    assert!(several > 0, "no session was ever on several pods");
    assert!(last.crashed + last.died > 0, "nothing happened: {last:?}");
    assert_eq!(history.active(), settings.sessions);
    for (session, status) in history.now() {
        let placed = (session.clone(), status.generation.unwrap());
        let homes: Vec<_> = look
            .homes
            .iter()
            .filter(|((name, _), _)| *name == session)
            .collect();
        let only = [status.home_pod.unwrap()];
        assert_eq!(homes, [(&placed, &only.to_vec())], "homes of {session}");
    }
    for row in rows {
        let (third, end) = (row.third, row.end);
        assert!(row.is_flat(), "{:?}: {third} KB, then {end} KB", row.kind);
    }
}

/// For how many sessions the files of the Secret are there.
fn written(access: &AllAccess) -> usize {
    let folders = std::fs::read_dir(access.folder()).unwrap();
    let is_whole = |folder: &std::fs::DirEntry| {
        let file = |name| folder.path().join(name).exists();
        file("url") && file("token") && file("ca.crt")
    };
    folders.flatten().filter(is_whole).count()
}

async fn nodes(world: &World) -> Vec<String> {
    let nodes: Api<Node> = Api::all(world.client.clone());
    let nodes = nodes.list(&ListParams::default()).await.unwrap();
    let mut names: Vec<String> = nodes.iter().map(ResourceExt::name_any).collect();
    // kind lists its control plane too, which has none of the pods.
    names.retain(|name| !name.ends_with("control-plane"));
    names
}
