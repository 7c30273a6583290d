//! A life with the chart: installed, used, upgraded, gone.

use crate::files::root;
use crate::helm::{chart, programs};
use mafalda_e2e::Cluster;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// What goes on for everybody from `helm install` on.
const READY: Duration = Duration::from_secs(30);

/// Runs a script of the repository.
fn script(path: &str, arguments: &[&str], target: &Path) {
    let output = Command::new(root().join(path))
        .args(arguments)
        .env("CARGO_TARGET_DIR", target)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{path}: {said}");
}

/// Makes the images and brings them to the nodes: Mafalda's, and one with kubectl, as the registry's.
fn load_images(cluster: &Cluster) {
    let folder = tempfile::tempdir().unwrap();
    let test = std::env::current_exe().unwrap();
    let built = std::env::var("MAFALDA_PROGRAMS")
        .unwrap_or_else(|_| test.ancestors().nth(2).unwrap().display().to_string());
    script("scripts/images", &[&built], folder.path());
    let kubectl = folder
        .path()
        .join("images/kubectl.tar")
        .display()
        .to_string();
    let program = programs().join("kubernetes").display().to_string();
    let arguments = [
        "registry.k8s.io/kubectl:v1.34.1",
        &kubectl,
        r#"["/bin/kubectl"]"#,
        &format!("{program}=/bin/kubectl"),
    ];
    script("tests/cluster/image", &arguments, folder.path());
    for name in ["mafalda", "mafalda-operator", "kubectl"] {
        let archive = folder.path().join(format!("images/{name}.tar"));
        cluster
            .script(&["load-image", &archive.display().to_string()])
            .unwrap();
    }
}

struct Installed(Cluster);

impl Installed {
    fn helm(&self, arguments: &[&str]) -> String {
        let helm = programs().join("helm").display().to_string();
        let verb = ["exec", &helm, "--namespace", "media"];
        self.0.script(&[&verb, arguments].concat()).unwrap()
    }

    fn kubectl(&self, arguments: &[&str]) -> String {
        let verb = ["--namespace", "media"];
        self.0.kubectl(&[&verb, arguments].concat()).unwrap()
    }

    fn wait_ready(&self, what: &str) {
        self.kubectl(&["wait", "--for=condition=Ready", what, "--timeout=60s"]);
    }

    /// What the operators said that the API server forbade.
    fn forbidden(&self) -> Vec<String> {
        let log = self.kubectl(&["logs", "deployment/mafalda-operator", "--all-pods"]);
        let lines = log.lines().filter(|line| line.contains("orbidden"));
        lines.map(str::to_owned).collect()
    }
}

/// Protects what the README promises of a cluster: installed within half a minute, a session within
/// a moment; an upgrade ends no session and brings the definitions along; uninstalling leaves what is
/// the user's, and that alone.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn the_chart_is_installed_used_upgraded_and_uninstalled() {
    let cluster = Cluster::start(1).unwrap();
    load_images(&cluster);
    let it = Installed(cluster);
    let chart = chart();
    let internal = "cluster.spec.announcedAddress.source=NodeInternalIP";

    let begun = Instant::now();
    it.helm(&[
        "install",
        "mafalda",
        &chart,
        "--create-namespace",
        "--set",
        internal,
        "--wait",
    ]);
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
    it.helm(&["test", "mafalda"]);

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
