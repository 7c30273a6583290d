//! Many media pods and Sessions on a real API server: what the operator takes, and how long a Session
//! waits. The pods are played by this process.
//!
//! Ignored unless asked for: `cargo test --release -p mafalda-e2e --test scale -- --ignored`, as root.
//! `MAFALDA_SCALE=PODS,SESSIONS` sets the numbers, else it is a hundred and a thousand; 1000,10000, which is the
//! goal, takes ten minutes.

mod bare;
mod usage;

use futures_util::{StreamExt, stream};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::{ListParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use mafalda_e2e::simulated::{api, kubelet};
use mafalda_e2e::{Cluster, Operator, apply_crds};
use mafalda_operator::crd::{MafaldaCluster, Phase, Session};
use serde_json::json;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Sessions that are applied at the same time.
const AT_ONCE: usize = 48;
/// What is measured without the operator, to hold its speed against: so many before it, and so many after.
const BARE: usize = 500;
/// The share of that speed that is reached with the operator at least: it writes a little more.
const REACHED: f64 = 0.7;
const NAMESPACE: &str = "scale";
const PATIENCE: Duration = Duration::from_secs(600);
/// For how long the operator's idle time is measured.
const IDLE: Duration = Duration::from_secs(30);

async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) -> Duration {
    let started = Instant::now();
    while !condition().await {
        assert!(started.elapsed() < PATIENCE, "{what}: not in {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    println!("{what}: {:.1} s", started.elapsed().as_secs_f32());
    started.elapsed()
}

/// How many pods and Sessions. A tenth of the goal where nobody says more.
fn numbers() -> (u32, usize) {
    let text = std::env::var("MAFALDA_SCALE").unwrap_or_else(|_| "100,1000".to_owned());
    let (pods, sessions) = text.split_once(',').unwrap();
    (pods.parse().unwrap(), sessions.parse().unwrap())
}

/// What the operator may take at that size, in MB and in percent of a core when idle: 200 and 5 for a
/// thousand pods and ten thousand Sessions; for none what a program needs that has nothing to do.
fn goals(pods: u32, sessions: usize) -> (u64, f64) {
    let size = (f64::from(pods) / 1000.0).max(sessions as f64 / 10_000.0);
    ((40.0 + 160.0 * size) as u64, 2.0 + 3.0 * size)
}

/// When each Session was seen to be Active.
async fn watch(sessions: Api<Session>, seen: Arc<Mutex<HashMap<String, Instant>>>) {
    let stream = watcher(sessions, watcher::Config::default());
    let stream = stream.default_backoff().applied_objects();
    stream
        .for_each(async |event| {
            if let Ok(session) = event
                && session.status.as_ref().and_then(|status| status.phase) == Some(Phase::Active)
            {
                let now = Instant::now();
                seen.lock()
                    .unwrap()
                    .entry(session.name_any())
                    .or_insert(now);
            }
        })
        .await;
}

fn session(name: &str) -> Session {
    let session = json!({
        "apiVersion": "mafalda.dev/v1alpha1",
        "kind": "Session",
        "metadata": {"name": name},
        "spec": {"clusterRef": {"name": "talk"}, "expectedParticipants": 4},
    });
    serde_json::from_value(session).unwrap()
}

async fn make(sessions: &Api<Session>, index: usize) -> (String, Instant) {
    let name = format!("s{index}");
    let begun = Instant::now();
    let made = session(&name);
    sessions
        .create(&PostParams::default(), &made)
        .await
        .unwrap();
    (name, begun)
}

async fn namespace(client: &Client, name: &str) {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let namespace = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
    namespaces
        .create(&PostParams::default(), &namespace)
        .await
        .unwrap();
}

/// Makes the pool, plays its pods and waits until they serve.
async fn pool(client: &Client, pods: u32) -> api::Pods {
    let clusters: Api<MafaldaCluster> = Api::namespaced(client.clone(), NAMESPACE);
    let talk = json!({
        "apiVersion": "mafalda.dev/v1alpha1",
        "kind": "MafaldaCluster",
        "metadata": {"name": "talk"},
        "spec": {"workersPerPod": 2, "exposure": {"type": "Internal"},
            "pool": {"min": pods, "max": pods, "spare": 0}},
    });
    let talk = serde_json::from_value(talk).unwrap();
    clusters
        .create(&PostParams::default(), &talk)
        .await
        .unwrap();
    let secrets: Api<Secret> = Api::namespaced(client.clone(), NAMESPACE);
    until("the pods' certificate", async || {
        secrets.get_opt("talk-pod-tls").await.unwrap().is_some()
    })
    .await;
    let tls = secrets.get("talk-pod-tls").await.unwrap().data.unwrap();
    let played = api::Pods::default();
    let serving = played.clone();
    tokio::spawn(async move {
        api::serve(serving, 4400, &tls["tls.crt"].0, &tls["tls.key"].0)
            .await
            .unwrap();
    });
    let node = client.clone();
    tokio::spawn(async move { kubelet::play(node, NAMESPACE).await.unwrap() });
    until(&format!("{pods} pods serve"), async || {
        let status = clusters.get("talk").await.unwrap().status;
        status.unwrap_or_default().ready == pods
    })
    .await;
    played
}

async fn scenario(client: Client, cluster: &Cluster) {
    let (pods, count) = numbers();
    apply_crds(&client).await.unwrap();
    for name in ["bare-before", NAMESPACE, "bare-after"] {
        namespace(&client, name).await;
    }
    let before = bare::rate(&client, cluster, "bare-before", BARE).await;

    let more = ["--namespace", NAMESPACE];
    let operator = Operator::start_with(cluster, "scale", 8080, &more).unwrap();
    let played = pool(&client, pods).await;
    let (memory, _) = usage::memory(operator.id());
    println!("operator with {pods} pods: {memory} MB");
    let sessions: Api<Session> = Api::namespaced(client.clone(), NAMESPACE);
    let seen = Arc::new(Mutex::new(HashMap::new()));
    tokio::spawn(watch(sessions.clone(), seen.clone()));
    let (cpu, control) = (usage::cpu(operator.id()), usage::control_plane(cluster));
    let own = usage::cpu(std::process::id());
    let begun = Instant::now();
    let applied: Vec<(String, Instant)> = stream::iter(0..count)
        .map(|index| make(&sessions, index))
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let applying = begun.elapsed();
    until("all are Active", async || {
        seen.lock().unwrap().len() == count
    })
    .await;
    let steady = begun.elapsed();
    let cpu = usage::cpu(operator.id()) - cpu;
    let own = usage::cpu(std::process::id()) - own;
    let after = usage::control_plane(cluster);
    let (memory, peak) = usage::memory(operator.id());
    let seen = seen.lock().unwrap().clone();
    let waited = |(name, begun): &(String, Instant)| seen[name] - *begun;
    let mut times: Vec<Duration> = applied.iter().map(waited).collect();
    times.sort_unstable();
    println!(
        "{count} Sessions: applied in {:.1} s, all Active after {:.1} s; apply to Active p50 {:?} p99 {:?}",
        applying.as_secs_f32(),
        steady.as_secs_f32(),
        times[count / 2],
        times[count * 99 / 100],
    );
    println!(
        "CPU for each: operator {}, {}",
        usage::milliseconds(cpu, count),
        usage::since(&control, &after, count),
    );
    let control = usage::total(&control, &after);
    let took = [
        ("control plane", control),
        ("operator", cpu),
        ("this test", own),
    ];
    println!("{}", usage::limit(&took, steady));
    println!("operator then: {memory} MB, at most {peak} MB");
    assert_eq!(played.sessions(), count);

    // What was written comes back, and sessions placed lately are looked at more often for 10 s.
    tokio::time::sleep(Duration::from_secs(12)).await;
    let cpu = usage::cpu(operator.id());
    tokio::time::sleep(IDLE).await;
    let cpu = usage::cpu(operator.id()) - cpu;
    let idle = cpu.as_secs_f64() / IDLE.as_secs_f64() * 100.0;
    let (memory, peak) = usage::memory(operator.id());
    println!("operator idle: {idle:.1} % of a core, {memory} MB");
    let after = bare::rate(&client, cluster, "bare-after", BARE).await;
    // An API server that has just begun is half as fast as one that is warm.
    let (rate, bare) = (count as f64 / steady.as_secs_f64(), before.min(after));
    println!("{rate:.0} Sessions/s, bare writes {before:.0}/s before and {after:.0}/s after");
    let there = sessions.list(&ListParams::default()).await.unwrap();
    assert_eq!(there.items.len(), count);
    let (most, busy) = goals(pods, count);
    assert!(peak < most, "{peak} MB, not less than {most}");
    assert!(idle < busy, "{idle} % of a core idle, not less than {busy}");
    assert!(
        rate >= REACHED * bare,
        "{rate} Sessions/s, {bare} without the operator"
    );
}

/// Protects large platforms: the operator's memory, its idle time, and its speed, which is the API server's.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn a_hundred_pods_and_a_thousand_sessions() {
    let cluster = Cluster::start(0).unwrap();
    cluster
        .run(async |client: Client| scenario(client, &cluster).await)
        .unwrap();
}
