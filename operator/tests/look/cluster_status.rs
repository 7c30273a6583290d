//! What the cluster's conditions say.

use crate::fixtures::Scene;
use mafalda_operator::book::Book;
use mafalda_operator::cluster::jobs::Job;
use mafalda_operator::cluster::refusals::What;
use serde_json::json;
use std::time::Duration;

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

/// Protects who asks why there is no pod: what the API server refuses is said until it works.
#[test]
fn what_the_api_server_refuses_is_said() {
    let quota = "pods \"talk-0\" is forbidden: exceeded quota: compute";
    let mut scene = Scene::simple();
    scene.turn();
    scene.refused.note(What::Pod, "talk-0", Some(quota));
    assert_eq!(said(&mut scene, "Ready", None), is("False", "PodRefused"));
    assert_eq!(
        said(&mut scene, "Progressing", None),
        is("True", "PodRefused")
    );
    scene.refused.note(What::Pod, "talk-0", None);
    assert_eq!(said(&mut scene, "Ready", None), is("False", "PodsStarting"));

    let mut well = Scene::simple();
    well.cluster.spec.pool.spare = 0;
    well.pod("talk-0", json!({}));
    well.says("talk-0", 0, json!({}));
    well.refused.note(What::Session, "stage", Some("no"));
    assert_eq!(said(&mut well, "Ready", None), is("True", "PodsReady"));
    assert_eq!(
        said(&mut well, "Progressing", None),
        is("True", "SessionRefused")
    );
}

/// Protects clients: a pod whose Service is refused takes no session, and the condition says why.
#[test]
fn a_node_port_without_its_service_fails_closed() {
    let mut scene = Scene::new(json!({
        "workersPerPod": 2,
        "exposure": {"type": "NodePort", "portRange": {"first": 30000, "last": 30099}},
        "announcedAddress": {"source": "Fixed", "addresses": ["192.0.2.1"]},
        "pool": {"spare": 0},
    }));
    let ports = json!({"mafalda.dev/rtc-port": "30000", "mafalda.dev/exposure": "NodePort"});
    scene.pod("talk-0", json!({"metadata": {"annotations": ports}}));
    scene.says("talk-0", 0, json!({}));
    let is_known = |scene: &mut Scene| scene.observe().pods[0].address_known;
    assert!(!is_known(&mut scene));
    assert_eq!(
        said(&mut scene, "AddressResolved", None),
        is("Unknown", "Pending")
    );
    let taken = "spec.ports[0].nodePort: provided port is already allocated";
    scene.refused.note(What::Service, "talk-0", Some(taken));
    assert!(!is_known(&mut scene));
    assert_eq!(
        said(&mut scene, "Ready", None),
        is("False", "ServiceRefused")
    );
    assert_eq!(
        said(&mut scene, "AddressResolved", None),
        is("False", "AddressUnknown")
    );
    scene.refused.note(What::Service, "talk-0", None);
    scene.service("talk-0", json!([{"port": 30000, "nodePort": 30000}]));
    assert!(is_known(&mut scene));
    assert_eq!(said(&mut scene, "Ready", None), is("True", "PodsReady"));
}

/// A pool by NodePort with room for two pods of two workers, which are well.
fn with_all_ports_used(min: u32, max: u32) -> Scene {
    let mut scene = Scene::new(json!({
        "workersPerPod": 2,
        "exposure": {"type": "NodePort", "portRange": {"first": 30000, "last": 30003}},
        "announcedAddress": {"source": "Fixed", "addresses": ["192.0.2.1"]},
        "pool": {"min": min, "max": max, "spare": 0},
    }));
    for (name, port) in [("talk-0", 30_000), ("talk-1", 30_002)] {
        let annotations = json!({
            "mafalda.dev/rtc-port": port.to_string(),
            "mafalda.dev/exposure": "NodePort",
        });
        scene.pod(name, json!({"metadata": {"annotations": annotations}}));
        scene.says(name, 0, json!({}));
        scene.service(name, json!([{"port": port, "nodePort": port}]));
    }
    scene
}

fn new_ports(jobs: &[Job]) -> Vec<u16> {
    let port = |job: &Job| match job {
        Job::CreatePod { rtc_port, .. } => Some(*rtc_port),
        _ => None,
    };
    jobs.iter().filter_map(port).collect()
}

/// Protects who gave a pool too few ports: it is said, and no more pods are made up however long it
/// takes.
#[test]
fn a_pool_without_ports_says_so() {
    let mut scene = with_all_ports_used(3, 5);
    assert!(new_ports(&scene.turn().1).is_empty());
    assert_eq!(said(&mut scene, "Ready", None), is("True", "PodsReady"));
    assert_eq!(
        said(&mut scene, "Progressing", None),
        is("True", "PortsExhausted")
    );
    scene.now += Duration::from_secs(3600);
    for heard in scene.heard.values_mut() {
        heard.last_seen = scene.now;
    }
    assert!(new_ports(&scene.turn().1).is_empty());
    let pods = scene.observe().pods;
    let waiting: Vec<bool> = pods.iter().map(|pod| pod.unschedulable).collect();
    assert_eq!(waiting, [false, false, true]);
    scene.cluster.spec.exposure.port_range.last = 30_005;
    assert_eq!(new_ports(&scene.turn().1), [30_004_u16]);

    let mut small = Scene::simple();
    small.cluster.spec.workers_per_pod = None;
    small.cluster.spec.exposure.port_range.last = 40_002;
    small.turn();
    assert_eq!(
        said(&mut small, "Ready", None),
        is("False", "PortsExhausted")
    );
}

/// Protects an upgrade of a pool that uses all its ports: a pod gives way to its successor.
#[test]
fn an_upgrade_without_ports_to_spare_goes_on() {
    let mut scene = with_all_ports_used(2, 2);
    assert!(scene.turn().0.is_empty());
    scene.cluster.spec.pod_template.image = Some("image:2".to_owned());
    scene.turn();
    let (actions, jobs) = scene.turn();
    assert!(new_ports(&jobs).is_empty());
    let actions = format!("{actions:?}");
    assert!(actions.contains("CordonPod"), "{actions}");
}

/// Protects other clusters' Services, and pods from being made with ports that they cannot have.
#[test]
fn node_ports_of_others_are_left_to_them() {
    let mut scene = with_all_ports_used(1, 2);
    scene.pods.clear();
    scene.heard.clear();
    scene.node_ports = vec![30_000];
    assert_eq!(new_ports(&scene.turn().1), [30_002_u16]);
    scene.book = Book::new(scene.now);
    scene.node_ports = vec![30_000, 30_002];
    assert!(new_ports(&scene.turn().1).is_empty());
    scene.node_ports.clear();
    assert_eq!(
        new_ports(&scene.turn().1),
        [30_000_u16],
        "as soon as there are some"
    );
}

/// Protects calls at a change of the operator: who has not heard all pods yet does not know what they
/// carry.
#[test]
fn an_operator_that_has_just_begun_hears_its_pods_first() {
    let mut scene = Scene::simple();
    scene.pod("talk-0", json!({}));
    scene.pod("talk-1", json!({}));
    scene.says("talk-0", 0, json!({}));
    assert!(scene.is_early(), "talk-1 is not heard");
    scene.refusing.insert("talk-1".to_owned());
    assert!(!scene.is_early(), "its host says that nobody is there");
    scene.refusing.clear();
    scene.now += Duration::from_secs(4);
    assert!(!scene.is_early(), "it had its time");
    scene.now -= Duration::from_secs(4);
    scene.says("talk-1", 0, json!({}));
    assert!(!scene.is_early());
}
