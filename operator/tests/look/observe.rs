//! What the plan is told.

use crate::fixtures::{NOW, Scene, ago, time};
use mafalda_plan::{Generation, PodPhase, State};
use serde_json::json;
use std::time::Duration;

fn state(scene: &mut Scene) -> State {
    let observed = scene.observe();
    observed.pods[0].state(&observed.cluster, observed.now)
}

/// Protects calls from a wrong idea of their pod: each sign that a pod gives is read.
#[test]
fn a_pod_is_in_the_state_that_its_signs_say() {
    let plain = json!({});
    let no_container = json!({"status": {"containerStatuses": null}});
    let deleted =
        json!({"metadata": {"deletionTimestamp": time(NOW), "deletionGracePeriodSeconds": 30}});
    let failed = json!({"status": {"phase": "Failed"}});
    let elsewhere = json!({"spec": {"nodeName": "gone"}});
    let young = json!({"metadata": {"creationTimestamp": time(ago(5))}, "status": {"containerStatuses": null}});
    for (change, heard, expected) in [
        (plain.clone(), Some(0), State::Available),
        (plain.clone(), Some(2), State::Available),
        (plain.clone(), Some(4), State::Suspect),
        // The operator has just begun: what is written is believed.
        (plain.clone(), None, State::Available),
        (no_container, None, State::Starting),
        (young, None, State::Starting),
        (deleted, Some(0), State::Terminating),
        (failed, Some(0), State::Failed),
        (elsewhere, Some(0), State::Failed),
    ] {
        let mut scene = Scene::simple();
        scene.pod("talk-0", change.clone());
        if let Some(seconds) = heard {
            scene.says("talk-0", seconds, json!({}));
        }
        assert_eq!(state(&mut scene), expected, "{change} {heard:?}");
    }
}

/// Protects calls on a pod that died: nobody waits for its silence when it is known to be dead, and
/// nobody takes a pod for dead that answers, that starts or that waits.
#[test]
fn a_pod_is_down_when_its_host_or_kubernetes_says_so() {
    let plain = json!({});
    let no_container = json!({"status": {"containerStatuses": null}});
    for (change, heard, refuses, expected) in [
        (plain.clone(), Some(0), true, true),
        (plain.clone(), Some(0), false, false),
        (plain.clone(), Some(9), false, false),
        // Not heard yet by this operator, and there before it.
        (plain.clone(), None, true, true),
        // It starts.
        (no_container.clone(), None, true, false),
        // Kubernetes is late to learn that it began anew …
        (no_container.clone(), Some(1), false, false),
        // … and not that it ended.
        (no_container, Some(2), false, true),
    ] {
        let mut scene = Scene::simple();
        scene.pod("talk-0", change.clone());
        if let Some(seconds) = heard {
            scene.says("talk-0", seconds, json!({}));
        }
        if refuses {
            scene.refusing.insert("talk-0".to_owned());
        }
        let down = scene.observe().pods[0].down;
        assert_eq!(down, expected, "{change} {heard:?} {refuses}");
    }
    let mut waits = Scene::new(json!({}));
    waits.pod("talk-0", json!({"status": {"containerStatuses": null}}));
    waits.refusing.insert("talk-0".to_owned());
    assert!(!waits.observe().pods[0].down, "it waits for its address");
}

/// Protects clients: a pod whose address nobody knows is ready and takes nothing.
#[test]
fn a_pod_without_an_address_is_one() {
    let mut scene = Scene::new(json!({}));
    scene.pod("talk-0", json!({"status": {"containerStatuses": null}}));
    assert_eq!(state(&mut scene), State::Addressless);
}

#[test]
fn what_a_pod_and_its_node_say_is_told() {
    let mut scene = Scene::simple();
    scene.pod("talk-0", json!({}));
    let session = json!({"name": "stage", "generation": 4, "connections": 1});
    scene.says(
        "talk-0",
        0,
        json!({"sessions": [session], "connections": {"attached": 3}}),
    );
    let pod = &scene.observe().pods[0];
    assert_eq!(pod.cpu, [0.5, 0.0]);
    assert_eq!(pod.region, Some("north".into()));
    assert_eq!(pod.mediasoup, Some("3.27.1".into()));
    assert_eq!(pod.sessions[0].generation, Generation(4));
    assert_eq!(pod.anonymous, 2);
    assert_eq!(
        pod.ready_since,
        Some(ago(50)),
        "a restart of the operator is none of the pod"
    );
}

/// Protects `kubectl drain`: a node that is cordoned, or a pod that is marked, is to be emptied.
#[test]
fn drains_are_asked_for() {
    for (node, annotation, asked) in [
        (json!({}), json!(null), false),
        (json!({"unschedulable": true}), json!(null), true),
        (json!({}), json!("true"), true),
        (json!({}), json!("no"), false),
    ] {
        let mut scene = Scene::simple();
        scene.node(node);
        let annotations = json!({"mafalda.dev/drain-requested": annotation});
        let annotations = if annotation.is_null() {
            json!({})
        } else {
            annotations
        };
        scene.pod("talk-0", json!({"metadata": {"annotations": annotations}}));
        assert_eq!(scene.observe().pods[0].drain_requested, asked);
    }
}

/// Protects running drains from the operator's death: they are written on the pod.
#[test]
fn a_drain_is_read_back() {
    let mut scene = Scene::simple();
    scene.pod("talk-0", json!({}));
    scene.says("talk-0", 0, json!({}));
    scene.observe();
    scene.node(json!({"unschedulable": true}));
    scene.turn();
    let drain = scene.book.pods.values().next().unwrap().drain;
    assert!(drain.is_some());
    let written = serde_json::to_string(&drain.unwrap()).unwrap();
    let mut later = Scene::simple();
    later.pod(
        "talk-0",
        json!({"metadata": {"annotations": {"mafalda.dev/drain": written}}}),
    );
    assert_eq!(later.observe().pods[0].drain, drain);
}

/// Protects sessions from a restart of the operator: what their status says is where they are, and
/// a pod that was not heard yet is believed to run them.
#[test]
fn sessions_are_where_their_status_says() {
    let mut scene = Scene::simple();
    scene.pod("talk-7", json!({}));
    let placed = json!({"type": "Placed", "status": "True", "reason": "Placed", "message": "",
        "lastTransitionTime": time(ago(30))});
    let status = json!({"phase": "Active", "generation": 2, "homePod": "talk-7",
        "conditions": [placed]});
    scene.session("stage", "u", status);
    let observed = scene.observe();
    let home = observed.sessions[0].home.clone().unwrap();
    assert_eq!((home.pod, home.since), ("talk-7".into(), ago(30)));
    assert_eq!(observed.sessions[0].generation, Generation(2));
    assert_eq!(observed.pods[0].sessions.len(), 1);
    assert_eq!(observed.cluster.next_ordinal, 8);
    let (actions, _) = scene.turn();
    assert!(
        !actions
            .iter()
            .any(|action| format!("{:?}", action.step).contains("Session")),
        "{actions:?}"
    );
}

/// Protects a new Session from the life of an old one of the same name: it waits until no pod runs
/// that any more, and begins with a later generation.
#[test]
fn a_name_that_comes_again_waits_for_the_old_one() {
    let mut scene = Scene::simple();
    scene.pod("talk-0", json!({}));
    scene.session("stage", "first", json!({}));
    scene.says("talk-0", 0, json!({}));
    scene.turn();
    let runs = json!({"sessions": [{"name": "stage", "generation": 1}]});
    scene.says("talk-0", 0, runs);
    scene.session("stage", "second", json!({}));
    let (actions, _) = scene.turn();
    assert!(
        format!("{actions:?}").contains("FenceSession"),
        "{actions:?}"
    );
    scene.says("talk-0", 0, json!({"sessions": []}));
    let (actions, _) = scene.turn();
    let placed = format!("{actions:?}");
    assert!(
        placed.contains("PlaceSession") && placed.contains("Generation(2)"),
        "{placed}"
    );
}

/// Protects a session from its own wishes: the plan is told all of them, and weighs them itself.
#[test]
fn wishes_are_told_as_they_are_whether_a_pod_fulfils_them_or_not() {
    let mut scene = Scene::simple();
    scene.pod("talk-0", json!({}));
    let labels = json!({"topology.kubernetes.io/region": "north", "disk": "ssd"});
    let session = json!({
        "apiVersion": "mafalda.dev/v1alpha1", "kind": "Session",
        "metadata": {"name": "stage", "namespace": "here", "uid": "u"},
        "spec": {"clusterRef": {"name": "talk"}, "placement": {"nodeLabels": labels},
            "lifetime": {"emptySeconds": 60}},
    });
    scene.sessions = vec![std::sync::Arc::new(
        serde_json::from_value(session).unwrap(),
    )];
    scene.says("talk-0", 0, json!({}));
    let (actions, _) = scene.turn();
    assert!(
        format!("{actions:?}").contains("PlaceSession"),
        "{actions:?}"
    );
    scene.says("talk-0", 9, json!({}));
    let observed = scene.observe();
    assert_eq!(observed.sessions[0].hints.node_labels.len(), 2);
    let life = observed.sessions[0].time_to_live;
    assert_eq!(
        (life.empty, life.total),
        (Some(Duration::from_secs(60)), None)
    );
}

/// Protects an application in an upgrade: what its home speaks is remembered, also by the operator that
/// comes after, and is wished for when the session is placed anew.
#[test]
fn the_mediasoup_version_of_the_home_is_remembered() {
    let version = |scene: &mut Scene| {
        let observed = scene.observe();
        let version = observed.sessions[0].hints.mediasoup.as_ref();
        version.map(ToString::to_string)
    };
    let mut scene = Scene::simple();
    scene.pod("talk-0", json!({}));
    scene.says("talk-0", 0, json!({"mediasoup": {"npm": "3.26.0"}}));
    scene.session("stage", "u", json!({}));
    assert_eq!(version(&mut scene), None, "it had no home");
    scene.turn();
    assert_eq!(version(&mut scene).as_deref(), Some("3.26.0"));
    scene.heard.clear();
    scene.pods.clear();
    assert_eq!(
        version(&mut scene).as_deref(),
        Some("3.26.0"),
        "its home is gone"
    );

    let mut later = Scene::simple();
    let written = json!({"phase": "Recovering", "generation": 3, "homePod": "talk-7",
        "mediasoupVersion": "3.25.0"});
    later.session("stage", "u", written);
    assert_eq!(version(&mut later).as_deref(), Some("3.25.0"));

    // It was written by an operator that did not know of versions.
    let mut older = Scene::simple();
    older.pod("talk-0", json!({}));
    let runs = json!([{"name": "stage", "generation": 3}]);
    older.says("talk-0", 0, json!({"sessions": runs}));
    let written = json!({"phase": "Active", "generation": 3, "homePod": "talk-0"});
    older.session("stage", "u", written);
    assert_eq!(version(&mut older).as_deref(), Some("3.27.1"));
    older.heard.clear();
    assert_eq!(version(&mut older).as_deref(), Some("3.27.1"));
}

/// Protects calls from two ends: a session is empty when its home says so, and somebody may be about to
/// join while its application is connected.
#[test]
fn who_is_in_a_session_and_who_has_it_are_two_things() {
    let mut scene = Scene::simple();
    scene.pod("talk-0", json!({}));
    let active = json!({"phase": "Active", "generation": 1, "homePod": "talk-0"});
    scene.session("stage", "u", active);
    // As nothing says when it was placed, that is now.
    let now = NOW.as_secs();
    for (connections, said, expected, attended) in [
        (0, Some(now + 5), Some(now + 5), false),
        (1, Some(now + 5), Some(now + 5), true),
        (1, None, None, true),
        // By a clock that is behind: it was not empty there before it was there.
        (0, Some(now - 500), Some(now), false),
    ] {
        let said = json!([{"name": "stage", "generation": 1, "connections": connections,
            "emptySince": said}]);
        scene.says("talk-0", 0, json!({"sessions": said}));
        let observed = scene.observe();
        let session = &observed.sessions[0];
        assert_eq!(session.empty_since, expected.map(Duration::from_secs));
        assert_eq!(session.attended, attended);
    }
}

#[test]
fn a_pod_that_was_decided_on_is_there_before_the_api_server_says_so() {
    let mut scene = Scene::simple();
    let (first, _) = scene.turn();
    assert!(!first.is_empty());
    let observed = scene.observe();
    assert_eq!(observed.pods.len(), 1);
    assert_eq!(observed.pods[0].phase, PodPhase::Running);
    let (again, _) = scene.turn();
    assert!(again.is_empty(), "{again:?}");
}
