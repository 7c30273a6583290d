//! A release of the chart on a cluster of one node.

use crate::files::root;
use crate::helm::programs;
use mafalda_e2e::Cluster;
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

static CLUSTER: LazyLock<Cluster> = LazyLock::new(|| Cluster::start(1).unwrap());

/// Tests have the cluster for themselves, one after the other.
static TURN: Mutex<()> = Mutex::new(());

/// A namespace for one release, which is uninstalled when this is dropped.
pub struct Release {
    pub cluster: &'static Cluster,
    namespace: &'static str,
    _turn: MutexGuard<'static, ()>,
}

/// The folder of the built programs.
fn built() -> String {
    let test = std::env::current_exe().unwrap();
    std::env::var("MAFALDA_PROGRAMS")
        .unwrap_or_else(|_| test.ancestors().nth(2).unwrap().display().to_string())
}

/// Runs a script of the repository, with a target folder that has the built programs and nothing
/// else, and on the cluster what it runs with `MAFALDA_RUN`. What it printed.
pub fn script(path: &str, arguments: &[&str], target: &Path) -> String {
    let release = target.join("release");
    if !release.exists() {
        std::os::unix::fs::symlink(built(), &release).unwrap();
    }
    let run = format!("{} exec", root().join("tests/cluster/cluster").display());
    let output = Command::new(root().join(path))
        .args(arguments)
        .env("CARGO_TARGET_DIR", target)
        .env("MAFALDA_RUN", run)
        .env("MAFALDA_CLUSTER", CLUSTER.name())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{path}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

impl Release {
    /// Where nothing is yet.
    pub fn new(namespace: &'static str) -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        Self {
            cluster: &CLUSTER,
            namespace,
            _turn: turn,
        }
    }

    /// Brings images to the node, from the archives in `images/` of a target folder.
    pub fn load(&self, target: &Path, images: &[&str]) {
        for image in images {
            let archive = target.join(format!("images/{image}.tar"));
            self.cluster
                .script(&["load-image", &archive.display().to_string()])
                .unwrap();
        }
    }

    /// Makes the images of operator and media pod, and brings them to the node.
    pub fn load_own_images(&self) {
        let target = tempfile::tempdir().unwrap();
        script("scripts/images", &[], target.path());
        self.load(target.path(), &["mafalda", "mafalda-operator"]);
    }

    /// helm in the namespace: what it printed.
    pub fn helm(&self, arguments: &[&str]) -> String {
        self.try_helm(arguments).unwrap()
    }

    fn try_helm(&self, arguments: &[&str]) -> Result<String, mafalda_e2e::Error> {
        let helm = programs().join("helm").display().to_string();
        let verb = ["exec", &helm, "--namespace", self.namespace];
        self.cluster.script(&[&verb, arguments].concat())
    }

    /// kubectl in the namespace: what it printed.
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        let verb = ["--namespace", self.namespace];
        self.cluster.kubectl(&[&verb, arguments].concat()).unwrap()
    }

    /// `kubectl get … -o json`.
    pub fn get(&self, arguments: &[&str]) -> Value {
        let said = self.kubectl(&[&["get"], arguments, &["-o", "json"]].concat());
        serde_json::from_str(&said).unwrap()
    }

    pub fn wait_ready(&self, what: &str) {
        self.kubectl(&["wait", "--for=condition=Ready", what, "--timeout=60s"]);
    }

    /// What the operators said that the API server forbade.
    pub fn forbidden(&self) -> Vec<String> {
        let log = self.kubectl(&["logs", "deployment/mafalda-operator", "--all-pods"]);
        let lines = log.lines().filter(|line| line.contains("orbidden"));
        lines.map(str::to_owned).collect()
    }
}

/// After a test that failed too: the next one could install no second operator.
impl Drop for Release {
    fn drop(&mut self) {
        let gone = self.try_helm(&["uninstall", "mafalda", "--ignore-not-found", "--wait"]);
        let namespace = ["delete", "namespace", self.namespace, "--ignore-not-found"];
        for failed in [gone, self.cluster.kubectl(&namespace)] {
            if let Err(error) = failed {
                eprintln!("{error}");
            }
        }
    }
}
