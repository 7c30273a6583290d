//! What is to be done.

use crate::fixtures::{NOW, Scene, ago, time, words};
use mafalda_operator::cluster::jobs::Job;
use mafalda_plan::SessionName;
use serde_json::json;
use std::time::Duration;

/// A pool with one pod that is well and empty.
fn warm() -> Scene {
    let mut scene = Scene::simple();
    scene.cluster.spec.pool.spare = 0;
    scene.pod("talk-0", json!({}));
    scene.says("talk-0", 0, json!({}));
    scene
}

#[test]
fn nothing_is_due_when_all_is_as_decided() {
    let (_, jobs) = warm().turn();
    assert!(jobs.is_empty(), "{:?}", words(&jobs));
}

#[test]
fn pods_that_are_missing_are_made_each_with_ports_of_its_own() {
    let mut scene = Scene::simple();
    scene.cluster.spec.pool.min = 3;
    let (_, jobs) = scene.turn();
    let ports: Vec<(String, u16)> = jobs
        .iter()
        .filter_map(|job| match job {
            Job::CreatePod { name, rtc_port, .. } => Some((name.clone(), *rtc_port)),
            _ => None,
        })
        .collect();
    let expected = [("talk-0", 40_000), ("talk-1", 40_002), ("talk-2", 40_004)];
    assert_eq!(ports, expected.map(|(name, port)| (name.to_owned(), port)));
    let (_, again) = scene.turn();
    assert_eq!(
        words(&again),
        words(&jobs),
        "due until the API server has them"
    );
}

/// Protects clients: a pod is told its address as soon as it is known, and not again.
#[test]
fn a_pod_that_waits_is_told_its_address() {
    let mut scene = Scene::new(json!({
        "announcedAddress": {"source": "HostIP"}, "pool": {"spare": 0},
    }));
    scene.pod("talk-0", json!({"status": {"containerStatuses": null}}));
    assert!(scene.turn().1.is_empty());
    scene.pods.clear();
    let host = json!({"hostIPs": [{"ip": "10.0.0.1"}]});
    let mut waiting = host.clone();
    waiting["containerStatuses"] = json!(null);
    scene.pod("talk-0", json!({"status": waiting}));
    assert_eq!(words(&scene.turn().1), ["address talk-0"]);
    scene.pods.clear();
    scene.pod("talk-0", json!({"status": host}));
    scene.says("talk-0", 0, json!({}));
    assert!(scene.turn().1.is_empty());
}

/// Protects a change of exposure: pods from before keep their way in until they are replaced. Their
/// ports are none that a Service may have.
#[test]
fn a_pod_is_exposed_as_it_was_made() {
    let mut scene = Scene::new(json!({
        "exposure": {"type": "NodePort", "portRange": {"first": 30000, "last": 30099}},
        "announcedAddress": {"source": "NodeInternalIP"},
        "pool": {"spare": 0},
    }));
    for (name, exposure) in [("talk-0", "HostPort"), ("talk-1", "NodePort")] {
        let annotations = json!({"mafalda.dev/exposure": exposure});
        scene.pod(name, json!({"metadata": {"annotations": annotations}}));
        scene.says(name, 0, json!({}));
    }
    let jobs = words(&scene.turn().1);
    assert!(jobs.contains(&"expose talk-1".to_owned()), "{jobs:?}");
    assert!(!jobs.contains(&"expose talk-0".to_owned()), "{jobs:?}");
    // The node has no such address: who was told one before knows it.
    let observed = scene.observe();
    let known: Vec<bool> = observed.pods.iter().map(|pod| pod.address_known).collect();
    assert_eq!(known, [true, false]);
}

/// Protects calls from the cluster autoscaler and from `kubectl drain`: a pod says that it is in
/// use for as long as it is.
#[test]
fn a_pod_in_use_is_marked() {
    let mut scene = warm();
    scene.session("stage", "u", json!({}));
    let (_, jobs) = scene.turn();
    assert_eq!(words(&jobs), ["mark talk-0", "tell stage"]);
    let Job::MarkPod { patch, .. } = &jobs[0] else {
        panic!("{jobs:?}");
    };
    assert_eq!(patch["metadata"]["labels"]["mafalda.dev/occupied"], "true");
    let mut empty = Scene::simple();
    empty.cluster.spec.pool.spare = 0;
    let marked = json!({"metadata": {
        "labels": {"mafalda.dev/occupied": "true"},
        "annotations": {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"},
    }});
    empty.pod("talk-0", marked);
    empty.says("talk-0", 0, json!({}));
    let (_, jobs) = empty.turn();
    assert_eq!(words(&jobs), ["mark talk-0"]);
}

/// Protects who holds a token of a new key: a pod is touched when its Secrets have changed, so that
/// the kubelet brings them at once, and not when nothing is known of them.
#[test]
fn a_pod_gets_other_keys_at_once() {
    let marked = json!({"metadata": {"annotations": {"mafalda.dev/secrets": "old"}}});
    let mut scene = Scene::simple();
    scene.pod("talk-0", marked);
    scene.says("talk-0", 0, json!({}));
    for (secrets, due) in [("old", false), ("", false), ("new", true)] {
        scene.secrets = secrets;
        let (_, jobs) = scene.turn();
        assert_eq!(
            words(&jobs) == ["mark talk-0"],
            due,
            "{secrets:?}: {jobs:?}"
        );
        if let Some(Job::MarkPod { patch, .. }) = jobs.first() {
            assert_eq!(
                patch["metadata"]["annotations"]["mafalda.dev/secrets"],
                "new"
            );
        }
    }
}

/// Protects drains: the pod is told, and told otherwise, until it says so itself.
#[test]
fn a_pod_is_told_of_its_drain() {
    let mut scene = warm();
    scene.session("stage", "u", json!({}));
    scene.turn();
    let runs = json!([{"name": "stage", "generation": 1, "connections": 1}]);
    scene.says("talk-0", 0, json!({"sessions": runs}));
    scene.node(json!({"unschedulable": true}));
    let phase = |scene: &mut Scene| {
        let (_, jobs) = scene.turn();
        jobs.into_iter().find_map(|job| match job {
            Job::DrainPod { phase, .. } => Some(format!("{phase:?}")),
            _ => None,
        })
    };
    assert_eq!(phase(&mut scene).as_deref(), Some("Cordoned"));
    let cordoned = json!({"sessions": runs, "drain": {"phase": "cordoned"}});
    scene.says("talk-0", 0, cordoned.clone());
    assert_eq!(phase(&mut scene), None);
    scene.node(json!({}));
    assert_eq!(phase(&mut scene).as_deref(), Some("Active"));
}

#[test]
fn a_session_is_settled_once_and_again_when_somebody_changed_it() {
    let mut scene = warm();
    scene.session("stage", "u", json!({}));
    let decision = tell(&mut scene);
    let name = SessionName::from("stage");
    scene.book.told(&name, decision, NOW);
    let (_, jobs) = scene.turn();
    let Some(Job::Settle(settle)) = jobs.last() else {
        panic!("{jobs:?}");
    };
    assert_eq!(settle.pod, Some([10, 0, 0, 9].into()));
    let decided = settle.seat.decided;
    assert!(settle.access, "its Secret too");
    scene.book.settle(&name, decided, None, true, NOW);
    let settled = |scene: &mut Scene| {
        let (_, jobs) = scene.turn();
        !words(&jobs).contains(&"settle stage".to_owned())
    };
    // The echo of the status is not there yet.
    assert!(settled(&mut scene));
    scene.says(
        "talk-0",
        0,
        json!({"sessions": [{"name": "stage", "generation": 1}]}),
    );
    scene.session(
        "stage",
        "u",
        json!({"phase": "Active", "generation": 1, "homePod": "talk-0"}),
    );
    assert!(settled(&mut scene));
    scene.session("stage", "u", json!({"phase": "Pending", "generation": 9}));
    let before = NOW - Duration::from_secs(60);
    scene.book.settle(&name, 0, None, true, before);
    assert!(!settled(&mut scene));
}

/// A Session that has been Active on talk-0 for an hour, of that metadata.generation; its status is about
/// another, and says so many participants.
fn active(scene: &mut Scene, generation: i64, observed: i64, participants: Option<u64>) {
    let placed = json!({"type": "Placed", "status": "True", "reason": "Placed", "message": "",
        "lastTransitionTime": time(ago(3600))});
    let session = json!({
        "apiVersion": "mafalda.dev/v1alpha1", "kind": "Session",
        "metadata": {"name": "stage", "namespace": "here", "uid": "u", "generation": generation},
        "spec": {"clusterRef": {"name": "talk"}, "maxParticipants": 7},
        "status": {"phase": "Active", "generation": 1, "homePod": "talk-0",
            "observedGeneration": observed, "participants": participants, "conditions": [placed]},
    });
    scene.sessions = vec![std::sync::Arc::new(
        serde_json::from_value(session).unwrap(),
    )];
}

/// What talk-0 says of that Session.
fn has(scene: &mut Scene, limit: Option<u32>, participants: Option<u64>) {
    let said = json!([{"name": "stage", "generation": 1, "connections": 1,
        "maxParticipants": limit, "participants": participants}]);
    scene.says("talk-0", 0, json!({"sessions": said}));
}

fn settles(scene: &mut Scene) -> Option<(Option<u64>, bool)> {
    let (_, jobs) = scene.turn();
    jobs.into_iter().find_map(|job| match job {
        Job::Settle(settle) => Some((settle.participants, settle.access)),
        _ => None,
    })
}

/// Protects who waits for an edit to be seen, as `kubectl wait` and Argo do: the status says that it is
/// about the new spec, once, and without a new token.
#[test]
fn an_edit_of_the_spec_is_observed() {
    let mut scene = warm();
    has(&mut scene, Some(7), Some(3));
    active(&mut scene, 4, 4, Some(3));
    assert_eq!(settles(&mut scene), None);
    active(&mut scene, 5, 4, Some(3));
    assert_eq!(settles(&mut scene), Some((Some(3), false)));
    scene.book.settle(&"stage".into(), 0, Some(5), false, NOW);
    assert_eq!(settles(&mut scene), None, "its echo takes a moment");
    // A second edit does not wait for the echo of the first; what got lost is written again.
    active(&mut scene, 6, 4, Some(3));
    assert_eq!(settles(&mut scene), Some((Some(3), false)));
    let before = NOW - Duration::from_secs(10);
    scene
        .book
        .settle(&"stage".into(), 0, Some(6), false, before);
    assert!(settles(&mut scene).is_some());
    active(&mut scene, 6, 6, Some(3));
    assert_eq!(settles(&mut scene), None);
}

/// Protects etcd: who comes and goes is written every 30 s, and with whatever else is written.
#[test]
fn participants_are_written_seldom() {
    let mut scene = warm();
    has(&mut scene, Some(7), Some(3));
    active(&mut scene, 4, 4, Some(2));
    scene.turn();
    let settled = |scene: &mut Scene, seconds| {
        let at = NOW - Duration::from_secs(seconds);
        scene.book.settle(&"stage".into(), 0, Some(4), false, at);
        settles(scene)
    };
    assert_eq!(settled(&mut scene, 29), None);
    assert_eq!(settled(&mut scene, 30), Some((Some(3), false)));
    active(&mut scene, 4, 4, Some(3));
    assert_eq!(settled(&mut scene, 300), None, "it is written");
    // A pod that counts nobody, and one that was not heard, say nothing.
    has(&mut scene, None, None);
    assert_eq!(settled(&mut scene, 300), None);
}

/// Protects a session from more participants than its Session allows now: the home is told of an edit,
/// until it says that it knows.
#[test]
fn a_home_is_told_of_another_limit() {
    let mut scene = warm();
    active(&mut scene, 4, 4, Some(3));
    let told = |scene: &mut Scene, limit, participants| {
        has(scene, limit, participants);
        let (_, jobs) = scene.turn();
        jobs.into_iter().find_map(|job| match job {
            Job::Lend {
                max_participants,
                lenders,
                ..
            } => Some((max_participants, lenders.len())),
            _ => None,
        })
    };
    assert_eq!(told(&mut scene, Some(7), Some(3)), None);
    assert_eq!(told(&mut scene, Some(5), Some(3)), Some((7, 0)));
    assert_eq!(told(&mut scene, None, Some(3)), Some((7, 0)));
    assert_eq!(told(&mut scene, None, None), None, "it knows of no limits");
}

/// Protects the next placement: a pod that refuses is not asked for ever.
#[test]
fn a_session_that_was_refused_is_placed_anew() {
    let mut scene = warm();
    scene.session("stage", "u", json!({}));
    let decision = tell(&mut scene);
    scene.book.unseat(&"stage".into(), decision, NOW);
    let (actions, _) = scene.turn();
    assert!(
        format!("{actions:?}").contains("Generation(2)"),
        "{actions:?}"
    );
}

/// Protects applications from keys that changed while nobody looked: the Secret of each is made from those
/// that are in use, be it that the replica that was to write it has ended.
#[test]
fn a_secret_of_other_keys_is_written_again() {
    for (made_from, now, is_due) in [
        (json!("old"), Some("new"), true),
        (json!("new"), Some("new"), false),
        (json!(null), Some("new"), true),
        (json!("old"), None, false),
    ] {
        let mut scene = warm();
        let placed = json!({"type": "Placed", "status": "True", "reason": "Placed", "message": "",
            "lastTransitionTime": time(ago(60))});
        let status = json!({"phase": "Active", "generation": 1, "homePod": "talk-0",
            "accessFrom": made_from, "conditions": [placed]});
        scene.session("stage", "u", status);
        let runs = json!({"sessions": [{"name": "stage", "generation": 1}]});
        scene.says("talk-0", 0, runs);
        scene.turn();
        scene.now += Duration::from_secs(6);
        scene.heard.get_mut("talk-0").unwrap().last_seen = scene.now;
        scene.access_from = now;
        let (_, jobs) = scene.turn();
        let access = jobs.iter().find_map(|job| match job {
            Job::Settle(settle) => Some(settle.access),
            _ => None,
        });
        let expected = is_due.then_some(true);
        assert_eq!(access, expected, "made from {made_from}, now {now:?}");
    }
}

#[test]
fn a_token_is_written_again_in_time() {
    let mut scene = warm();
    let days = |days: u64| ago(days * 24 * 60 * 60);
    for (age, is_due) in [(14, false), (16, true)] {
        let placed = json!({"type": "Placed", "status": "True", "reason": "Placed", "message": "",
            "lastTransitionTime": time(days(age))});
        let status = json!({"phase": "Active", "generation": 1, "homePod": "talk-0",
            "conditions": [placed]});
        let uid = format!("u{age}");
        scene.book.seats.clear();
        scene.session("stage", &uid, status);
        scene.says(
            "talk-0",
            0,
            json!({"sessions": [{"name": "stage", "generation": 1}]}),
        );
        let (_, jobs) = scene.turn();
        let written = words(&jobs).contains(&"settle stage".to_owned());
        assert_eq!(written, is_due, "{age} days");
    }
}

/// Protects generations: a pod that lost a session is not given the same generation again, as its
/// application would take what began anew for what it knew.
#[test]
fn a_pod_is_told_of_a_placement_once() {
    let mut scene = warm();
    scene.session("stage", "u", json!({}));
    let decision = tell(&mut scene);
    scene.book.told(&"stage".into(), decision, NOW);
    let (_, jobs) = scene.turn();
    assert_eq!(
        words(&jobs).last().map(String::as_str),
        Some("settle stage")
    );
}

/// Protects a busy cluster from itself: a pod that waits for its turn to be told of a session does
/// not miss it. One that was told and does not run it has lost it.
#[test]
fn a_pod_misses_only_what_it_was_told() {
    let mut scene = warm();
    scene.session("stage", "u", json!({}));
    let decision = tell(&mut scene);
    let wait = |scene: &mut Scene| {
        scene.now += Duration::from_secs(10);
        scene.heard.get_mut("talk-0").unwrap().last_seen = scene.now;
        let (actions, _) = scene.turn();
        format!("{actions:?}")
    };
    assert!(!wait(&mut scene).contains("SessionMissing"));
    let now = scene.now;
    scene.book.told(&"stage".into(), decision, now);
    assert!(wait(&mut scene).contains("SessionMissing"));
}

/// Has a turn in which the pod is to be told of the session. The decision that it is about.
fn tell(scene: &mut Scene) -> u32 {
    let (_, jobs) = scene.turn();
    match jobs.last() {
        Some(Job::Tell {
            decision,
            max_participants,
            ..
        }) => {
            assert_eq!(*max_participants, 1000, "the Session's own limit");
            *decision
        }
        _ => panic!("{jobs:?}"),
    }
}
