//! A media pod as it is applied: what its cluster's spec makes of it.

use super::address::{Source, source};
use super::{ports, workers};
use crate::crd::{Between, ExposureType, MafaldaCluster, MafaldaClusterSpec};
use crate::names::{
    API_PORT, CLUSTER, EXPOSURE, REVISION, RTC_PORT, WORKERS, address_config, certificate_secret,
};
use k8s_openapi::api::core::v1::Pod;
use kube::{Resource, ResourceExt};
use mafalda_plan::Revision;
use serde_json::{Map, Value, json};

/// Nobody: the user of a media pod's processes.
const USER: u32 = 65_532;
/// More than a drain may take, in seconds, until the pod is killed.
const LAST_SECONDS: u32 = 10;

/// What one pod has for itself alone.
#[derive(Clone, Debug)]
pub struct Place<'a> {
    /// The pod's name.
    pub name: &'a str,
    /// The media port of its first worker.
    pub rtc_port: u16,
    /// How many workers it runs.
    pub workers: u16,
}

/// The Secret with the key pair that signs the cluster's tokens.
pub fn token_secret(cluster: &MafaldaCluster) -> String {
    let named = cluster.spec.token_key_secret_name.clone();
    named.unwrap_or_else(|| format!("{}-token-key", cluster.name_any()))
}

/// What pods are made from now: a hash of all that is the same in each.
pub fn revision(cluster: &MafaldaCluster, default_image: &str) -> Revision {
    // The number of workers counts where the spec says it; where nodes do, they come and go.
    let place = Place {
        name: "",
        rtc_port: cluster.spec.exposure.port_range.first,
        workers: workers::of_spec(&cluster.spec).unwrap_or(1),
    };
    let text = template(cluster, default_image, &place).to_string();
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    let hex: String = digest.as_ref()[..5]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    hex.into()
}

/// The Pod.
pub fn pod(cluster: &MafaldaCluster, default_image: &str, place: &Place<'_>) -> Value {
    let mut pod = template(cluster, default_image, place);
    pod["metadata"]["labels"][REVISION] = revision(cluster, default_image).as_str().into();
    pod["metadata"]["ownerReferences"] = json!([cluster.controller_owner_ref(&())]);
    pod
}

/// The Service of one pod, with the exposures that have one.
pub fn service(cluster: &MafaldaCluster, place: &Place<'_>, pod_uid: &str) -> Option<Value> {
    let kind = match cluster.spec.exposure.type_ {
        ExposureType::NodePort => "NodePort",
        ExposureType::LoadBalancer => "LoadBalancer",
        ExposureType::HostPort | ExposureType::HostNetwork | ExposureType::Internal => return None,
    };
    let port = |(protocol, port): (&str, u16)| {
        let mut entry =
            json!({"name": port_name(protocol, port), "protocol": protocol, "port": port});
        if kind == "NodePort" {
            entry["nodePort"] = port.into();
        }
        entry
    };
    Some(json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": place.name,
            "namespace": cluster.namespace(),
            "labels": labels(cluster),
            "ownerReferences": [owner_pod(place.name, pod_uid)],
        },
        "spec": {
            "type": kind,
            // The clients' own addresses, and no hop over another node.
            "externalTrafficPolicy": "Local",
            "publishNotReadyAddresses": true,
            "selector": {"mafalda.dev/pod": place.name},
            "ports": media_ports(place).map(port).collect::<Vec<_>>(),
        },
    }))
}

/// The ConfigMap that a pod's container waits for: the address that it announces.
pub fn address(cluster: &MafaldaCluster, pod: &str, pod_uid: &str, addresses: &[String]) -> Value {
    let data: Map<String, Value> = addresses
        .iter()
        .enumerate()
        .map(|(index, address)| (format!("address{index}"), address.as_str().into()))
        .collect();
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": address_config(pod),
            "namespace": cluster.namespace(),
            "labels": labels(cluster),
            "ownerReferences": [owner_pod(pod, pod_uid)],
        },
        "data": data,
    })
}

/// The PodDisruptionBudget of a cluster: no pod that sessions live on is evicted. Such pods carry
/// a label while they do, so others may go.
pub fn disruption_budget(cluster: &MafaldaCluster) -> Value {
    json!({
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {
            "name": cluster.name_any(),
            "namespace": cluster.namespace(),
            "labels": labels(cluster),
            "ownerReferences": [cluster.controller_owner_ref(&())],
        },
        "spec": {
            // A percentage would be one of the scale subresource's number: spec.pool.min.
            "minAvailable": i32::MAX,
            "selector": {"matchLabels": {
                CLUSTER: cluster.name_any(),
                crate::names::OCCUPIED: "true",
            }},
        },
    })
}

fn owner_pod(name: &str, uid: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid})
}

fn labels(cluster: &MafaldaCluster) -> Value {
    json!({
        "app.kubernetes.io/name": "mafalda",
        "app.kubernetes.io/component": "media-pod",
        "app.kubernetes.io/managed-by": "mafalda-operator",
        CLUSTER: cluster.name_any(),
    })
}

fn media_ports(place: &Place<'_>) -> impl Iterator<Item = (&'static str, u16)> {
    let ports = place.rtc_port..place.rtc_port.saturating_add(place.workers);
    ports.flat_map(|port| [("UDP", port), ("TCP", port)])
}

fn port_name(protocol: &str, port: u16) -> String {
    format!("{}-{port}", protocol.to_lowercase())
}

/// A pod without what differs by revision.
fn template(cluster: &MafaldaCluster, default_image: &str, place: &Place<'_>) -> Value {
    let spec = &cluster.spec;
    let template = &spec.pod_template;
    let mut labels = labels(cluster);
    for (key, value) in &template.labels {
        labels[key] = value.as_str().into();
    }
    labels["mafalda.dev/pod"] = place.name.into();
    let mut pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": place.name,
            "namespace": cluster.namespace(),
            "labels": labels,
            "annotations": {
                RTC_PORT: place.rtc_port.to_string(),
                WORKERS: place.workers.to_string(),
                EXPOSURE: json!(spec.exposure.type_),
            },
        },
        "spec": {
            // A media pod has nothing to say to the API server.
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": spec.drain_deadline_seconds + LAST_SECONDS,
            "hostNetwork": spec.exposure.type_ == ExposureType::HostNetwork,
            "securityContext": {
                "runAsNonRoot": true,
                "runAsUser": USER,
                "runAsGroup": USER,
                "fsGroup": USER,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            // Not all calls on one machine, where there is a choice.
            "topologySpreadConstraints": [{
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": {CLUSTER: cluster.name_any()}},
            }],
            "imagePullSecrets": template.image_pull_secrets,
            "nodeSelector": template.node_selector,
            "tolerations": template.tolerations,
            "containers": [container(cluster, default_image, place)],
            "volumes": volumes(cluster),
        },
    });
    if let Some(affinity) = &template.affinity {
        pod["spec"]["affinity"] = json!(affinity);
    }
    if let Some(class) = &template.priority_class_name {
        pod["spec"]["priorityClassName"] = class.as_str().into();
    }
    pod
}

fn container(cluster: &MafaldaCluster, default_image: &str, place: &Place<'_>) -> Value {
    let spec = &cluster.spec;
    let image = spec.pod_template.image.as_deref().unwrap_or(default_image);
    let probe = |path: &str, period: u32, failures: u32| {
        json!({
            "httpGet": {"path": path, "port": "api", "scheme": "HTTPS"},
            "periodSeconds": period,
            "timeoutSeconds": 5,
            "failureThreshold": failures,
        })
    };
    let mut container = json!({
        "name": "media-pod",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "args": arguments(cluster, place),
        "env": environment(spec, place.name),
        "ports": container_ports(spec, place),
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]},
        },
        "startupProbe": probe("/livez", 1, 60),
        "livenessProbe": probe("/livez", 20, 3),
        "readinessProbe": probe("/readyz", 5, 2),
        "volumeMounts": [
            {"name": "token-key", "mountPath": "/etc/mafalda/token", "readOnly": true},
            {"name": "tls", "mountPath": "/etc/mafalda/tls", "readOnly": true},
            {"name": "tmp", "mountPath": "/tmp"},
        ],
    });
    if let Some(resources) = &spec.pod_template.resources {
        container["resources"] = json!(resources);
    }
    container
}

fn arguments(cluster: &MafaldaCluster, place: &Place<'_>) -> Vec<String> {
    let spec = &cluster.spec;
    let other = ports::other_ports(spec.exposure.port_range);
    let mut arguments = vec![
        "serve".to_owned(),
        format!("--listen=0.0.0.0:{API_PORT}"),
        "--token-key=/etc/mafalda/token/public.pem".to_owned(),
        format!("--cluster={}", cluster.name_any()),
        "--tls-cert=/etc/mafalda/tls/tls.crt".to_owned(),
        "--tls-key=/etc/mafalda/tls/tls.key".to_owned(),
        "--peer-ca=/etc/mafalda/tls/ca.crt".to_owned(),
        format!("--workers={}", place.workers),
        format!("--rtc-port={}", place.rtc_port),
        format!("--rtc-port-range={}-{}", other.start(), other.end()),
        format!(
            "--watermark={:.2}",
            f64::from(spec.watermark_percent) / 100.0
        ),
        format!("--stop-after={}", spec.drain_deadline_seconds),
        // Workers and pods do not reach each other by way of the node: ports of pipes are not exposed.
        "--pipe-address=$(POD_IP)".to_owned(),
        "--log-format=json".to_owned(),
    ];
    let pipes = [
        ("--pipe-srtp", spec.pipes.srtp),
        ("--pipe-rtx", spec.pipes.rtx),
    ];
    // What is left as it is must not replace the pods of an older operator.
    let changed = pipes.iter().filter(|(_, between)| *between != Between::Off);
    arguments.extend(changed.map(|(option, between)| format!("{option}={}", between.option())));
    for index in 0..spec.announced_address.families.len() {
        arguments.push(format!("--announced-address=$(ANNOUNCED_ADDRESS_{index})"));
    }
    arguments
}

/// The announced addresses, and who the pod is. The container does not start before each variable
/// has a value: a pod without an address serves nobody.
fn environment(spec: &MafaldaClusterSpec, name: &str) -> Vec<Value> {
    let families = &spec.announced_address.families;
    let address = |index: usize| {
        let variable = format!("ANNOUNCED_ADDRESS_{index}");
        match source(spec) {
            Source::Fixed => json!({
                "name": variable,
                "value": spec.announced_address.addresses.get(index),
            }),
            Source::PodIp if families.len() == 1 => json!({
                "name": variable,
                "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}},
            }),
            Source::Node(_)
            | Source::HostIp
            | Source::Annotation
            | Source::Service
            | Source::PodIp => json!({
                "name": variable,
                "valueFrom": {"configMapKeyRef": {
                    "name": address_config(name),
                    "key": format!("address{index}"),
                }},
            }),
        }
    };
    let field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
    (0..families.len())
        .map(address)
        .chain([
            field("MAFALDA_POD_NAME", "metadata.name"),
            field("POD_IP", "status.podIP"),
        ])
        .collect()
}

/// Whether the pod was made for the exposure that the spec has now. One that was not is being
/// replaced, and until then reached as it was.
pub fn is_exposed_as(spec: &MafaldaClusterSpec, pod: &Pod) -> bool {
    let made_for = pod.annotations().get(EXPOSURE);
    made_for.is_none_or(|exposure| json!(spec.exposure.type_) == json!(exposure))
}

/// Whether the pod waits for a ConfigMap with its address.
pub fn waits_for_address(spec: &MafaldaClusterSpec) -> bool {
    match source(spec) {
        Source::Fixed => false,
        Source::PodIp => spec.announced_address.families.len() > 1,
        Source::Node(_) | Source::HostIp | Source::Annotation | Source::Service => true,
    }
}

fn container_ports(spec: &MafaldaClusterSpec, place: &Place<'_>) -> Vec<Value> {
    let api = json!({"name": "api", "containerPort": API_PORT, "protocol": "TCP"});
    let media = |(protocol, port): (&str, u16)| {
        let mut entry = json!({
            "name": port_name(protocol, port),
            "containerPort": port,
            "protocol": protocol,
        });
        if spec.exposure.type_ == ExposureType::HostPort {
            entry["hostPort"] = port.into();
        }
        entry
    };
    std::iter::once(api)
        .chain(media_ports(place).map(media))
        .collect()
}

fn volumes(cluster: &MafaldaCluster) -> Value {
    json!([
        {"name": "token-key", "secret": {
            "secretName": token_secret(cluster),
            "defaultMode": 0o440,
            // The private key stays with the operator.
            "items": [{"key": "public.pem", "path": "public.pem"}],
        }},
        {"name": "tls", "secret": {
            "secretName": certificate_secret(&cluster.name_any()),
            "defaultMode": 0o440,
        }},
        {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
    ])
}

#[cfg(test)]
mod tests {
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
        assert!(arguments.contains(&"--pipe-address=$(POD_IP)".to_owned()));
        let variables = container.env.clone().unwrap();
        let found = variables.iter().find(|variable| variable.name == "POD_IP");
        let source = found.unwrap().value_from.clone().unwrap();
        assert_eq!(source.field_ref.unwrap().field_path, "status.podIP");
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
}
