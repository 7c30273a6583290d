//! A media pod as it is applied: what its cluster's spec makes of it.

use super::address::{Source, source};
use super::{ports, workers};
use crate::crd::{AddressFamily, Between, ExposureType, MafaldaCluster, MafaldaClusterSpec};
use crate::names::{
    API_PORT, CLUSTER, CONTAINER, EXPOSURE, REVISION, RTC_PORT, WORKERS, address_config,
    certificate_secret,
};
use k8s_openapi::api::core::v1::Pod;
use kube::{Resource, ResourceExt};
use mafalda_plan::Revision;
use serde_json::{Map, Value, json};

/// Nobody: the user of a media pod's processes.
const USER: u32 = 65_532;
/// More than a drain may take, in seconds, until the pod is killed: workers end within 6.
const LAST_SECONDS: u32 = 10;
/// Where a pod hears that it is going to end, before it is told to.
const DRAIN_SOCKET: &str = "/tmp/drain.sock";

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
    let families = &cluster.spec.announced_address.families;
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
            // Those that are announced: a family that the cluster does not have is refused with a
            // sentence, and not left out.
            "ipFamilyPolicy": match families.len() {
                1 => "SingleStack",
                _ => "RequireDualStack",
            },
            "ipFamilies": families,
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
    Value::Object(Map::from_iter(own_labels(cluster)))
}

fn own_labels(cluster: &MafaldaCluster) -> [(String, Value); 4] {
    let name = cluster.name_any();
    [
        ("app.kubernetes.io/name", "mafalda"),
        ("app.kubernetes.io/component", "media-pod"),
        ("app.kubernetes.io/managed-by", "mafalda-operator"),
        (CLUSTER, name.as_str()),
    ]
    .map(|(key, value)| (key.to_owned(), value.into()))
}

fn media_ports(place: &Place<'_>) -> impl Iterator<Item = (&'static str, u16)> {
    ports::block(place.rtc_port, place.workers).flat_map(|port| [("UDP", port), ("TCP", port)])
}

fn port_name(protocol: &str, port: u16) -> String {
    format!("{}-{port}", protocol.to_lowercase())
}

/// A pod without what differs by revision.
fn template(cluster: &MafaldaCluster, default_image: &str, place: &Place<'_>) -> Value {
    let spec = &cluster.spec;
    let template = &spec.pod_template;
    let mut labels = json!(template.labels);
    // The operator's own say what NetworkPolicies and monitors select by.
    for (key, value) in own_labels(cluster) {
        labels[key] = value;
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
    // One that hangs does not hear that it is to drain: it is not waited for until the deadline.
    let mut liveness = probe("/livez", 20, 3);
    liveness["terminationGracePeriodSeconds"] = LAST_SECONDS.into();
    let mut container = json!({
        "name": CONTAINER,
        "image": image,
        "imagePullPolicy": spec.pod_template.image_pull_policy.unwrap_or_default(),
        "args": arguments(cluster, place),
        "env": environment(spec, place.name),
        "ports": container_ports(spec, place),
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]},
        },
        // Waits until nobody uses the pod, or until its deadline: then SIGTERM ends it at once.
        "lifecycle": {"preStop": {"exec": {"command": [
            "mafalda",
            "drain",
            format!("--socket={DRAIN_SOCKET}"),
            format!("--deadline={}", spec.drain_deadline_seconds),
        ]}}},
        "startupProbe": probe("/livez", 1, 60),
        "livenessProbe": liveness,
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
    let Place {
        rtc_port, workers, ..
    } = *place;
    let other = ports::other_ports(spec.exposure.port_range, rtc_port, workers);
    let families = spec.announced_address.families.iter();
    let families = families.map(|family| match family {
        AddressFamily::IPv4 => "ipv4",
        AddressFamily::IPv6 => "ipv6",
    });
    let mut arguments = vec![
        "serve".to_owned(),
        // IPv4 and IPv6, where there is IPv6.
        format!("--listen=[::]:{API_PORT}"),
        "--token-key=/etc/mafalda/token/public.pem".to_owned(),
        format!("--cluster={}", cluster.name_any()),
        "--tls-cert=/etc/mafalda/tls/tls.crt".to_owned(),
        "--tls-key=/etc/mafalda/tls/tls.key".to_owned(),
        "--peer-ca=/etc/mafalda/tls/ca.crt".to_owned(),
        format!("--workers={workers}"),
        format!("--max-workers={}", ports::max_workers(rtc_port, workers)),
        format!("--rtc-port={rtc_port}"),
        format!("--rtc-port-range={}-{}", other.start(), other.end()),
        format!(
            "--watermark={:.2}",
            f64::from(spec.watermark_percent) / 100.0
        ),
        format!("--stop-after={}", spec.drain_deadline_seconds),
        format!("--drain-socket={DRAIN_SOCKET}"),
        format!("--family={}", families.collect::<Vec<_>>().join(",")),
        // Workers and pods do not reach each other by way of the node: ports of pipes are not exposed.
        "--pipe-address=$(POD_IPS)".to_owned(),
        "--log-format=json".to_owned(),
    ];
    let pipes = [
        ("--pipe-srtp", spec.pipes.srtp),
        ("--pipe-rtx", spec.pipes.rtx),
    ];
    // What is left as it is must not replace the pods of an older operator.
    let changed = pipes.iter().filter(|(_, between)| *between != Between::Off);
    arguments.extend(changed.map(|(option, between)| format!("{option}={}", between.option())));
    match source(spec) {
        Source::PodIp => arguments.push("--announced-address=$(POD_IPS)".to_owned()),
        Source::Fixed | Source::Node(_) | Source::HostIp | Source::Annotation | Source::Service => {
            for index in 0..spec.announced_address.families.len() {
                arguments.push(format!("--announced-address=$(ANNOUNCED_ADDRESS_{index})"));
            }
        }
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
    // It knows its own: see `--family`.
    let told = match source(spec) {
        Source::PodIp => 0,
        _ => families.len(),
    };
    let field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
    (0..told)
        .map(address)
        .chain([
            field("MAFALDA_POD_NAME", "metadata.name"),
            field("POD_IPS", "status.podIPs"),
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
        Source::Fixed | Source::PodIp => false,
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
mod tests;
