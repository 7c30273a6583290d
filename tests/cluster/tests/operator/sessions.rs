//! Sessions: quickly there, many at once, gone when they are deleted.

use crate::world::{World, percentile, until, with_operator};
use futures_util::StreamExt;
use k8s_openapi::api::core::v1::{Node, Secret};
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use mafalda_e2e::{Calls, Event};
use mafalda_operator::crd::Phase;
use mafalda_operator::pod_api::{Access, Client as Pods, report};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The pods' own word on which sessions they run: names and generations.
pub async fn running(world: &World) -> Vec<(String, u64)> {
    let of = |session: report::Session| (session.name, session.generation);
    let mut found: Vec<_> = said(world).await.into_iter().map(of).collect();
    found.sort();
    found
}

/// What the pods say of the sessions that they run.
async fn said(world: &World) -> Vec<report::Session> {
    let secrets: Api<Secret> = Api::namespaced(world.client.clone(), &world.namespace);
    let text = async |name: &str, key: &str| {
        let data = secrets.get(name).await.unwrap().data.unwrap();
        String::from_utf8(data[key].0.clone()).unwrap()
    };
    let key = text("talk-token-key", "private.pem").await;
    let authority = text("talk-ca", "ca.crt").await;
    let pods = Pods::new(Arc::new(Access::new("talk", &key, &authority).unwrap()));
    let mut found = Vec::new();
    for pod in world.pods.list(&ListParams::default()).await.unwrap() {
        if let Some(ip) = pod.status.and_then(|status| status.pod_ip) {
            // One that is ending may be gone by now.
            let Ok(report) = pods.status(ip.parse().unwrap()).await else {
                continue;
            };
            found.extend(report.sessions);
        }
    }
    found
}

/// Protects who edits a Session, and waits for that to be true: its home lets in as many as it says now,
/// without another generation, and the status says which spec it is about. How many are in it is there.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn an_edit_of_the_limit_reaches_the_home_and_the_status() {
    let spec = json!({"workersPerPod": 1, "exposure": {"type": "Internal"}});
    with_operator("edited", spec, async |world| {
        world.serving(1).await;
        world
            .apply_with("stage", json!({"maxParticipants": 3}))
            .await;
        world.active("stage", 1).await;
        let limits = async || -> Vec<Option<u32>> {
            let said = said(world).await;
            said.iter()
                .map(|session| session.max_participants)
                .collect()
        };
        assert_eq!(limits().await, [Some(3)]);
        let secrets: Api<Secret> = Api::namespaced(world.client.clone(), &world.namespace);
        let before = secrets.get("stage-access").await.unwrap();
        let edit = Patch::Merge(json!({"spec": {"maxParticipants": 5}}));
        let edited = world
            .sessions
            .patch("stage", &PatchParams::default(), &edit)
            .await
            .unwrap();
        until("the home knows", async || limits().await == [Some(5)]).await;
        until("the status is about it", async || {
            let status = world.status("stage").await;
            status.observed_generation == edited.metadata.generation
        })
        .await;
        let status = world.status("stage").await;
        assert_eq!((status.generation, status.participants), (Some(1), Some(0)));
        assert!(status.mediasoup_version.is_some(), "{status:?}");
        let after = secrets.get("stage-access").await.unwrap();
        assert_eq!(after.data, before.data, "no new token for that");
    });
}

/// Protects who waits for a call to begin: on a warm pool a Session is usable at once, with an
/// endpoint, a token of its own and the authority to trust.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn a_session_is_active_at_once() {
    let spec = json!({"workersPerPod": 1, "exposure": {"type": "Internal"}});
    with_operator("at-once", spec, async |world| {
        world.serving(1).await;
        let mut times = Vec::new();
        for index in 0..30 {
            let name = format!("s{index}");
            let begun = Instant::now();
            world.apply(&name).await;
            world.active(&name, 1).await;
            times.push(begun.elapsed());
        }
        let (p50, p99) = (percentile(&mut times, 0.5), percentile(&mut times, 0.99));
        println!("apply to Active, one by one: p50 {p50:?}, p99 {p99:?}");
        assert!(p50 < Duration::from_millis(300), "p50 {p50:?}");
        let status = world.status("s0").await;
        let secrets: Api<Secret> = Api::namespaced(world.client.clone(), &world.namespace);
        let secret = secrets
            .get(&status.token_secret_name.unwrap())
            .await
            .unwrap();
        let data = secret.data.unwrap();
        assert_eq!(data["url"].0, status.endpoint.unwrap().into_bytes());
        assert!(data.contains_key("token") && data.contains_key("ca.crt"));
    });
}

/// Protects a platform where two hundred calls begin at nine o'clock: all are there, the pool has
/// grown for them, and the API server was not written to more than five times for each.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn two_hundred_at_once() {
    let spec = json!({
        "workersPerPod": 2,
        "exposure": {"type": "Internal"},
        "pool": {"min": 1, "max": 6, "spare": 1},
    });
    with_operator("burst", spec, async |world| {
        world.serving(1).await;
        let begun = Instant::now();
        for index in 0..200 {
            world.apply(&format!("s{index}")).await;
        }
        let applied = begun.elapsed();
        until("all are active", async || {
            let sessions = world.sessions.list(&ListParams::default()).await.unwrap();
            let is_active = |session: &mafalda_operator::crd::Session| {
                let status = session.status.as_ref();
                status.is_some_and(|status| status.phase == Some(Phase::Active))
            };
            sessions.iter().filter(|session| is_active(session)).count() == 200
        })
        .await;
        println!(
            "200 sessions: applied in {applied:?}, all Active after {:?}",
            begun.elapsed()
        );
        let sessions = world.sessions.list(&ListParams::default()).await.unwrap();
        for session in sessions {
            // One placement each: the Session, its Secret and its status are three writes.
            let status = session.status.unwrap();
            assert_eq!(status.generation, Some(1), "{status:?}");
        }
        let pods = world.pod_names().await.len();
        let need = world.need([2; 200].into_iter()).await;
        println!("pods then: {pods}, by the plan's formula {need}");
        assert_eq!(pods, need, "as many as are needed, and the spare one");
        assert_eq!(running(world).await.len(), 200);
        fewer_are_enough_for_those_that_stay(world, pods).await;
        world
            .sessions
            .delete_collection(&DeleteParams::default(), &ListParams::default())
            .await
            .unwrap();
        until("none runs any more", async || {
            running(world).await.is_empty()
        })
        .await;
        let shrunk = until("the pool has shrunk", async || {
            world.pod_names().await.len() <= 2
        })
        .await;
        println!("shrunk to {:?} after {shrunk:?}", world.pod_names().await);
    });
}

/// Most sessions end and some stay: the pool shrinks to what those need, and each of them goes on where it is.
async fn fewer_are_enough_for_those_that_stay(world: &World, before: usize) {
    let stay: Vec<String> = (0..200)
        .step_by(20)
        .map(|index| format!("s{index}"))
        .collect();
    let mut homes = Vec::new();
    for name in &stay {
        homes.push(world.status(name).await);
    }
    let end = async |index: usize| {
        let name = format!("s{index}");
        if !stay.contains(&name) {
            let parameters = DeleteParams::default();
            world.sessions.delete(&name, &parameters).await.unwrap();
        }
    };
    futures_util::stream::iter(0..200)
        .for_each_concurrent(20, end)
        .await;
    let need = world.need([2; 10].into_iter()).await;
    assert!(need < before, "{need} of {before}");
    let took = until("the pool has shrunk", async || {
        world.pod_names().await.len() == need
    })
    .await;
    println!("{need} pods for {} sessions after {took:?}", stay.len());
    for (name, before) in stay.iter().zip(homes) {
        let now = world.status(name).await;
        assert_eq!(now.phase, Some(Phase::Active), "{name}");
        assert_eq!(
            (now.home_pod, now.generation),
            (before.home_pod, before.generation),
            "{name}"
        );
    }
    assert_eq!(running(world).await.len(), stay.len());
}

/// Protects a name that is used again: the new Session is not the old one.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn a_name_that_comes_again_is_another_session() {
    let spec = json!({"workersPerPod": 1, "exposure": {"type": "Internal"}});
    with_operator("again", spec, async |world| {
        world.serving(1).await;
        world.apply("stage").await;
        world.active("stage", 1).await;
        world
            .sessions
            .delete("stage", &DeleteParams::default())
            .await
            .unwrap();
        world.apply("stage").await;
        world.active("stage", 2).await;
        until("one runs, the new one", async || {
            running(world).await == [("stage".to_owned(), 2)]
        })
        .await;
    });
}

/// Protects the bill: a Session ends when its time is over.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn time_to_live_ends_a_session() {
    let spec = json!({"workersPerPod": 1, "exposure": {"type": "Internal"}});
    with_operator("ttl", spec, async |world| {
        world.serving(1).await;
        world
            .apply_with("short", json!({"lifetime": {"emptySeconds": 10}}))
            .await;
        world
            .apply_with("old", json!({"lifetime": {"totalSeconds": 20}}))
            .await;
        world.apply("stays").await;
        for name in ["short", "old", "stays"] {
            world.active(name, 1).await;
        }
        // In the second one somebody is, so that only its age can end it.
        let calls = Calls::start(&world.client, &world.namespace, "old", 1).await;
        until("media flows", async || calls.flow()).await;
        for (name, reason) in [("short", "EmptyTooLong"), ("old", "TooOld")] {
            until("it has ended", async || {
                world.status(name).await.phase == Some(Phase::Ended)
            })
            .await;
            let said = world.status(name).await.last_reason;
            assert_eq!(said.as_deref(), Some(reason), "{name}");
            world
                .is_told("Session", name, ("ExpireSession", reason))
                .await;
        }
        until("its application is told", async || {
            calls.count(Event::Died) > 0
        })
        .await;
        let before = world.status("stays").await;
        assert_eq!(before.phase, Some(Phase::Active));
        until("no pod runs them", async || {
            running(world).await == [("stays".to_owned(), 1)]
        })
        .await;
    });
}

/// Protects the node's owner: what a node lacks is said, and a pod without an address gets no
/// session; when the address comes, all goes on by itself.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn an_unknown_address_fails_closed() {
    let spec = json!({
        "workersPerPod": 1,
        "announcedAddress": {"source": "Annotation", "annotation": "example.com/ip"},
        "pool": {"min": 1, "max": 1, "spare": 0},
    });
    with_operator("closed", spec, async |world| {
        annotate_nodes(world, json!(null)).await;
        until("the condition says it", async || {
            let found = world.condition("AddressResolved").await;
            found == Some(("False".to_owned(), "AddressUnknown".to_owned()))
        })
        .await;
        world.apply("stage").await;
        until("the session waits", async || {
            world.status("stage").await.last_reason.as_deref() == Some("AddressUnknown")
        })
        .await;
        annotate_nodes(world, json!("192.0.2.7")).await;
        let took = world.active("stage", 1).await;
        println!("Active {took:?} after the address came");
    });
}

/// Writes an address on all nodes, or takes it from them.
async fn annotate_nodes(world: &World, address: Value) {
    let nodes: Api<Node> = Api::all(world.client.clone());
    let patch = Patch::Merge(json!({"metadata": {"annotations": {"example.com/ip": address}}}));
    for node in nodes.list(&ListParams::default()).await.unwrap() {
        let name = node.metadata.name.unwrap();
        let parameters = PatchParams::default();
        nodes.patch(&name, &parameters, &patch).await.unwrap();
    }
}
