//! helm, as tests/cluster/build made it.

use crate::files::root;
use std::path::PathBuf;
use std::process::{Command, Output};

/// The folder of the cluster's programs.
pub fn programs() -> PathBuf {
    let output = Command::new(root().join("tests/cluster/build"))
        .arg("path")
        .output()
        .unwrap();
    let path = String::from_utf8(output.stdout).unwrap();
    PathBuf::from(path.trim()).join("bin")
}

/// The chart's folder.
pub fn chart() -> String {
    root().join("helm/mafalda").display().to_string()
}

/// helm without a cluster: what it printed, or what it complained of.
pub fn helm(arguments: &[&str]) -> Result<String, String> {
    let output: Output = Command::new(programs().join("helm"))
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    if output.status.success() {
        Ok(text(output.stdout))
    } else {
        Err(text(output.stderr))
    }
}

/// The manifests that the chart makes with these settings.
pub fn template(settings: &[&str]) -> Result<String, String> {
    let chart = chart();
    let mut arguments = vec!["template", "mafalda", &chart, "--namespace", "media"];
    // A helm that was built without a version takes Kubernetes to be an old one.
    arguments.extend(["--kube-version", "1.34.0"]);
    for setting in settings {
        arguments.extend(["--set", setting]);
    }
    helm(&arguments)
}

/// How many manifests of a kind there are.
pub fn count(manifests: &str, kind: &str) -> usize {
    let line = format!("kind: {kind}");
    manifests.lines().filter(|found| **found == line).count()
}
