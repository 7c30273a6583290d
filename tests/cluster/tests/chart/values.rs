//! What the chart makes of its values.

use crate::helm::{chart, count, helm, template};

/// Each option as it is by default and the other way round, with the manifests that it adds.
const OPTIONS: [(&str, &str, &str, usize); 12] = [
    ("cluster.enabled", "false", "MafaldaCluster", 0),
    ("cluster.enabled", "true", "MafaldaCluster", 1),
    ("serviceAccount.create", "false", "ServiceAccount", 2),
    ("rbac.create", "false", "ClusterRole", 1),
    ("crds.upgrade", "false", "Job", 0),
    (
        "operator.podDisruptionBudget",
        "false",
        "PodDisruptionBudget",
        0,
    ),
    ("operator.replicas", "1", "PodDisruptionBudget", 0),
    ("operator.watchNamespace", "calls", "Role", 3),
    ("networkPolicy.enabled", "true", "NetworkPolicy", 2),
    ("serviceMonitor.enabled", "true", "ServiceMonitor", 1),
    ("podMonitor.enabled", "true", "PodMonitor", 1),
    ("dashboard.enabled", "true", "ConfigMap", 1),
];

#[test]
#[ignore = "needs helm: make test-cluster"]
fn each_option_does_what_it_says() {
    for (option, value, kind, wanted) in OPTIONS {
        let setting = format!("{option}={value}");
        let made = template(&[&setting]).unwrap();
        assert_eq!(count(&made, kind), wanted, "{setting}: {kind}");
        helm(&["lint", "--strict", &chart(), "--set", &setting]).unwrap();
    }
}

#[test]
#[ignore = "needs helm: make test-cluster"]
fn all_options_go_together() {
    let all: Vec<String> = OPTIONS[1..]
        .iter()
        .map(|(option, value, _, _)| format!("{option}={value}"))
        .collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let made = template(&all).unwrap();
    assert_eq!(count(&made, "Deployment"), 1);
}

/// Protects from a setting that is spelt wrong and does nothing, and from values that the cluster
/// refuses later: the message names the field.
#[test]
#[ignore = "needs helm: make test-cluster"]
fn wrong_values_are_refused_with_their_name() {
    for (setting, named) in [
        ("operator.replica=3", "'replica'"),
        ("operator.replicas=many", "/operator/replicas"),
        ("operator.replicas=-1", "/operator/replicas"),
        ("operator.requests=0", "/operator/requests"),
        ("operator.watchNamespace=Calls", "/operator/watchNamespace"),
        ("operator.resources.limit.cpu=1", "'limit'"),
        ("image.pullPolicy=Sometimes", "/image/pullPolicy"),
        ("image.tag=a b", "/image/tag"),
        ("cluster.name=Stage", "/cluster/name"),
        ("cluster.spec.pools.min=1", "'pools'"),
        ("cluster.spec.pool.max=0", "/cluster/spec/pool/max"),
        (
            "cluster.spec.exposure.type=Hostport",
            "/cluster/spec/exposure/type",
        ),
        (
            "cluster.spec.exposure.portRange.first=80",
            "/cluster/spec/exposure/portRange/first",
        ),
        (
            "cluster.spec.announcedAddress.source=Guess",
            "/cluster/spec/announcedAddress/source",
        ),
        (
            "cluster.spec.watermarkPercent=100",
            "/cluster/spec/watermarkPercent",
        ),
        ("networkPolicy.enabled=maybe", "/networkPolicy/enabled"),
        ("serviceMonitor.interval=often", "/serviceMonitor/interval"),
        ("grafana=true", "'grafana'"),
    ] {
        match template(&[setting]) {
            Err(said) => assert!(said.contains(named), "{setting}: {said}"),
            Ok(_) => panic!("{setting} was taken"),
        }
    }
}

/// Protects the cluster from an operator that may do more than it does.
#[test]
#[ignore = "needs helm: make test-cluster"]
fn the_operator_runs_as_nobody_and_may_little() {
    let made = template(&["crds.upgrade=false"]).unwrap();
    for wanted in [
        "runAsNonRoot: true",
        "readOnlyRootFilesystem: true",
        "allowPrivilegeEscalation: false",
        "drop: [ALL]",
        "type: RuntimeDefault",
    ] {
        assert!(made.contains(wanted), "{wanted}");
    }
    assert!(!made.contains('*'), "no rule is for all of something");
    let one = template(&["crds.upgrade=false", "operator.watchNamespace=calls"]).unwrap();
    let wide = one.split("---").find(|one| count(one, "ClusterRole") == 1);
    assert!(!wide.unwrap().contains("secrets"), "{wide:?}");
}
