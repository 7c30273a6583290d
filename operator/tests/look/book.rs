//! What is remembered of Sessions, and for how long.

use crate::fixtures::{NOW, Scene, words};
use mafalda_operator::cluster::jobs::Job;
use serde_json::{Value, json};
use std::time::Duration;

/// A pod that says these are its sessions, `stage` as a Session, and a pool that stays as it is.
fn with_stage(sessions: Value) -> Scene {
    let mut scene = Scene::simple();
    scene.cluster.spec.pool.spare = 0;
    scene.pod("talk-0", json!({}));
    scene.says("talk-0", 0, json!({"sessions": sessions}));
    scene.session("stage", "first", json!({}));
    scene
}

fn runs() -> Value {
    json!([{"name": "stage", "generation": 1}])
}

/// So much later, when the pod was heard a moment ago.
fn later(scene: &mut Scene, seconds: u64) {
    scene.now += Duration::from_secs(seconds);
    for heard in scene.heard.values_mut() {
        heard.last_seen = scene.now;
    }
}

fn generation(jobs: &[Job]) -> Option<u64> {
    jobs.iter().find_map(|job| match job {
        Job::Tell { generation, .. } => Some(*generation),
        _ => None,
    })
}

/// Protects nodes from pods that look in use, and the operator's memory: a Session that is deleted leaves
/// nothing but its last generation, and that for an hour.
#[test]
fn a_session_that_is_gone_is_forgotten() {
    let mut scene = with_stage(json!([]));
    assert_eq!(words(&scene.turn().1), ["mark talk-0", "tell stage"]);
    scene.pods.clear();
    scene.pod(
        "talk-0",
        json!({"metadata": {
            "labels": {"mafalda.dev/occupied": "true"},
            "annotations": {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"},
        }}),
    );
    scene.sessions.clear();
    let (_, jobs) = scene.turn();
    let Some(Job::MarkPod { patch, .. }) = jobs.first() else {
        panic!("{jobs:?}");
    };
    assert_eq!(
        patch["metadata"]["labels"]["mafalda.dev/occupied"],
        json!(null)
    );
    assert!(scene.book.seats.is_empty());
    // One of the same name begins where it ended.
    later(&mut scene, 60 * 60);
    scene.session("stage", "second", json!({}));
    assert_eq!(generation(&scene.turn().1), Some(2));
    assert!(scene.book.gone.is_empty());
    scene.sessions.clear();
    scene.turn();
    assert_eq!(scene.book.gone.len(), 1);
    later(&mut scene, 66 * 60);
    scene.turn();
    assert!(scene.book.gone.is_empty());
}

/// Protects a new Session from an old one that comes back: as long as a pod says that it ran it, its
/// generation is known.
#[test]
fn what_a_pod_may_still_run_is_remembered() {
    let mut scene = with_stage(json!([]));
    scene.turn();
    scene.says("talk-0", 0, json!({"sessions": runs()}));
    scene.sessions.clear();
    scene.turn();
    scene.now += Duration::from_secs(66 * 60);
    scene.turn();
    assert_eq!(scene.book.gone.len(), 1);
}

/// Protects who deletes a Session and makes it again while its node is lost: nobody waits for a pod that
/// does not answer.
#[test]
fn a_name_does_not_wait_for_a_pod_that_is_silent_or_dead() {
    for (silent, refuses, waits) in [(0, false, true), (4, false, false), (0, true, false)] {
        let mut scene = with_stage(json!([]));
        scene.pod("talk-1", json!({}));
        scene.says("talk-1", 0, json!({"drain": {"phase": "active"}}));
        scene.turn();
        scene.says("talk-0", silent, json!({"sessions": runs()}));
        if refuses {
            scene.refusing.insert("talk-0".to_owned());
        }
        scene.session("stage", "second", json!({}));
        let placed = generation(&scene.turn().1);
        assert_eq!(placed, (!waits).then_some(2), "{silent} {refuses}");
    }
}

/// Protects pods, and generations, from a session that nobody takes: the first time another placement
/// comes at once, then there are pauses, and none is asked twice for one.
#[test]
fn a_session_that_is_refused_again_and_again_is_placed_after_pauses() {
    let mut scene = with_stage(json!([]));
    let mut refused = Vec::new();
    let (mut told, mut decision) = (0, 0);
    for _ in 0..200 {
        later(&mut scene, 0);
        scene.now += Duration::from_millis(100);
        for job in scene.turn().1 {
            if let Job::Tell {
                generation,
                decision: of,
                ..
            } = job
            {
                assert!(generation > told, "asked twice for {generation}");
                (told, decision) = (generation, of);
                refused.push((scene.now - NOW).as_millis());
                let now = scene.now;
                scene.book.unseat(&"stage".into(), of, now);
                scene.book.unseat(&"stage".into(), of, now);
            }
        }
    }
    let pauses: Vec<u128> = refused.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(pauses, [100, 300, 500, 1000, 2000, 4000, 5000, 5000]);
    // Who takes it ends that.
    scene.book.told(&"stage".into(), decision, NOW);
    assert_eq!(scene.book.seats[&"stage".into()].refusals, 0);
}
