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
    ("operator.watchNamespace", "media", "Role", 3),
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
        let lint = ["lint", "--strict", &chart(), "--namespace", "media"];
        helm(&[&lint[..], &["--set", &setting]].concat()).unwrap();
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
        ("gateway.ingress.hosts=a", "'hosts'"),
        (
            "gateway.httpRoute.caCertificateRefs[0].name=a",
            "/gateway/httpRoute/caCertificateRefs/0",
        ),
        (
            "cluster.spec.podTemplate.imagePullPolicy=Sometimes",
            "/cluster/spec/podTemplate/imagePullPolicy",
        ),
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
    let one = template(&["crds.upgrade=false", "operator.watchNamespace=media"]).unwrap();
    let wide = one.split("---").find(|one| count(one, "ClusterRole") == 1);
    assert!(!wide.unwrap().contains("secrets"), "{wide:?}");
}

/// The manifest of that kind and name.
fn manifest(made: &str, kind: &str, name: &str) -> String {
    let line = format!("  name: {name}");
    let is_it = |part: &&str| count(part, kind) == 1 && part.lines().any(|found| found == line);
    let found = made.split("\n---\n").find(is_it);
    found
        .unwrap_or_else(|| panic!("no {kind} {name}: {made}"))
        .to_owned()
}

/// Protects who has a registry of his own: what pulls the operator's image pulls the media pods' too,
/// and the gateway's.
#[test]
#[ignore = "needs helm: make test-cluster"]
fn all_images_are_pulled_alike() {
    let made = template(&[
        "image.registry=registry.example.com/mafalda",
        "image.pullPolicy=Always",
        "image.pullSecrets[0].name=pull",
        "gateway.enabled=true",
    ])
    .unwrap();
    let cluster = manifest(&made, "MafaldaCluster", "mafalda");
    assert!(cluster.contains("imagePullPolicy: Always"), "{cluster}");
    assert!(
        cluster.contains("imagePullSecrets:\n    - name: pull"),
        "{cluster}"
    );
    for name in ["mafalda-operator", "mafalda-gateway"] {
        let deployment = manifest(&made, "Deployment", name);
        assert!(
            deployment.contains("imagePullPolicy: Always"),
            "{deployment}"
        );
        assert!(deployment.contains("- name: pull"), "{deployment}");
        assert!(
            deployment.contains("image: \"registry.example.com/mafalda/mafalda"),
            "{deployment}"
        );
    }
    // Who says it for the media pods is not overruled.
    let own = template(&[
        "image.pullPolicy=Always",
        "image.pullSecrets[0].name=pull",
        "cluster.spec.podTemplate.imagePullPolicy=Never",
        "cluster.spec.podTemplate.imagePullSecrets[0].name=mine",
    ])
    .unwrap();
    let cluster = manifest(&own, "MafaldaCluster", "mafalda");
    assert!(
        cluster.contains("imagePullPolicy: Never") && cluster.contains("name: mine"),
        "{cluster}"
    );
    assert!(!cluster.contains("name: pull"), "{cluster}");
    let short = manifest(&template(&[]).unwrap(), "MafaldaCluster", "mafalda");
    assert!(!short.contains("imagePull"), "{short}");
}

/// Protects the way in from outside: it leads to the gateway's Service, speaks as the gateway does, and
/// a name that YAML would take for something else is one.
#[test]
#[ignore = "needs helm: make test-cluster"]
fn an_ingress_leads_to_the_gateway() {
    let on = [
        "gateway.enabled=true",
        "gateway.ingress.enabled=true",
        "gateway.ingress.host=*.example.com",
        "gateway.ingress.className=nginx",
        "gateway.ingress.tlsSecretName=public",
    ];
    let with = |more: &[&str]| template(&[&on[..], more].concat());
    let plain = with(&["gateway.tls.enabled=false"]).unwrap();
    let ingress = manifest(&plain, "Ingress", "mafalda-gateway");
    for wanted in [
        "ingressClassName: nginx",
        "- host: \"*.example.com\"",
        "hosts: [\"*.example.com\"]",
        "secretName: public",
        "path: /v1",
        "name: mafalda-gateway\n",
        "port: {name: api}",
    ] {
        assert!(ingress.contains(wanted), "{wanted}: {ingress}");
    }
    let service = manifest(&plain, "Service", "mafalda-gateway");
    assert!(service.contains("- {name: api, port: 4500"), "{service}");
    let refused = with(&[]).unwrap_err();
    assert!(refused.contains("gateway.ingress.annotations"), "{refused}");
    let other = "gateway.ingress.annotations.cert-manager\\.io/issuer=mine";
    assert!(with(&[other]).is_err(), "this says nothing of the backend");
    let nginx =
        "gateway.ingress.annotations.nginx\\.ingress\\.kubernetes\\.io/backend-protocol=HTTPS";
    let ingress = manifest(&with(&[nginx]).unwrap(), "Ingress", "mafalda-gateway");
    assert!(ingress.contains("backend-protocol: HTTPS"), "{ingress}");
    let traefik = "gateway.service.annotations.traefik\\.ingress\\.kubernetes\\.io/service\\.serversscheme=https";
    let service = manifest(&with(&[traefik]).unwrap(), "Service", "mafalda-gateway");
    assert!(service.contains("service.serversscheme: https"));
    let nameless = template(&["gateway.enabled=true", "gateway.ingress.enabled=true"]);
    assert!(nameless.unwrap_err().contains("gateway.ingress.host"));
}

/// As above, for a Gateway.
#[test]
#[ignore = "needs helm: make test-cluster"]
fn a_route_leads_to_the_gateway() {
    let on = [
        "gateway.enabled=true",
        "gateway.httpRoute.enabled=true",
        "gateway.httpRoute.parentRefs[0].name=public",
        "gateway.httpRoute.hostnames[0]=media.example.com",
    ];
    let with = |more: &[&str]| template(&[&on[..], more].concat());
    let plain = with(&["gateway.tls.enabled=false"]).unwrap();
    let route = manifest(&plain, "HTTPRoute", "mafalda-gateway");
    for wanted in [
        "- name: public",
        "- media.example.com",
        "value: /v1",
        "- name: mafalda-gateway\n          port: 4500",
        "timeouts: {request: 0s}",
    ] {
        assert!(route.contains(wanted), "{wanted}: {route}");
    }
    assert_eq!(count(&plain, "BackendTLSPolicy"), 0);
    let refused = with(&[]).unwrap_err();
    assert!(refused.contains("caCertificateRefs"), "{refused}");
    let authority = [
        "gateway.httpRoute.caCertificateRefs[0].kind=ConfigMap",
        "gateway.httpRoute.caCertificateRefs[0].name=gateway-ca",
    ];
    let policy = manifest(
        &with(&authority).unwrap(),
        "BackendTLSPolicy",
        "mafalda-gateway",
    );
    for wanted in [
        "hostname: mafalda-gateway.media.svc\n",
        "kind: Service, name: mafalda-gateway}",
        "{group: \"\", kind: \"ConfigMap\", name: \"gateway-ca\"}",
    ] {
        assert!(policy.contains(wanted), "{wanted}: {policy}");
    }
    let nowhere = template(&["gateway.enabled=true", "gateway.httpRoute.enabled=true"]);
    assert!(
        nowhere
            .unwrap_err()
            .contains("gateway.httpRoute.parentRefs")
    );
}

/// Protects who lets few in: a policy with nobody in a list is one, and lets nobody in whom the list
/// left out. With HostNetwork media pods are found by no selector.
#[test]
#[ignore = "needs helm: make test-cluster"]
fn policies_let_in_whom_they_name() {
    let on = ["networkPolicy.enabled=true", "gateway.enabled=true"];
    let with = |more: &[&str]| template(&[&on[..], more].concat());
    let made = with(&[
        "networkPolicy.applications=null",
        "networkPolicy.monitoring=null",
        "gateway.clients[0].ipBlock.cidr=203.0.113.0/24",
    ])
    .unwrap();
    let media = manifest(&made, "NetworkPolicy", "mafalda-media-pods");
    assert!(!media.contains("namespaceSelector"), "{media}");
    assert!(!media.contains("[]") && !media.contains("null"), "{media}");
    let gateway = manifest(&made, "NetworkPolicy", "mafalda-gateway");
    assert!(gateway.contains("cidr: 203.0.113.0/24"), "{gateway}");
    let nobody = with(&[
        "networkPolicy.applications=null",
        "networkPolicy.monitoring=null",
    ]);
    assert!(nobody.unwrap_err().contains("gateway.clients"));
    for (exposure, selects) in [("HostPort", true), ("HostNetwork", false)] {
        let made = with(&[&format!("cluster.spec.exposure.type={exposure}")]).unwrap();
        for name in ["mafalda-operator", "mafalda-gateway"] {
            let policy = manifest(&made, "NetworkPolicy", name);
            let egress = policy.split("egress:").nth(1).unwrap();
            assert!(egress.contains("port: 4400"), "{egress}");
            assert_eq!(egress.contains("- to:"), selects, "{name}: {egress}");
        }
    }
}

/// Protects from a MafaldaCluster that nobody keeps, and from a gateway of none.
#[test]
#[ignore = "needs helm: make test-cluster"]
fn what_nobody_would_keep_is_refused() {
    let elsewhere = template(&["operator.watchNamespace=calls"]).unwrap_err();
    assert!(elsewhere.contains("operator.watchNamespace"), "{elsewhere}");
    template(&["operator.watchNamespace=calls", "cluster.enabled=false"]).unwrap();
    let none = template(&["gateway.enabled=true", "cluster.enabled=false"]);
    assert!(none.unwrap_err().contains("gateway.cluster"));
}
