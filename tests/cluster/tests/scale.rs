//! A thousand media pods and ten thousand Sessions on a real API server: what the operator takes,
//! and how long a Session waits. The pods are played by this process.
//!
//! Ignored unless asked for: `cargo test --release -p mafalda-e2e -- --ignored`, as root.
//! `MAFALDA_SCALE=PODS,SESSIONS` sets other numbers.

use futures_util::{StreamExt, stream};
use k8s_openapi::api::core::v1::Secret;
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
const PATIENCE: Duration = Duration::from_secs(600);

async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) -> Duration {
    let started = Instant::now();
    while !condition().await {
        assert!(started.elapsed() < PATIENCE, "{what}: not in {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    println!("{what}: {:.1} s", started.elapsed().as_secs_f32());
    started.elapsed()
}

/// Processor time of a process so far, and its memory in MB.
fn usage(id: u32) -> (Duration, u64) {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    let ticks = |index: usize| fields[index].parse::<u64>().unwrap();
    let pages = ticks(21);
    (
        Duration::from_millis((ticks(11) + ticks(12)) * 10),
        pages * 4096 / 1_000_000,
    )
}

fn numbers() -> (u32, usize) {
    let text = std::env::var("MAFALDA_SCALE").unwrap_or_else(|_| "1000,10000".to_owned());
    let (pods, sessions) = text.split_once(',').unwrap();
    (pods.parse().unwrap(), sessions.parse().unwrap())
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

async fn make(sessions: &Api<Session>, index: usize) -> (String, Instant) {
    let name = format!("s{index}");
    let session = json!({
        "apiVersion": "mafalda.dev/v1alpha1",
        "kind": "Session",
        "metadata": {"name": name},
        "spec": {"clusterRef": {"name": "talk"}, "expectedParticipants": 4},
    });
    let session = serde_json::from_value(session).unwrap();
    let begun = Instant::now();
    sessions
        .create(&PostParams::default(), &session)
        .await
        .unwrap();
    (name, begun)
}

async fn scenario(client: Client, cluster: &Cluster) {
    let (pods, count) = numbers();
    apply_crds(&client).await.unwrap();
    let operator = Operator::start(cluster, "scale", 8080).unwrap();
    let clusters: Api<MafaldaCluster> = Api::default_namespaced(client.clone());
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

    let secrets: Api<Secret> = Api::default_namespaced(client.clone());
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
    tokio::spawn(async move { kubelet::play(node, "default").await.unwrap() });
    until(&format!("{pods} pods serve"), async || {
        let status = clusters
            .get("talk")
            .await
            .unwrap()
            .status
            .unwrap_or_default();
        status.ready == pods
    })
    .await;

    let sessions: Api<Session> = Api::default_namespaced(client.clone());
    let seen = Arc::new(Mutex::new(HashMap::new()));
    tokio::spawn(watch(sessions.clone(), seen.clone()));
    let (cpu_before, _) = usage(operator.id());
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
    let (cpu_after, busiest) = usage(operator.id());
    let seen = seen.lock().unwrap().clone();
    let mut times: Vec<Duration> = applied
        .iter()
        .map(|(name, begun)| seen[name] - *begun)
        .collect();
    times.sort_unstable();
    println!(
        "{count} Sessions: applied in {:.1} s ({:.0}/s), all Active after {:.1} s; apply to Active p50 {:?} p99 {:?}",
        applying.as_secs_f32(),
        count as f32 / applying.as_secs_f32(),
        steady.as_secs_f32(),
        times[count / 2],
        times[count * 99 / 100],
    );
    println!(
        "operator meanwhile: {:?} of CPU, {busiest} MB",
        cpu_after - cpu_before
    );
    assert_eq!(played.sessions(), count);

    tokio::time::sleep(Duration::from_secs(5)).await;
    let (cpu_before, _) = usage(operator.id());
    let idle = Duration::from_secs(20);
    tokio::time::sleep(idle).await;
    let (cpu_after, memory) = usage(operator.id());
    let share = (cpu_after - cpu_before).as_secs_f64() / idle.as_secs_f64() * 100.0;
    println!("operator idle: {share:.1} % of a core, {memory} MB");
    let there = sessions
        .list(&ListParams::default())
        .await
        .unwrap()
        .items
        .len();
    assert_eq!(there, count);
}

/// Protects large platforms: the operator's memory, its idle time and its speed at a thousand pods.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn a_thousand_pods_and_ten_thousand_sessions() {
    let cluster = Cluster::start(0).unwrap();
    cluster
        .run(async |client: Client| scenario(client, &cluster).await)
        .unwrap();
}
