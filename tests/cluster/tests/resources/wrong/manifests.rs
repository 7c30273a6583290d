//! Manifests that are wrong in one place each, with the field that a refusal must name.

use crate::{cluster, session};
use serde_json::{Map, Value, json};

/// Wrong MafaldaClusters.
pub fn clusters() -> Vec<(&'static str, Value)> {
    let of = |field, spec: Value| (field, cluster("wrong", &spec));
    let pool = |field, pool: Value| of(field, json!({"pool": pool}));
    let exposure = |field, exposure: Value| of(field, json!({"exposure": exposure}));
    let ports = |field, ports: Value| exposure(field, json!({"portRange": ports}));
    let address = |field, address: Value| of(field, json!({"announcedAddress": address}));
    let template = |field, template: Value| of(field, json!({"podTemplate": template}));
    let labels = |field, labels: Value| template(field, json!({"labels": labels}));
    let cpu = |field, cpu: Value| template(field, json!({"resources": {"limits": {"cpu": cpu}}}));
    let mut without_spec = cluster("wrong", &json!({}));
    without_spec.as_object_mut().unwrap().remove("spec");
    vec![
        ("spec", without_spec),
        ("metadata.name", cluster("with.dots", &json!({}))),
        ("metadata.name", cluster("0-digit-first", &json!({}))),
        ("metadata.name", cluster(&"x".repeat(51), &json!({}))),
        pool("spec.pool.min", json!({"min": -1})),
        pool("spec.pool.min", json!({"min": 1001, "max": 1000})),
        pool("spec.pool.min", json!({"min": 4})),
        pool("spec.pool.max", json!({"max": 0})),
        pool("spec.pool.max", json!({"max": 1001})),
        pool("spec.pool.max", json!({"max": "three"})),
        pool("spec.pool.max", json!({"max": 1.5})),
        pool("spec.pool.spare", json!({"spare": -1})),
        pool("spec.pool.spare", json!({"spare": 101, "max": 200})),
        pool("spec.pool.spare", json!({"spare": 4})),
        of("spec.workersPerPod", json!({"workersPerPod": 0})),
        of("spec.workersPerPod", json!({"workersPerPod": 257})),
        of(
            "spec.exposure.portRange",
            json!({"workersPerPod": 3, "exposure": {"portRange": {"first": 40000, "last": 40001}}}),
        ),
        exposure("spec.exposure.type", json!({"type": "Ingress"})),
        exposure("spec.exposure.portRange", json!({"type": "NodePort"})),
        ports("spec.exposure.portRange.first", json!({"first": 1023})),
        ports(
            "spec.exposure.portRange.first",
            json!({"first": 65536, "last": 65535}),
        ),
        ports(
            "spec.exposure.portRange.first",
            json!({"first": 40001, "last": 40000}),
        ),
        ports(
            "spec.exposure.portRange.last",
            json!({"first": 1024, "last": 1023}),
        ),
        ports("spec.exposure.portRange.last", json!({"last": 65536})),
        address("spec.announcedAddress.source", json!({"source": "Guess"})),
        of(
            "spec.announcedAddress.source",
            json!({"exposure": {"type": "Internal"}, "announcedAddress": {"source": "HostIP"}}),
        ),
        of(
            "spec.announcedAddress.source",
            json!({"exposure": {"type": "LoadBalancer"}, "announcedAddress": {"source": "NodeExternalIP"}}),
        ),
        address("spec.announcedAddress.families", json!({"families": []})),
        address(
            "spec.announcedAddress.families",
            json!({"families": ["IPv5"]}),
        ),
        address(
            "spec.announcedAddress.families",
            json!({"families": ["IPv6", "IPv6"]}),
        ),
        address(
            "spec.announcedAddress.families",
            json!({"families": ["IPv4", "IPv6", "IPv4"]}),
        ),
        address(
            "spec.announcedAddress.addresses",
            json!({"source": "Fixed"}),
        ),
        address(
            "spec.announcedAddress.addresses",
            json!({"addresses": ["203.0.113.7"]}),
        ),
        address(
            "spec.announcedAddress.addresses",
            json!({"source": "Fixed", "addresses": ["media.example.com"]}),
        ),
        address(
            "spec.announcedAddress.addresses",
            json!({"source": "Fixed", "addresses": ["2001:db8::7"]}),
        ),
        address(
            "spec.announcedAddress.addresses",
            json!({"source": "Fixed", "addresses": ["203.0.113.7"], "families": ["IPv4", "IPv6"]}),
        ),
        address(
            "spec.announcedAddress.addresses",
            json!({"source": "Fixed", "addresses": ["203.0.113.7", "203.0.113.8"], "families": ["IPv4", "IPv6"]}),
        ),
        address(
            "spec.announcedAddress.addresses",
            json!({"source": "Fixed", "addresses": ["203.0.113.7", "203.0.113.8", "2001:db8::7"]}),
        ),
        address(
            "spec.announcedAddress.addresses",
            json!({"source": "Fixed", "addresses": ["0".repeat(46)]}),
        ),
        address(
            "spec.announcedAddress.annotation",
            json!({"source": "Annotation"}),
        ),
        address(
            "spec.announcedAddress.annotation",
            json!({"annotation": "example.com/ip"}),
        ),
        address(
            "spec.announcedAddress.annotation",
            json!({"source": "Annotation", "annotation": ""}),
        ),
        address(
            "spec.announcedAddress.annotation",
            json!({"source": "Annotation", "annotation": "an address"}),
        ),
        address(
            "spec.announcedAddress.annotation",
            json!({"source": "Annotation", "annotation": "a".repeat(318)}),
        ),
        of("spec.watermarkPercent", json!({"watermarkPercent": 9})),
        of("spec.watermarkPercent", json!({"watermarkPercent": 96})),
        of("spec.pipes.srtp", json!({"pipes": {"srtp": "Always"}})),
        of("spec.pipes.rtx", json!({"pipes": {"rtx": true}})),
        of(
            "spec.drainDeadlineSeconds",
            json!({"drainDeadlineSeconds": -1}),
        ),
        of(
            "spec.drainDeadlineSeconds",
            json!({"drainDeadlineSeconds": 86_401}),
        ),
        of("spec.tokenKeySecretName", json!({"tokenKeySecretName": ""})),
        of(
            "spec.tokenKeySecretName",
            json!({"tokenKeySecretName": "Key"}),
        ),
        of(
            "spec.tokenKeySecretName",
            json!({"tokenKeySecretName": "k".repeat(254)}),
        ),
        template("spec.podTemplate.image", json!({"image": ""})),
        template("spec.podTemplate.image", json!({"image": "media pod:1"})),
        template("spec.podTemplate.image", json!({"image": "m".repeat(513)})),
        template(
            "spec.podTemplate.imagePullPolicy",
            json!({"imagePullPolicy": "Sometimes"}),
        ),
        template(
            "spec.podTemplate.imagePullSecrets",
            json!({"imagePullSecrets": [{}]}),
        ),
        template(
            "spec.podTemplate.imagePullSecrets",
            json!({"imagePullSecrets": [{"name": ""}]}),
        ),
        template(
            "spec.podTemplate.imagePullSecrets",
            json!({"imagePullSecrets": [{"name": "Pull"}]}),
        ),
        template(
            "spec.podTemplate.imagePullSecrets",
            json!({"imagePullSecrets": [{"name": "p".repeat(254)}]}),
        ),
        template(
            "spec.podTemplate.imagePullSecrets",
            json!({"imagePullSecrets": [{"name": "pull"}, {"name": "pull"}]}),
        ),
        template(
            "spec.podTemplate.imagePullSecrets",
            json!({"imagePullSecrets": many(17, |i| json!({"name": i}))}),
        ),
        cpu("spec.podTemplate.resources.limits.cpu", json!("two")),
        cpu("spec.podTemplate.resources.limits.cpu", json!(true)),
        template(
            "spec.podTemplate.resources.requests.memory",
            json!({"resources": {"requests": {"memory": "1 GB"}}}),
        ),
        template(
            "spec.podTemplate.nodeSelector",
            json!({"nodeSelector": {"a key": "x"}}),
        ),
        template(
            "spec.podTemplate.nodeSelector",
            json!({"nodeSelector": {"disk": "a value"}}),
        ),
        template(
            "spec.podTemplate.nodeSelector",
            json!({"nodeSelector": {"disk": "x".repeat(64)}}),
        ),
        template(
            "spec.podTemplate.nodeSelector",
            json!({"nodeSelector": many_labels(33)}),
        ),
        template(
            "spec.podTemplate.tolerations",
            json!({"tolerations": many(33, |key| json!({"key": key}))}),
        ),
        template(
            "spec.podTemplate.priorityClassName",
            json!({"priorityClassName": ""}),
        ),
        template(
            "spec.podTemplate.priorityClassName",
            json!({"priorityClassName": "High!"}),
        ),
        template(
            "spec.podTemplate.priorityClassName",
            json!({"priorityClassName": "p".repeat(254)}),
        ),
        labels(
            "spec.podTemplate.labels",
            json!({"mafalda.dev/cluster": "x"}),
        ),
        labels("spec.podTemplate.labels", json!({"-team": "x"})),
        labels("spec.podTemplate.labels", json!({"team": "-x"})),
        labels("spec.podTemplate.labels", json!({"team": "x".repeat(64)})),
        labels("spec.podTemplate.labels", many_labels(33)),
    ]
}

/// Wrong Sessions.
pub fn sessions() -> Vec<(&'static str, Value)> {
    let of = |field, spec: Value| (field, session("wrong", &spec));
    let spread = |field, spread: Value| of(field, json!({"spread": spread}));
    let lifetime = |field, lifetime: Value| of(field, json!({"lifetime": lifetime}));
    let placement = |field, placement: Value| of(field, json!({"placement": placement}));
    let mut without_spec = session("wrong", &json!({}));
    without_spec.as_object_mut().unwrap().remove("spec");
    let mut without_cluster = session("wrong", &json!({}));
    without_cluster["spec"] = json!({});
    vec![
        ("spec", without_spec),
        ("spec.clusterRef", without_cluster),
        ("metadata.name", session("with.dots", &json!({}))),
        ("metadata.name", session(&"x".repeat(64), &json!({}))),
        of("spec.clusterRef.name", json!({"clusterRef": {}})),
        of("spec.clusterRef.name", json!({"clusterRef": {"name": ""}})),
        of(
            "spec.clusterRef.name",
            json!({"clusterRef": {"name": "Big"}}),
        ),
        of(
            "spec.clusterRef.name",
            json!({"clusterRef": {"name": "c".repeat(51)}}),
        ),
        of(
            "spec.expectedParticipants",
            json!({"expectedParticipants": 0}),
        ),
        of(
            "spec.expectedParticipants",
            json!({"expectedParticipants": 100_001, "maxParticipants": 100_000}),
        ),
        of(
            "spec.expectedParticipants",
            json!({"expectedParticipants": 20, "maxParticipants": 19}),
        ),
        of(
            "spec.maxParticipants",
            json!({"expectedParticipants": 1, "maxParticipants": 0}),
        ),
        of("spec.maxParticipants", json!({"maxParticipants": 100_001})),
        spread("spec.spread.maxPods", json!({"maxPods": 0})),
        spread("spec.spread.maxPods", json!({"maxPods": 65})),
        lifetime("spec.lifetime.emptySeconds", json!({"emptySeconds": 9})),
        lifetime(
            "spec.lifetime.emptySeconds",
            json!({"emptySeconds": 31_536_001}),
        ),
        lifetime(
            "spec.lifetime.emptySeconds",
            json!({"emptySeconds": 61, "totalSeconds": 60}),
        ),
        lifetime("spec.lifetime.totalSeconds", json!({"totalSeconds": 9})),
        lifetime(
            "spec.lifetime.totalSeconds",
            json!({"totalSeconds": 31_536_001}),
        ),
        placement("spec.placement.region", json!({"region": ""})),
        placement("spec.placement.region", json!({"region": "far away"})),
        placement("spec.placement.region", json!({"region": "r".repeat(64)})),
        placement(
            "spec.placement.nodeLabels",
            json!({"nodeLabels": {"/x": ""}}),
        ),
        placement(
            "spec.placement.nodeLabels",
            json!({"nodeLabels": {"disk": "x".repeat(64)}}),
        ),
        placement(
            "spec.placement.nodeLabels",
            json!({"nodeLabels": {"disk": "x-"}}),
        ),
        placement(
            "spec.placement.nodeLabels",
            json!({"nodeLabels": many_labels(33)}),
        ),
    ]
}

fn many(count: usize, make: impl Fn(String) -> Value) -> Value {
    (0..count).map(|i| make(format!("x{i}"))).collect()
}

fn many_labels(count: usize) -> Value {
    let labels: Map<String, Value> = (0..count).map(|i| (format!("x{i}"), json!("y"))).collect();
    labels.into()
}
