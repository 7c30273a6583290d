//! What the chart makes of its values.

use crate::helm::{chart, count, helm, template};

/// Each option as it is by default and the other way round, with the manifests that it adds.
const OPTIONS: [(&str, &str, &str, usize); 14] = [
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
    ("gateway.enabled", "true", "Deployment", 2),
    ("gateway.replicas", "1", "PodDisruptionBudget", 1),
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
    assert_eq!(count(&made, "Deployment"), 2);
}

/// Protects the cluster from a gateway that may do more than it does, and who writes its certificate
/// himself from the operator, which has a Secret of that name.
#[test]
#[ignore = "needs helm: make test-cluster"]
fn the_gateway_has_one_secret_and_may_read() {
    let on = "gateway.enabled=true";
    let without = template(&[]).unwrap();
    assert!(!without.contains("gateway"), "{without}");
    let made = template(&[on, "networkPolicy.enabled=true"]).unwrap();
    let of = |kind: &str| {
        let is_it =
            |part: &&str| part.contains("name: mafalda-gateway\n") && count(part, kind) == 1;
        made.split("\n---\n").find(is_it).unwrap()
    };
    let deployment = of("Deployment");
    let secrets = deployment
        .lines()
        .filter(|line| line.contains("secretName:"));
    let secrets: Vec<_> = secrets.map(str::trim).collect();
    assert_eq!(secrets, ["secretName: mafalda-gateway"]);
    assert!(of("Service").contains("mafalda.dev/cluster: mafalda"));
    assert!(of("NetworkPolicy").contains("port: 4400"));
    assert_eq!(of("Role").matches("verbs: [list, watch]").count(), 2);
    let own = template(&[on, "gateway.tls.secretName=mine"]).unwrap();
    assert!(
        own.contains("--tls-cert=/etc/mafalda/tls/tls.crt") && own.contains("secretName: mine")
    );
    let clash = template(&[on, "gateway.tls.secretName=mafalda-gateway"]);
    assert!(clash.unwrap_err().contains("gateway.tls.secretName"));
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
        ("gateway.placement=random", "/gateway/placement"),
        ("gateway.watermarkPercent=0", "/gateway/watermarkPercent"),
        ("gateway.tls.secret=mine", "'secret'"),
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
