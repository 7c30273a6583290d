//! A session grows over pods and shrinks again.

use crate::capture::Capture;
use crate::stage::{Stage, addresses, people, pipes, topology, with_pipes, with_pool};
use crate::world::{World, until};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use kube::runtime::wait::await_condition;
use mafalda_operator::names::DRAIN_REQUESTED;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What shown and counted bytes may differ by: reports that are under way.
const REPORTS: f64 = 0.01;
/// A pod that has become ready is used that soon.
const USED: Duration = Duration::from_secs(2);
/// A pod that a session was granted is used that soon.
const GRANTED: Duration = Duration::from_secs(1);
/// Bytes in which there is voice.
const CROSSES: u64 = 50_000;
/// People who stay when the others have gone.
const STAY: usize = 4;

fn is_ready(pod: Option<&Pod>) -> bool {
    let conditions = pod.and_then(|pod| pod.status.as_ref()?.conditions.as_ref());
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Bytes that went through pipes, by the pod that sent them.
fn shown(topology: &Value) -> BTreeMap<String, u64> {
    let mut shown = BTreeMap::new();
    for pipe in topology["pipes"].as_array().unwrap() {
        let pod = pipe["sourcePod"].as_str().unwrap().to_owned();
        *shown.entry(pod).or_default() += pipe["bytes"].as_u64().unwrap();
    }
    shown
}

/// When the Session's status named each of its pods, and when its home had anything on it.
struct Grants {
    granted: BTreeMap<String, Instant>,
    used: BTreeMap<String, Instant>,
    /// The longest that passed between two looks: what is told is as exact as that.
    look: Duration,
}

impl Grants {
    /// Looks again and again until so many pods are used.
    async fn follow(world: &World, session: &str, pods: usize) -> Self {
        let mut grants = Self {
            granted: BTreeMap::new(),
            used: BTreeMap::new(),
            look: Duration::ZERO,
        };
        let mut last = Instant::now();
        while grants.used.len() < pods {
            tokio::time::sleep(Duration::from_millis(20)).await;
            for pod in world.status(session).await.pods {
                grants.granted.entry(pod).or_insert_with(Instant::now);
            }
            let used = people(&topology(world, session).await);
            for pod in used.into_keys() {
                grants.used.entry(pod).or_insert_with(Instant::now);
            }
            let now = Instant::now();
            grants.look = grants.look.max(now - last);
            last = now;
        }
        grants
    }

    /// How long after it was granted each pod but the home was used first.
    fn after(&self, home: &str) -> BTreeMap<&str, Duration> {
        let lenders = self.used.iter().filter(|(pod, _)| *pod != home);
        lenders
            .map(|(pod, used)| {
                // The home may be told before the status is written.
                let granted = self.granted.get(pod).unwrap_or(used);
                (pod.as_str(), used.saturating_duration_since(*granted))
            })
            .collect()
    }
}

/// Protects large rooms: one grows over three pods by itself, with a stream sent once to each, what is
/// shown of that is what the network carries, and when people leave it is on one pod again.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn a_session_grows_over_three_pods_and_shrinks() {
    with_pool(
        "grows",
        json!({"min": 3, "max": 3, "spare": 0}),
        async |world| {
            world.serving(3).await;
            let mut stage = Stage::open(world).await;
            let capture = Capture::of(world, &addresses(world).await).await;
            let follow = Grants::follow(world, stage.session, 3);
            let (people, grants) = tokio::join!(stage.grow_to(3), follow);
            assert_eq!(stage.pods().await.len(), 3, "the Session's status has them");
            let after = grants.after(&stage.home().await);
            println!(
                "used so long after the Session's status had them: {after:?}, seen each {:?} at most",
                grants.look
            );
            assert_eq!(after.len(), 2);
            for (pod, after) in after {
                assert!(after <= GRANTED + grants.look, "{pod}: {after:?}");
            }
            let granted = ("GrantPod", "WorkersHot");
            world.is_told("Session", stage.session, granted).await;
            let heard = stage.all_hear().await;
            println!(
                "{people} people on {:?}, all hear after {heard:?}",
                stage.used().await
            );

            // Voice and video once to each of the other two, from wherever they are.
            let topology = stage.topology().await;
            let all = topology["pipes"].as_array().unwrap();
            assert_eq!(all.len(), 2, "{all:#?}");
            assert!(
                all.iter()
                    .all(|pipe| pipe["producers"].as_array().unwrap().len() == 2)
            );
            // Each knows where it is, which the way of media depends on.
            for member in topology["members"].as_array().unwrap() {
                let pod = world
                    .pods
                    .get(member["pod"].as_str().unwrap())
                    .await
                    .unwrap();
                assert_eq!(
                    member["zone"],
                    json!(pod.spec.unwrap().node_name),
                    "{member}"
                );
            }
            let home = stage.home().await;
            let targets: Vec<String> = pipes(&topology)
                .into_iter()
                .map(|(_, target)| target)
                .collect();
            assert!(
                targets.len() == 2 && !targets.contains(&home),
                "{targets:?}"
            );

            stage.room.tell("silence").await;
            let mut before = BTreeMap::new();
            until("nothing but reports goes through", async || {
                // Figures are a second old at most.
                tokio::time::sleep(Duration::from_millis(1100)).await;
                let now = shown(&stage.topology().await);
                let quiet = now
                    .iter()
                    .all(|(pod, bytes)| bytes - before.get(pod).unwrap_or(&0) < 500);
                before = now;
                quiet
            })
            .await;
            assert!(capture.is_readable(), "pipes are plain by default");
            let counted = capture.bytes();
            for (pod, bytes) in &before {
                let (shown, counted) = (*bytes as f64, counted[pod] as f64);
                println!("{pod}: {shown} bytes shown, {counted} counted by tcpdump");
                // What targets report back is counted too, where a pod is both.
                assert!(
                    (shown - counted).abs() <= counted * REPORTS,
                    "{pod}: {shown} and {counted}"
                );
            }

            stage.room.tell("sound").await;
            let moved = stage.room.said().last().unwrap().moved;
            stage.room.tell(&format!("leave {}", people - STAY)).await;
            let shrunk = stage.has(1).await;
            until("nothing is elsewhere", async || {
                let topology = stage.topology().await;
                topology["members"].as_array().unwrap().len() == 1 && pipes(&topology).is_empty()
            })
            .await;
            println!("on one pod {shrunk:?} after people left");
            let returned = ("ReturnPod", "LenderUnused");
            world.is_told("Session", stage.session, returned).await;
            stage.all_hear().await;
            let last = stage.room.tell("hear").await;
            assert_eq!((last.hearing, last.moved), (STAY, moved));
        },
    );
}

/// Protects who scales under load: a pod that comes is used at once, and one that is to go is empty
/// before its deadline without anybody's transport being ended. And who does not trust the network: what
/// goes from pod to pod is encrypted when the cluster says so.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn pods_come_and_go_under_load() {
    with_pipes(
        "comes",
        json!({"min": 1, "max": 1, "spare": 0}),
        json!({"srtp": "BetweenPods", "rtx": "BetweenPods"}),
        async |world| {
            world.serving(1).await;
            let mut stage = Stage::open(world).await;
            stage.room.tell("join 40 20").await;
            let more = json!({"spec": {"pool": {"min": 2, "max": 2}}});
            let parameters = PatchParams::default();
            world
                .clusters
                .patch("talk", &parameters, &Patch::Merge(more))
                .await
                .unwrap();
            until("another pod is there", async || {
                world.pod_names().await.len() == 2
            })
            .await;
            let home = stage.home().await;
            let another = world
                .pod_names()
                .await
                .into_iter()
                .find(|pod| *pod != home)
                .unwrap();
            let joining = async {
                loop {
                    stage.room.tell("join 2 20").await;
                    if stage.used().await.contains_key(&another) {
                        return Instant::now();
                    }
                }
            };
            let ready = async {
                let ready = await_condition(world.pods.clone(), &another, is_ready);
                ready.await.unwrap();
                Instant::now()
            };
            let (used, ready) = tokio::join!(joining, ready);
            let after = used.saturating_duration_since(ready);
            println!("{another} is used {after:?} after Kubernetes said that it was ready");
            assert!(after < USED, "{after:?}");
            stage.all_hear().await;
            let capture = Capture::of(world, &addresses(world).await).await;
            until("media crosses", async || {
                capture.bytes().values().sum::<u64>() > CROSSES
            })
            .await;
            assert!(!capture.is_readable(), "it is to be encrypted");
            for pipe in stage.topology().await["pipes"].as_array().unwrap() {
                assert_eq!((&pipe["srtp"], &pipe["rtx"]), (&json!(true), &json!(true)));
            }
            drop(capture);

            let before = stage.room.tell("hear").await;
            let lines = stage.room.said().len();
            let request = json!({"metadata": {"annotations": {DRAIN_REQUESTED: "true"}}});
            world
                .pods
                .patch(&another, &parameters, &Patch::Merge(request))
                .await
                .unwrap();
            let asked = Instant::now();
            stage.has(1).await;
            let on = stage.used().await[&another];
            let people = stage.room.tell("join 4 20").await.people;
            assert_eq!(stage.used().await[&another], on, "nothing new goes there");
            // Those who are there came last, but for the four.
            stage.all_hear().await;
            stage
                .room
                .tell(&format!("leave {}", people.min(on + 4)))
                .await;
            until("the pod has gone", async || {
                !world.pod_names().await.contains(&another)
            })
            .await;
            let gone = asked.elapsed();
            println!(
                "{another}, asked to drain with {on} people on it, was empty and gone after {gone:?}"
            );
            assert!(gone < Duration::from_secs(40), "its deadline ended it");
            stage.all_hear().await;
            let said = stage.room.said();
            let gap = said
                .iter()
                .skip(lines)
                .map(|said| said.longest)
                .max()
                .unwrap();
            println!("the longest that anybody heard nothing was {gap} ms");
            let last = said.last().unwrap();
            assert_eq!((last.moved, last.died), (before.moved, 0));
            assert!(gap < 1000, "{gap} ms");
        },
    );
}
