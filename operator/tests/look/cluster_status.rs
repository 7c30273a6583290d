//! What the cluster's conditions say.

use crate::fixtures::Scene;
use serde_json::json;

fn said(scene: &mut Scene, of: &str, trouble: Option<&str>) -> (String, String) {
    scene.conditions(trouble)[of].clone()
}

fn is(status: &str, reason: &str) -> (String, String) {
    (status.to_owned(), reason.to_owned())
}

/// Protects who asks "is it well?": the condition says so, and else why not.
#[test]
fn ready_says_whether_sessions_are_placed() {
    let mut empty = Scene::simple();
    empty.cluster.spec.pool.min = 0;
    empty.cluster.spec.pool.spare = 0;
    assert_eq!(said(&mut empty, "Ready", None), is("False", "NoPods"));

    let mut starts = Scene::simple();
    assert_eq!(
        said(&mut starts, "Ready", None),
        is("False", "PodsStarting")
    );
    assert_eq!(
        said(&mut starts, "Progressing", None),
        is("True", "PodsStarting")
    );

    let mut well = Scene::simple();
    well.cluster.spec.pool.spare = 0;
    well.pod("talk-0", json!({}));
    well.says("talk-0", 0, json!({}));
    assert_eq!(said(&mut well, "Ready", None), is("True", "PodsReady"));
    assert_eq!(said(&mut well, "Progressing", None), is("False", "Settled"));
    assert_eq!(
        said(&mut well, "AddressResolved", None),
        is("True", "Resolved")
    );
    let trouble = Some("no key");
    assert_eq!(
        said(&mut well, "Ready", trouble),
        is("False", "OperatorFailed")
    );

    let mut unknown = Scene::new(json!({}));
    unknown.pod("talk-0", json!({"status": {"containerStatuses": null}}));
    assert_eq!(
        said(&mut unknown, "Ready", None),
        is("False", "AddressUnknown")
    );
    assert_eq!(
        said(&mut unknown, "AddressResolved", None),
        is("False", "AddressUnknown")
    );
}

/// Protects who waits for an edit of the cluster to be seen, and the page that sums its sessions up.
#[test]
fn a_status_is_about_the_spec_that_is_there_and_sums_up_what_pods_say() {
    let mut scene = Scene::simple();
    for (pod, participants) in [("talk-0", [3, 4]), ("talk-1", [0, 5])] {
        scene.pod(pod, json!({}));
        let said = participants.map(|count| json!({"name": pod, "participants": count}));
        scene.says(pod, 0, json!({"sessions": said}));
    }
    let status = scene.status(None);
    assert_eq!(status.participants, Some(12));
    assert_eq!(status.utilization, Some(25));
    assert_eq!(status.observed_generation, Some(3));
    scene.cluster.metadata.generation = Some(4);
    scene.cluster.status = Some(status);
    let status = scene.status(None);
    assert_eq!(status.observed_generation, Some(4));
    let about = status.conditions.iter().map(|c| c.observed_generation);
    assert!(about.into_iter().all(|about| about == Some(4)));
}

#[test]
fn saturated_says_that_the_pool_is_too_small() {
    let mut scene = Scene::simple();
    scene.cluster.spec.pool.max = 1;
    scene.cluster.spec.pool.spare = 0;
    scene.pod("talk-0", json!({}));
    let busy = json!([{"state": "busy", "cpu": 1.0}, {"state": "busy", "cpu": 1.0}]);
    scene.says(
        "talk-0",
        0,
        json!({"workers": busy, "connections": {"attached": 1}}),
    );
    assert_eq!(said(&mut scene, "Saturated", None), is("False", "RoomLeft"));
    scene.session("stage", "u", json!({}));
    assert_eq!(
        said(&mut scene, "Saturated", None),
        is("True", "PoolAtMaximum")
    );
}
