//! A life with the chart: installed, used, upgraded, gone.

use crate::files::root;
use crate::helm::chart;
use crate::release::Release;
use mafalda_e2e::apply_crds;
use mafalda_operator::crd::Change;
use std::time::{Duration, Instant};

/// What goes on for everybody from `helm install` on.
const READY: Duration = Duration::from_secs(30);

/// Protects what the README promises of a cluster: installed within half a minute, a session within
/// a moment; an upgrade ends no session and brings the definitions along; uninstalling leaves what is
/// the user's, and that alone.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn the_chart_is_installed_used_upgraded_and_uninstalled() {
    let it = Release::new("media");
    it.load_own_images();
    let chart = chart();
    let internal = "cluster.spec.announcedAddress.source=NodeInternalIP";

    let begun = Instant::now();
    let notes = it.helm(&[
        "install",
        "mafalda",
        &chart,
        "--create-namespace",
        "--set",
        internal,
        "--wait",
    ]);
    for said in [
        "kubectl -n media wait --for=condition=Ready mafaldacluster/mafalda",
        "kubectl -n media get secret stage-access",
        "helm -n media test mafalda",
    ] {
        assert!(notes.contains(said), "{said}: {notes}");
    }
    assert!(!notes.contains("{{") && !notes.contains('…'), "{notes}");
    it.wait_ready("mafaldacluster/mafalda");
    let took = begun.elapsed();
    assert!(took < READY, "ready after {took:?}");
    println!("helm install until the first media pod is ready: {took:.1?}");

    let session = root()
        .join("examples/kubernetes/session.yaml")
        .display()
        .to_string();
    let begun = Instant::now();
    it.kubectl(&["apply", "-f", &session]);
    it.wait_ready("session/stage");
    println!(
        "kubectl apply until Active, with kubectl's own time: {:.1?}",
        begun.elapsed()
    );
    let said = it.helm(&["test", "mafalda"]);
    assert!(said.contains("Succeeded"), "helm test: {said}");

    let home = [
        "get",
        "session",
        "stage",
        "-o",
        "jsonpath={.status.homePod}/{.status.generation}",
    ];
    let before = it.kubectl(&home);
    // As an older release left it.
    let older = r#"[{"op": "remove", "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/placement"}]"#;
    it.kubectl(&[
        "patch",
        "crd",
        "sessions.mafalda.dev",
        "--type=json",
        "-p",
        older,
    ]);
    let more = "cluster.spec.pool.max=4,networkPolicy.enabled=true,dashboard.enabled=true";
    it.helm(&[
        "upgrade",
        "mafalda",
        &chart,
        "--reuse-values",
        "--set",
        more,
        "--wait",
    ]);
    let schema = it.kubectl(&[
        "get",
        "crd",
        "sessions.mafalda.dev",
        "-o",
        "jsonpath={..properties.spec.properties.placement.type}",
    ]);
    assert_eq!(schema, "object", "the upgrade brought the definition");
    let again = it.cluster.run(async |client| apply_crds(&client).await);
    for (name, change) in again.unwrap().unwrap() {
        assert_eq!(change, Change::Unchanged, "{name}: applied once more");
    }
    assert_eq!(it.kubectl(&home), before, "the session stayed where it was");
    assert_eq!(
        it.kubectl(&[
            "get",
            "mafaldacluster",
            "mafalda",
            "-o",
            "jsonpath={.spec.pool.max}"
        ]),
        "4"
    );
    assert!(it.forbidden().is_empty(), "{:?}", it.forbidden());

    it.kubectl(&["delete", "session", "stage"]);
    it.helm(&["uninstall", "mafalda", "--wait"]);
    it.kubectl(&["wait", "--for=delete", "pod", "--all", "--timeout=60s"]);
    let kinds = "deployment,service,lease,poddisruptionbudget,networkpolicy,role,rolebinding,mafaldacluster,session";
    assert_eq!(it.kubectl(&["get", kinds, "-o", "name"]), "");
    // The garbage collector takes a moment.
    it.kubectl(&["wait", "--for=delete", "secret", "--all", "--timeout=60s"]);
    let wide = it.kubectl(&["get", "clusterrole,clusterrolebinding", "-o", "name"]);
    assert!(!wide.contains("mafalda"), "{wide}");
    let definitions = it.kubectl(&["get", "crd", "-o", "name"]);
    assert!(
        definitions.contains("sessions.mafalda.dev"),
        "the definitions, and so Sessions, stay"
    );
}
