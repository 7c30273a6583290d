//! `scripts/kind`, from its images to the conference: all but what docker does.

use crate::monitoring::get;
use crate::release::{Release, script};
use serde_json::Value;
use std::net::SocketAddr;

/// Where kind-config.yaml leads http://localhost:3000.
const PAGE: u16 = 30_300;

/// Protects who types `make kind`: the steps after `kind create` end with the conference's page on
/// the port that kind leads to the machine, on a session that is served.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn the_steps_that_need_no_docker_end_with_a_conference() {
    let it = Release::new("mafalda");
    let target = tempfile::tempdir().unwrap();
    script("scripts/kind", &["images"], target.path());
    // In the place of `kind load`.
    let images = ["mafalda", "mafalda-operator", "mafalda-conference"];
    it.load(target.path(), &images);
    script("scripts/kind", &["install", "apply"], target.path());
    // Twice is once: who types it again changes nothing.
    script("scripts/kind", &["install", "apply"], target.path());

    assert_eq!(it.get(&["session", "stage"])["status"]["phase"], "Active");
    let conference = it.get(&["pod", "--selector=app.kubernetes.io/name=conference"]);
    let [pod] = conference["items"].as_array().unwrap().as_slice() else {
        panic!("not one pod: {conference}");
    };
    assert_eq!(restarts(pod), 0, "{pod}");
    let node = pod["status"]["hostIP"].as_str().unwrap();
    let page = SocketAddr::new(node.parse().unwrap(), PAGE);
    let got = it.cluster.run(async |_| get(page, "/", None).await);
    let got = got.unwrap().unwrap();
    assert!(got.contains("<html"), "{got}");
    it.kubectl(&["delete", "session", "stage"]);
}

fn restarts(pod: &Value) -> u64 {
    let containers = pod["status"]["containerStatuses"].as_array().unwrap();
    let counts = containers.iter().map(|one| one["restartCount"].as_u64());
    counts.map(Option::unwrap).sum()
}
