//! How often the API server is written to.

use crate::keys::{access, addresses};
use crate::world::{World, until, with_operator};
use futures_util::{StreamExt, stream};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::events::v1::Event;
use kube::api::{DeleteParams, ListParams};
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use mafalda_operator::crd::{Phase, Session};
use mafalda_operator::names::SESSION;
use mafalda_operator::pod_api::Client as Pods;
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Instant;

const SESSIONS: usize = 200;
/// Sessions that are applied at the same time.
const AT_ONCE: usize = 50;

/// How often objects were written, by what they belong to.
type Counts = Arc<Mutex<HashMap<String, u32>>>;

/// Counts each write of objects that belong to something, from now on.
async fn count<K>(api: Api<K>, counts: Counts, owner: fn(&K) -> Option<String>)
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let (listed, begun) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let mut listed = Some(listed);
        let mut events = watcher(api, watcher::Config::default()).boxed();
        while let Some(event) = events.next().await {
            match event.unwrap() {
                watcher::Event::Apply(object) => {
                    if let Some(owner) = owner(&object) {
                        *counts.lock().unwrap().entry(owner).or_default() += 1;
                    }
                }
                watcher::Event::InitDone => {
                    // It is awaited below.
                    let _ = listed.take().expect("the watch is not broken").send(());
                }
                watcher::Event::Init | watcher::Event::InitApply(_) | watcher::Event::Delete(_) => {
                }
            }
        }
    });
    begun.await.unwrap();
}

/// How often the whole API server was written to so far: etcd counts, and each list says it.
async fn revision(client: &Client) -> u64 {
    let sessions: Api<Session> = Api::all(client.clone());
    let list = sessions.list(&ListParams::default().limit(1)).await;
    let version = list.unwrap().metadata.resource_version;
    version.unwrap().parse().unwrap()
}

fn total(counts: &Counts) -> u64 {
    counts.lock().unwrap().values().map(|n| u64::from(*n)).sum()
}

/// The pods' own word on how many sessions they run.
async fn running(world: &World) -> usize {
    let pods = Pods::new(Arc::new(access(world, "talk").await));
    let mut found = 0;
    for pod in addresses(world).await {
        // One that is ending may be gone by now.
        if let Ok(report) = pods.status(pod).await {
            found += report.sessions.len();
        }
    }
    found
}

/// Protects a platform where two hundred calls begin at nine o'clock, and its API server: all are
/// there, the pool has grown for them and shrinks after them, none moved, and each took five writes at
/// most, all of the pool's and the nodes' own counted in.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn two_hundred_sessions_take_few_writes() {
    let spec = serde_json::json!({
        "workersPerPod": 2,
        "exposure": {"type": "Internal"},
        "pool": {"min": 1, "max": 6, "spare": 1},
    });
    with_operator("writes", spec, async |world| {
        let client = &world.client;
        let settled = until("the pool is calm", async || calm(world).await).await;
        println!("calm after {settled:?}");
        let (writes, leases): (Counts, Counts) = Default::default();
        count(world.sessions.clone(), writes.clone(), |session| {
            Some(session.name_any())
        })
        .await;
        let secrets: Api<Secret> = Api::namespaced(client.clone(), &world.namespace);
        count(secrets, writes.clone(), |secret| {
            secret.labels().get(SESSION).cloned()
        })
        .await;
        let events: Api<Event> = Api::namespaced(client.clone(), &world.namespace);
        count(events, writes.clone(), |event| {
            let about = event.regarding.as_ref()?;
            (about.kind.as_deref() == Some("Session")).then(|| about.name.clone())?
        })
        .await;
        let all: Api<Lease> = Api::all(client.clone());
        count(all, leases.clone(), |lease| Some(lease.name_any())).await;

        let (before, begun) = (revision(client).await, Instant::now());
        let names: Vec<String> = (0..SESSIONS).map(|index| format!("s{index}")).collect();
        stream::iter(&names)
            .for_each_concurrent(AT_ONCE, async |name| world.apply(name).await)
            .await;
        println!("{SESSIONS} Sessions: applied in {:?}", begun.elapsed());
        let mut most = 0;
        until("all are Active", async || {
            most = most.max(world.pod_names().await.len());
            let sessions = world.sessions.list(&ListParams::default()).await.unwrap();
            let is_active = |session: &&Session| {
                session.status.as_ref().and_then(|status| status.phase) == Some(Phase::Active)
            };
            sessions.iter().filter(is_active).count() == SESSIONS
        })
        .await;
        println!("all Active after {:?}, {most} pods", begun.elapsed());
        let need = world.need([2; SESSIONS].into_iter()).await;
        assert_eq!(most, need, "as many as are needed, and the spare one");
        until("the pool is calm", async || calm(world).await).await;
        let all = revision(client).await - before;
        let (own, leases) = (total(&writes), total(&leases));
        let each = |writes: u64| writes as f64 / SESSIONS as f64;
        let worst = writes.lock().unwrap().values().copied().max();
        println!(
            "writes for each Session: {:.2} of its own objects (at most {worst:?}), {:.2} with all \
             that the cluster wrote meanwhile, {leases} leases aside",
            each(own),
            each(all - leases),
        );
        assert!(own >= 3 * SESSIONS as u64, "some were not counted: {own}");
        assert!(worst <= Some(5), "{worst:?}");
        assert!(each(all - leases) <= 5.0);

        assert_eq!(running(world).await, SESSIONS);
        let sessions = world.sessions.list(&ListParams::default()).await.unwrap();
        for session in sessions {
            let status = session.status.unwrap();
            assert_eq!(status.generation, Some(1), "{status:?}");
        }
        let ended = Instant::now();
        world
            .sessions
            .delete_collection(&DeleteParams::default(), &ListParams::default())
            .await
            .unwrap();
        until("none runs any more", async || running(world).await == 0).await;
        until("the pool has shrunk", async || {
            world.pod_names().await.len() <= 2
        })
        .await;
        println!("{most} pods are 2 or fewer after {:?}", ended.elapsed());
    });
}

/// Whether nothing is to be added or taken away.
async fn calm(world: &World) -> bool {
    let progressing = world.condition("Progressing").await;
    let ready = world.condition("Ready").await;
    let is = |condition: Option<(String, String)>, wanted: &str| {
        condition.is_some_and(|(status, _)| status == wanted)
    };
    is(progressing, "False") && is(ready, "True")
}
