//! What pods and their Services are made of.

use super::*;
use k8s_openapi::api::core::v1::{Pod, Service};

fn cluster(spec: Value) -> MafaldaCluster {
    serde_json::from_value(json!({
        "apiVersion": "mafalda.dev/v1alpha1",
        "kind": "MafaldaCluster",
        "metadata": {"name": "talk", "namespace": "here", "uid": "u"},
        "spec": spec,
    }))
    .unwrap()
}

const PLACE: Place<'_> = Place {
    name: "talk-0",
    rtc_port: 40_000,
    workers: 2,
};

fn made(spec: Value) -> Pod {
    serde_json::from_value(pod(&cluster(spec), "image:1", &PLACE)).unwrap()
}

/// Protects the cluster from a media pod that was taken over.
#[test]
fn a_pod_may_do_nothing_but_serve() {
    let pod = made(json!({}));
    let spec = pod.spec.unwrap();
    assert_eq!(spec.automount_service_account_token, Some(false));
    let context = spec.security_context.unwrap();
    assert_eq!(context.run_as_non_root, Some(true));
    assert_eq!(context.seccomp_profile.unwrap().type_, "RuntimeDefault");
    let container = spec.containers[0].security_context.clone().unwrap();
    assert_eq!(container.read_only_root_filesystem, Some(true));
    assert_eq!(container.allow_privilege_escalation, Some(false));
    assert_eq!(container.capabilities.unwrap().drop.unwrap(), ["ALL"]);
    let secrets = spec.volumes.unwrap();
    let keys = secrets[0].secret.clone().unwrap().items.unwrap();
    assert_eq!(keys.len(), 1);
    assert_eq!(keys[0].key, "public.pem");
}

/// Protects sessions on more than one worker: the announced address leads to no pipe.
#[test]
fn pipes_have_the_address_of_the_pod() {
    let pod = made(json!({"exposure": {"type": "HostPort"}}))
        .spec
        .unwrap();
    let container = &pod.containers[0];
    let arguments = container.args.clone().unwrap();
    assert!(arguments.contains(&"--pipe-address=$(POD_IPS)".to_owned()));
    let variables = container.env.clone().unwrap();
    let found = variables.iter().find(|variable| variable.name == "POD_IPS");
    let source = found.unwrap().value_from.clone().unwrap();
    assert_eq!(source.field_ref.unwrap().field_path, "status.podIPs");
}

/// Protects media that crosses a network that is not trusted.
#[test]
fn pipes_are_as_the_cluster_says() {
    for (pipes, expected) in [
        (json!({}), vec![]),
        (json!({"srtp": "Off", "rtx": "Off"}), vec![]),
        (json!({"srtp": "BetweenPods"}), vec!["--pipe-srtp=pods"]),
        (
            json!({"srtp": "On", "rtx": "BetweenPods"}),
            vec!["--pipe-srtp=on", "--pipe-rtx=pods"],
        ),
    ] {
        let pod = made(json!({"pipes": pipes})).spec.unwrap();
        let mut arguments = pod.containers[0].args.clone().unwrap();
        let of_pipes = |argument: &String| {
            argument.starts_with("--pipe-") && !argument.starts_with("--pipe-address")
        };
        arguments.retain(of_pipes);
        assert_eq!(arguments, expected, "{pipes}");
    }
}

#[test]
fn exposures_differ_in_ports() {
    for (exposure, host_port, host_network, service) in [
        ("HostPort", true, false, None),
        ("HostNetwork", false, true, None),
        ("Internal", false, false, None),
        ("NodePort", false, false, Some(true)),
        ("LoadBalancer", false, false, Some(false)),
    ] {
        let spec = json!({"exposure": {"type": exposure}});
        let pod = made(spec.clone()).spec.unwrap();
        let ports = pod.containers[0].ports.clone().unwrap();
        assert_eq!(ports.len(), 5, "the API, and UDP and TCP of two workers");
        assert_eq!(ports[1].host_port.is_some(), host_port, "{exposure}");
        assert_eq!(pod.host_network, Some(host_network), "{exposure}");
        let made: Option<Service> = super::service(&cluster(spec), &PLACE, "u")
            .map(|service| serde_json::from_value(service).unwrap());
        let node_port = made.map(|service| {
            let ports = service.spec.unwrap().ports.unwrap();
            ports[0].node_port == Some(40_000)
        });
        assert_eq!(node_port, service, "{exposure}");
    }
}

/// Protects clients from a pod that announces nothing: its container waits for an address.
#[test]
fn no_address_no_start() {
    let waits = |spec: Value| {
        let waits = waits_for_address(&cluster(spec.clone()).spec);
        let env = made(spec).spec.unwrap().containers[0].env.clone().unwrap();
        let from = env[0].value_from.clone();
        assert_eq!(
            from.is_some_and(|from| from.config_map_key_ref.is_some()),
            waits
        );
        waits
    };
    assert!(waits(json!({})));
    assert!(waits(
        json!({"announcedAddress": {"families": ["IPv4", "IPv6"]}})
    ));
    let fixed = json!({"announcedAddress": {"source": "Fixed", "addresses": ["192.0.2.1"]}});
    assert!(!waits(fixed));
    assert!(!waits(json!({"exposure": {"type": "Internal"}})));
}

/// Protects running calls: pods are replaced for what pods are made from, and for nothing else.
#[test]
fn a_revision_is_what_pods_are_made_from() {
    let of = |spec| revision(&cluster(spec), "image:1");
    let first = of(json!({}));
    assert_eq!(first, of(json!({"pool": {"min": 2}})));
    assert_ne!(first, of(json!({"podTemplate": {"image": "image:2"}})));
    assert_ne!(first, of(json!({"workersPerPod": 4})));
    assert_ne!(first, revision(&cluster(json!({})), "image:2"));
}

/// Protects calls: who deletes a pod, drains a node or upgrades waits for as long as the drain may take,
/// and the pod is not killed before it has ended by itself.
#[test]
fn a_pod_has_the_time_that_its_drain_takes() {
    for deadline in [0, 2, 3600, 86_400] {
        let spec = made(json!({"drainDeadlineSeconds": deadline}))
            .spec
            .unwrap();
        let container = &spec.containers[0];
        let hook = container.lifecycle.clone().unwrap().pre_stop.unwrap();
        let hook = hook.exec.unwrap().command.unwrap();
        let seconds = |words: &[String], option: &str| -> i64 {
            let found = words.iter().find_map(|word| word.strip_prefix(option));
            found.unwrap().parse().unwrap()
        };
        let waits = seconds(&hook, "--deadline=");
        let arguments = container.args.clone().unwrap();
        // Both count from the moment that the pod is told by the hook.
        assert_eq!(waits, deadline);
        assert_eq!(seconds(&arguments, "--stop-after="), deadline);
        let grace = spec.termination_grace_period_seconds.unwrap();
        assert!(grace >= waits + 6 + 2, "workers end within 6 s");
        let socket = |option: &str, words: &[String]| {
            words
                .iter()
                .find_map(|word| word.strip_prefix(option).map(str::to_owned))
        };
        assert_eq!(
            socket("--socket=", &hook),
            socket("--drain-socket=", &arguments)
        );
        // One that hangs does not answer the hook.
        let liveness = container.liveness_probe.clone().unwrap();
        assert_eq!(liveness.termination_grace_period_seconds, Some(10));
    }
}

/// Protects who says where and how pods run: each setting arrives where Kubernetes reads it.
#[test]
fn the_template_arrives_in_the_pod() {
    let pod = made(json!({"podTemplate": {
        "image": "image:2",
        "imagePullPolicy": "Always",
        "imagePullSecrets": [{"name": "pull"}],
        "resources": {"limits": {"cpu": "4"}, "requests": {"memory": "1Gi"}},
        "nodeSelector": {"example.com/disk": "fast"},
        "tolerations": [{"key": "media", "operator": "Exists", "effect": "NoSchedule"}],
        "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 7, "preference": {}},
        ]}},
        "priorityClassName": "calls",
        "labels": {"example.com/team": "media", "app.kubernetes.io/component": "mine"},
    }}));
    let labels = pod.metadata.labels.clone().unwrap();
    assert_eq!(labels["example.com/team"], "media");
    assert_eq!(
        labels["app.kubernetes.io/component"], "media-pod",
        "the operator's own"
    );
    let spec = pod.spec.unwrap();
    let container = &spec.containers[0];
    assert_eq!(container.image.as_deref(), Some("image:2"));
    assert_eq!(container.image_pull_policy.as_deref(), Some("Always"));
    assert_eq!(spec.image_pull_secrets.unwrap()[0].name, "pull");
    let resources = container.resources.clone().unwrap();
    assert_eq!(resources.limits.unwrap()["cpu"].0, "4");
    assert_eq!(resources.requests.unwrap()["memory"].0, "1Gi");
    assert_eq!(spec.node_selector.unwrap()["example.com/disk"], "fast");
    let toleration = &spec.tolerations.unwrap()[0];
    assert_eq!(toleration.key.as_deref(), Some("media"));
    assert_eq!(toleration.effect.as_deref(), Some("NoSchedule"));
    let affinity = spec.affinity.unwrap().node_affinity.unwrap();
    let preferred = affinity.preferred_during_scheduling_ignored_during_execution;
    assert_eq!(preferred.unwrap()[0].weight, 7);
    assert_eq!(spec.priority_class_name.as_deref(), Some("calls"));
    let short = made(json!({})).spec.unwrap();
    let policy = short.containers[0].image_pull_policy.as_deref();
    assert_eq!(policy, Some("IfNotPresent"));
    assert_eq!(short.affinity, None);
    assert_eq!(short.priority_class_name, None);
}

/// Protects clients of both families: what is announced is what the Service and the pod have.
#[test]
fn families_are_those_that_are_announced() {
    for (families, policy, option) in [
        (json!(["IPv4"]), "SingleStack", "--family=ipv4"),
        (json!(["IPv6"]), "SingleStack", "--family=ipv6"),
        (
            json!(["IPv6", "IPv4"]),
            "RequireDualStack",
            "--family=ipv6,ipv4",
        ),
    ] {
        let announced = json!({"families": families});
        for exposure in ["NodePort", "LoadBalancer"] {
            let spec = json!({"exposure": {"type": exposure}, "announcedAddress": announced});
            let service = super::service(&cluster(spec), &PLACE, "u").unwrap();
            assert_eq!(service["spec"]["ipFamilies"], families, "{exposure}");
            assert_eq!(service["spec"]["ipFamilyPolicy"], policy, "{exposure}");
        }
        let spec = json!({"exposure": {"type": "Internal"}, "announcedAddress": announced});
        let spec = made(spec).spec.unwrap();
        let arguments = spec.containers[0].args.clone().unwrap();
        for wanted in [
            option,
            "--announced-address=$(POD_IPS)",
            "--listen=[::]:4400",
        ] {
            assert!(
                arguments.contains(&wanted.to_owned()),
                "{wanted}: {arguments:?}"
            );
        }
    }
}
