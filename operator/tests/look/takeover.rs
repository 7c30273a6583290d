//! What an operator that has just begun believes, and what it waits for.

use crate::fixtures::{NOW, Scene, ago, time};
use mafalda_plan::State;
use serde_json::{Value, json};
use std::time::Duration;

fn states(scene: &mut Scene) -> Vec<State> {
    let observed = scene.observe();
    let state = |pod: &mafalda_plan::Pod| pod.state(&observed.cluster, observed.now);
    observed.pods.iter().map(state).collect()
}

/// Protects a pool from an operator that has not heard it yet: it would look empty.
#[test]
fn nothing_is_decided_before_the_pods_were_heard() {
    let no_container = json!({"status": {"containerStatuses": null}});
    let young = json!({"status": {"containerStatuses": [{
        "name": "media-pod", "image": "", "imageID": "", "ready": true, "restartCount": 0,
        "state": {"running": {"startedAt": time(NOW)}},
    }]}});
    // The operator begins a second before now.
    for (title, second, seconds, refuses, early) in [
        ("it may be heard any moment", json!({}), 0, false, true),
        (
            "and is silent for longer than one that lives",
            json!({}),
            3,
            false,
            false,
        ),
        (
            "its machine says that it is dead",
            json!({}),
            0,
            true,
            false,
        ),
        (
            "it starts, and says nothing yet",
            no_container,
            0,
            false,
            false,
        ),
        ("it began after the operator", young, 0, false, false),
    ] {
        let mut scene = Scene::simple();
        scene.pod("talk-0", json!({}));
        scene.says("talk-0", 0, json!({}));
        scene.pod("talk-1", second);
        if refuses {
            scene.refusing.insert("talk-1".to_owned());
        }
        scene.now += Duration::from_secs(seconds);
        assert_eq!(scene.is_early(), early, "{title}");
        scene.now = NOW;
        scene.says("talk-1", 0, json!({}));
        assert!(!scene.is_early(), "{title}, and all are heard");
    }
}

/// Protects calls on pods that take the operator for nobody, as they have not read its new key yet: they
/// live, their sessions stay, and they are neither filled nor drained.
#[test]
fn a_pod_that_lives_and_says_nothing_keeps_its_sessions() {
    let mut scene = Scene::simple();
    scene.cluster.spec.pool.spare = 0;
    let placed = json!({"type": "Placed", "status": "True", "reason": "Placed", "message": "",
        "lastTransitionTime": time(ago(30))});
    for pod in ["talk-0", "talk-1"] {
        scene.pod(pod, json!({}));
    }
    scene.says("talk-1", 0, json!({}));
    let status = json!({"phase": "Active", "generation": 2, "homePod": "talk-0",
        "conditions": [placed]});
    scene.session("stage", "u", status);
    let later = |scene: &mut Scene| {
        scene.now = NOW + Duration::from_secs(30);
        scene.heard.get_mut("talk-1").unwrap().last_seen = scene.now;
    };
    later(&mut scene);
    assert_eq!(states(&mut scene), [State::Suspect, State::Available]);
    scene.alive.insert("talk-0".to_owned(), scene.now);
    assert_eq!(states(&mut scene), [State::Available, State::Available]);
    let observed = scene.observe();
    assert_eq!(observed.pods[0].sessions.len(), 1);
    assert_eq!(
        observed.pods[0].cpu,
        [0.6, 0.6],
        "nobody knows what it does"
    );
    let (actions, _) = scene.turn();
    let said = format!("{actions:?}");
    assert!(
        !said.contains("MoveSession") && !said.contains("talk-0"),
        "{said}"
    );
}

/// Protects sessions on a node that shuts down: its pods say that they end before Kubernetes knows it.
/// They take nothing new, who is in them stays.
#[test]
fn a_pod_that_was_told_to_end_takes_nothing_new() {
    let stops = |phase: &str| json!({"draining": true, "drain": {"phase": phase}});
    for (report, change, seconds, expected) in [
        (stops("active"), json!({}), 0, State::Terminating),
        // The operator itself asked for it.
        (stops("cordoned"), json!({}), 0, State::Available),
        (json!({}), json!({}), 0, State::Available),
        // It has ended …
        (
            stops("active"),
            json!({"status": {"phase": "Failed"}}),
            0,
            State::Failed,
        ),
        // … or is silent: then it is lost like any other.
        (stops("active"), json!({}), 4, State::Suspect),
    ] {
        let mut scene = Scene::simple();
        scene.pod("talk-0", change);
        scene.says("talk-0", seconds, report.clone());
        assert_eq!(states(&mut scene), [expected], "{report}");
        let ends = scene.observe().pods[0].terminating_since.is_some();
        assert_eq!(ends, expected == State::Terminating, "it can be deleted");
    }
    let mut scene = Scene::simple();
    scene.pod("talk-0", json!({}));
    scene.says("talk-0", 0, stops("active"));
    scene.session("stage", "u", json!({}));
    let (actions, _) = scene.turn();
    let said = format!("{actions:?}");
    assert!(
        !said.contains("PlaceSession") && said.contains("CreatePod"),
        "{said}"
    );
}

/// Protects clusters with a service mesh: what it puts beside a media pod says nothing of it.
#[test]
fn a_container_beside_the_pods_own_is_not_the_pod() {
    let container = |name: &str, state: Value| {
        json!({"name": name, "image": "", "imageID": "", "ready": true, "restartCount": 0,
            "state": state})
    };
    let running = json!({"running": {"startedAt": time(ago(50))}});
    let waiting = json!({"waiting": {"reason": "ContainerCreating"}});
    for (first, own, expected) in [
        (running.clone(), waiting.clone(), State::Starting),
        (waiting, running, State::Available),
    ] {
        let mut scene = Scene::simple();
        let statuses = [container("istio-proxy", first), container("media-pod", own)];
        scene.pod("talk-0", json!({"status": {"containerStatuses": statuses}}));
        assert_eq!(states(&mut scene), [expected]);
    }
}
