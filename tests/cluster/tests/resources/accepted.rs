//! Good manifests, as short as they can be and with all that can be said.

use crate::{api_of, cluster, on_cluster, session};
use kube::api::{DynamicObject, PostParams};
use mafalda_operator::crd::{MafaldaCluster, Session};
use serde_json::{Value, json};

/// What the API server makes of a manifest, without keeping it.
async fn accepted(client: &kube::Client, manifest: &Value) -> Value {
    let object: DynamicObject = serde_json::from_value(manifest.clone()).unwrap();
    let dry_run = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let made = api_of(client, manifest).create(&dry_run, &object).await;
    serde_json::to_value(made.unwrap()).unwrap()
}

/// Protects the shortest manifest: every default is there to be read, and is what the docs say.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn a_cluster_without_settings_has_its_defaults() {
    let made = on_cluster(async |client| accepted(&client, &cluster("short", &json!({}))).await);
    assert_eq!(
        made["spec"],
        json!({
            "pool": {"min": 1, "max": 3, "spare": 1},
            "exposure": {"type": "HostPort", "portRange": {"first": 40000, "last": 40999}},
            "announcedAddress": {"families": ["IPv4"]},
            "watermarkPercent": 60,
            "pipes": {"srtp": "Off", "rtx": "Off"},
            "drainDeadlineSeconds": 3600,
            "podTemplate": {},
        })
    );
    serde_json::from_value::<MafaldaCluster>(made).unwrap();
}

/// As above, for a Session.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn a_session_with_its_cluster_alone_has_its_defaults() {
    let made = on_cluster(async |client| accepted(&client, &session("short", &json!({}))).await);
    assert_eq!(
        made["spec"],
        json!({
            "clusterRef": {"name": "mafalda"},
            "expectedParticipants": 10,
            "maxParticipants": 1000,
            "spread": {"maxPods": 8},
            "lifetime": {},
            "placement": {},
        })
    );
    serde_json::from_value::<Session>(made).unwrap();
}

/// Protects manifests that say a part of a group of fields: the rest of it has its defaults. And
/// those that say `null`, as templates do: it is as if the field were left out.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn parts_of_groups_are_filled_in() {
    let made = on_cluster(async |client| {
        let spec = json!({
            "pool": {"max": 9},
            "exposure": {"portRange": {"last": 40099}},
            "announcedAddress": {"source": null, "addresses": null},
            "workersPerPod": null,
            "watermarkPercent": null,
        });
        accepted(&client, &cluster("parts", &spec)).await
    });
    let spec = &made["spec"];
    assert_eq!(spec["pool"], json!({"min": 1, "max": 9, "spare": 1}));
    assert_eq!(
        spec["exposure"],
        json!({"type": "HostPort", "portRange": {"first": 40000, "last": 40099}})
    );
    assert_eq!(spec["announcedAddress"], json!({"families": ["IPv4"]}));
    assert_eq!(spec["watermarkPercent"], 60);
    assert!(spec.get("workersPerPod").is_none());
}

/// Protects manifests that say everything: all is allowed, kept, and read by the operator.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn everything_that_can_be_said_is_kept() {
    let clusters = [
        json!({
            "pool": {"min": 0, "max": 1000, "spare": 100},
            "workersPerPod": 256,
            "exposure": {"type": "NodePort", "portRange": {"first": 30000, "last": 32767}},
            "announcedAddress": {"source": "Fixed", "families": ["IPv6", "IPv4"], "addresses": ["203.0.113.7", "2001:db8::7"]},
            "watermarkPercent": 95,
            "pipes": {"srtp": "BetweenPods", "rtx": "On"},
            "drainDeadlineSeconds": 0,
            "podTemplate": {
                "image": "registry.example.com:5000/mafalda/media-pod@sha256:0123456789abcdef",
                "imagePullPolicy": "Never",
                "imagePullSecrets": [{"name": "pull"}],
                "resources": {"limits": {"cpu": 4, "memory": "2Gi"}, "requests": {"cpu": "1500m"}},
                "nodeSelector": {"example.com/disk": "fast"},
                "tolerations": [{"key": "media", "operator": "Exists", "effect": "NoSchedule"}],
                "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
                    {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"team": "media"}}},
                ]}},
                "priorityClassName": "calls",
                "labels": {"example.com/team": "media", "tier": ""},
            },
            "tokenKeySecretName": "own-key",
        }),
        json!({
            "exposure": {"type": "HostNetwork", "portRange": {"first": 1024, "last": 65535}},
            "announcedAddress": {"source": "Annotation", "annotation": "example.com/public-ip", "families": ["IPv6"]},
        }),
        json!({
            "exposure": {"type": "LoadBalancer", "portRange": {"first": 40000, "last": 40000}},
            "announcedAddress": {"source": "Fixed", "addresses": ["203.0.113.7"], "families": ["IPv4"]},
        }),
        json!({
            "exposure": {"type": "Internal", "portRange": {"first": 40000, "last": 40999}},
            "announcedAddress": {"families": ["IPv4", "IPv6"]},
        }),
    ];
    let sessions = [json!({
        "clusterRef": {"name": "other"},
        "expectedParticipants": 100_000,
        "maxParticipants": 100_000,
        "spread": {"maxPods": 64},
        "lifetime": {"emptySeconds": 10, "totalSeconds": 31_536_000},
        "placement": {"region": "eu-west-1", "nodeLabels": {"example.com/disk": "fast"}},
    })];
    on_cluster(async |client| {
        for spec in clusters {
            let made = accepted(&client, &cluster("full", &spec)).await;
            assert_contains(&made["spec"], &spec);
            serde_json::from_value::<MafaldaCluster>(made).unwrap();
        }
        for spec in sessions {
            let made = accepted(&client, &session("full", &spec)).await;
            assert_eq!(made["spec"], spec);
            serde_json::from_value::<Session>(made).unwrap();
        }
    });
}

/// All that `part` says, `whole` says too.
fn assert_contains(whole: &Value, part: &Value) {
    match part {
        Value::Object(fields) => {
            for (name, value) in fields {
                assert_contains(&whole[name], value);
            }
        }
        _ => assert_eq!(whole, part),
    }
}
