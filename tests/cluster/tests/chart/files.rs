//! Files of the chart that say what others say too.

use std::path::{Path, PathBuf};

/// The repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Protects clusters from definitions that are not the operator's.
#[test]
fn the_charts_definitions_are_those_of_the_operator() {
    for name in ["mafaldaclusters.yaml", "sessions.yaml"] {
        let (made, shipped) = (
            read(&format!("crds/{name}")),
            read(&format!("helm/mafalda/crds/{name}")),
        );
        assert!(made == shipped, "cp crds/{name} helm/mafalda/crds/{name}");
    }
}

/// Protects who tries kind from media ports that lead nowhere.
#[test]
fn kind_opens_the_ports_that_its_values_say() {
    let (config, values) = (
        read("kind-config.yaml"),
        read("examples/kubernetes/kind-values.yaml"),
    );
    assert!(values.contains("{first: 40000, last: 40007}"), "{values}");
    for port in 40_000..=40_007 {
        for protocol in ["UDP", "TCP"] {
            let mapped = format!(
                "containerPort: {port}, hostPort: {port}, listenAddress: 127.0.0.1, protocol: {protocol}}}"
            );
            assert!(config.contains(&mapped), "{mapped}");
        }
    }
}

/// Protects who types what `helm install` says: each command is whole, and none has something to be
/// filled in.
#[test]
fn the_notes_have_commands_that_can_be_typed() {
    let notes = read("helm/mafalda/templates/NOTES.txt");
    assert!(!notes.contains('…') && !notes.contains("..."), "{notes}");
    let commands = notes.lines().filter(|line| {
        let line = line.trim();
        line.starts_with("{{ $kubectl }}")
            || line.starts_with("helm ")
            || line.starts_with("kubectl ")
    });
    let commands: Vec<&str> = commands.collect();
    assert!(commands.len() >= 6, "{commands:?}");
    for command in commands {
        let says_where = command.contains("$kubectl") || command.contains("Release.Namespace");
        assert!(says_where || command.contains("explain"), "{command}");
    }
}
