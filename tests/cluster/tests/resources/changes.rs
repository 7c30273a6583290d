//! What may change once a resource is there, and what may not.

use crate::on_cluster;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use mafalda_operator::crd::{
    ClusterRef, MafaldaCluster, MafaldaClusterSpec, MafaldaClusterStatus, Session,
};
use serde_json::{Value, json};

async fn merge<K>(api: &Api<K>, name: &str, change: Value) -> kube::Result<K>
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let patch = Patch::Merge(change);
    api.patch(name, &PatchParams::default(), &patch).await
}

async fn make_cluster(
    client: &Client,
    name: &str,
    spec: MafaldaClusterSpec,
) -> Api<MafaldaCluster> {
    let clusters: Api<MafaldaCluster> = Api::default_namespaced(client.clone());
    let manifest = MafaldaCluster::new(name, spec);
    clusters
        .create(&PostParams::default(), &manifest)
        .await
        .unwrap();
    clusters
}

/// Protects running calls and their tokens: the key's Secret cannot be swapped under them, in no
/// way; everything else may be changed.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn the_token_key_secret_stays() {
    on_cluster(async |client| {
        let with_secret = MafaldaClusterSpec {
            token_key_secret_name: Some("first".to_owned()),
            ..MafaldaClusterSpec::default()
        };
        let clusters = make_cluster(&client, "own-secret", with_secret).await;
        make_cluster(&client, "made-secret", MafaldaClusterSpec::default()).await;
        for (name, secret) in [
            ("own-secret", json!("second")),
            ("own-secret", Value::Null),
            ("made-secret", json!("first")),
        ] {
            let change = json!({"spec": {"tokenKeySecretName": secret}});
            let refused = merge(&clusters, name, change)
                .await
                .unwrap_err()
                .to_string();
            let said = "spec.tokenKeySecretName is immutable";
            assert!(refused.contains(said), "{name}: {refused}");
        }
        let allowed = json!({"spec": {
            "pool": {"max": 9},
            "exposure": {"type": "HostNetwork"},
            "announcedAddress": {"source": "NodeInternalIP"},
            "watermarkPercent": 70,
            "podTemplate": {"image": "media-pod:2"},
        }});
        merge(&clusters, "own-secret", allowed).await.unwrap();
        for name in ["own-secret", "made-secret"] {
            let deleted = clusters.delete(name, &DeleteParams::default()).await;
            deleted.unwrap();
        }
    });
}

/// Protects sessions: one cannot be moved to another cluster, as its calls could not follow.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn a_session_stays_on_its_cluster() {
    on_cluster(async |client| {
        let sessions: Api<Session> = Api::default_namespaced(client);
        let manifest: Session =
            serde_json::from_value(crate::session("stays", &json!({}))).unwrap();
        let made = sessions.create(&PostParams::default(), &manifest).await;
        let cluster = ClusterRef {
            name: "mafalda".to_owned(),
        };
        assert_eq!(made.unwrap().spec.cluster_ref, cluster);

        let change = json!({"spec": {"clusterRef": {"name": "other"}}});
        let refused = merge(&sessions, "stays", change).await.unwrap_err();
        let said = "spec.clusterRef is immutable";
        assert!(refused.to_string().contains(said), "{refused}");

        let allowed = json!({"spec": {"maxParticipants": 20, "placement": {"region": "eu"}}});
        merge(&sessions, "stays", allowed).await.unwrap();
        let deleted = sessions.delete("stays", &DeleteParams::default()).await;
        deleted.unwrap();
    });
}

/// Protects what people wrote from the operator, and what it saw from people: the status is a
/// resource of its own.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn spec_and_status_are_written_apart() {
    on_cluster(async |client| {
        let clusters = make_cluster(&client, "apart", MafaldaClusterSpec::default()).await;
        let written = merge(&clusters, "apart", json!({"status": {"pods": 7}})).await;
        assert_eq!(written.unwrap().status, None);

        let change = Patch::Merge(json!({"status": {"pods": 2}, "spec": {"watermarkPercent": 70}}));
        let written = clusters
            .patch_status("apart", &PatchParams::default(), &change)
            .await
            .unwrap();
        let status = MafaldaClusterStatus {
            pods: 2,
            ..MafaldaClusterStatus::default()
        };
        assert_eq!(written.status, Some(status));
        assert_eq!(written.spec.watermark_percent, 60);
        let deleted = clusters.delete("apart", &DeleteParams::default()).await;
        deleted.unwrap();
    });
}
