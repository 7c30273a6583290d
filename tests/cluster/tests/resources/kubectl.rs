//! What people see and do with kubectl.

use crate::{CLUSTER, on_cluster};
use k8s_openapi::api::autoscaling::v1::Scale;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use mafalda_operator::crd::{
    MafaldaCluster, MafaldaClusterSpec, MafaldaClusterStatus, Phase, PodVersion, Session,
    SessionStatus,
};
use serde_json::json;

fn ready(reason: &str) -> Vec<Condition> {
    vec![Condition {
        type_: "Ready".to_owned(),
        status: "True".to_owned(),
        reason: reason.to_owned(),
        message: String::new(),
        last_transition_time: Time(Timestamp::UNIX_EPOCH),
        observed_generation: Some(1),
    }]
}

/// The words of a table's head, and of its one row.
fn table(arguments: &[&str]) -> (Vec<String>, Vec<String>) {
    let printed = CLUSTER.kubectl(arguments).unwrap();
    let mut lines = printed
        .lines()
        .map(|line| line.split_whitespace().map(str::to_owned).collect());
    let rows = (lines.next().unwrap(), lines.next().unwrap());
    assert_eq!(lines.next(), None, "{printed}");
    rows
}

/// Protects the first look: `kubectl get` with the short names answers "is it well?".
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn a_glance_tells_whether_it_is_well() {
    on_cluster(async |client| {
        let clusters: Api<MafaldaCluster> = Api::default_namespaced(client.clone());
        let sessions: Api<Session> = Api::default_namespaced(client);
        let post = PostParams::default();
        let cluster = MafaldaCluster::new("glance", MafaldaClusterSpec::default());
        clusters.create(&post, &cluster).await.unwrap();
        let session = serde_json::from_value(crate::session("glance", &json!({}))).unwrap();
        sessions.create(&post, &session).await.unwrap();

        let status = MafaldaClusterStatus {
            pods: 3,
            ready: 2,
            draining: 1,
            sessions: 12,
            participants: Some(50),
            utilization: Some(34),
            versions: vec![PodVersion {
                mediasoup: "3.27.1".to_owned(),
                pods: 3,
            }],
            selector: Some("mafalda.dev/cluster=glance".to_owned()),
            conditions: ready("PoolReady"),
            observed_generation: Some(1),
        };
        let apply = PatchParams::default();
        let patch = Patch::Merge(json!({"status": status}));
        let written = clusters.patch_status("glance", &apply, &patch).await;
        assert_eq!(written.unwrap().status, Some(status));

        let status = SessionStatus {
            phase: Some(Phase::Active),
            generation: Some(2),
            home_pod: Some("glance-x7".to_owned()),
            pods: vec!["glance-x7".to_owned()],
            participants: Some(4),
            mediasoup_version: Some("3.27.1".to_owned()),
            endpoint: Some("wss://10.0.0.7:4400/v1/sessions/glance".to_owned()),
            token_secret_name: Some("glance-access".to_owned()),
            access_from: Some("1a2b3c4d5e".to_owned()),
            last_reason: Some("HomeSilent".to_owned()),
            conditions: ready("Active"),
            observed_generation: Some(1),
        };
        let patch = Patch::Merge(json!({"status": status}));
        let written = sessions.patch_status("glance", &apply, &patch).await;
        assert_eq!(written.unwrap().status, Some(status));

        let (head, row) = table(&["get", "mfc", "glance"]);
        let columns = "NAME READY PODS SERVING DRAINING SESSIONS LOAD% REASON AGE";
        assert_eq!(head.join(" "), columns);
        let values = "glance True 3 2 1 12 34 PoolReady";
        assert_eq!(row[..8].join(" "), values);

        let (head, row) = table(&["get", "mfc", "glance", "-o", "wide"]);
        assert!(
            head.join(" ")
                .ends_with("EXPOSURE PARTICIPANTS VERSION AGE")
        );
        assert_eq!(row[8..11].join(" "), "HostPort 50 3.27.1");

        let (head, row) = table(&["get", "mfs", "glance"]);
        let columns = "NAME PHASE CLUSTER PARTICIPANTS HOME GENERATION REASON AGE";
        assert_eq!(head.join(" "), columns);
        assert_eq!(
            row[..7].join(" "),
            "glance Active mafalda 4 glance-x7 2 HomeSilent"
        );

        let (head, row) = table(&["get", "mfs", "glance", "-o", "wide"]);
        assert!(head.join(" ").ends_with("ENDPOINT PODS VERSION AGE"));
        assert_eq!(row[8..10].join(" "), r#"["glance-x7"] 3.27.1"#);

        // The category has both.
        let both = CLUSTER.kubectl(&["get", "mafalda", "-o", "name"]).unwrap();
        assert!(both.contains("mafaldacluster.mafalda.dev/glance"), "{both}");
        assert!(both.contains("session.mafalda.dev/glance"), "{both}");

        let delete = DeleteParams::default();
        clusters.delete("glance", &delete).await.unwrap();
        sessions.delete("glance", &delete).await.unwrap();
    });
}

/// Protects `kubectl scale` and autoscalers: they set the pool's least size, see the pods that
/// there are and how to find them, and are held to the same rules as manifests.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn scale_sets_the_least_size_of_the_pool() {
    on_cluster(async |client| {
        let clusters: Api<MafaldaCluster> = Api::default_namespaced(client);
        let cluster = MafaldaCluster::new("scaled", MafaldaClusterSpec::default());
        let post = PostParams::default();
        clusters.create(&post, &cluster).await.unwrap();
        let status = json!({"status": {"pods": 2, "selector": "mafalda.dev/cluster=scaled"}});
        let merge = PatchParams::default();
        let written = clusters
            .patch_status("scaled", &merge, &Patch::Merge(status))
            .await;
        written.unwrap();

        CLUSTER
            .kubectl(&["scale", "mfc/scaled", "--replicas=3"])
            .unwrap();
        let scaled = clusters.get("scaled").await.unwrap();
        assert_eq!(scaled.spec.pool.min, 3);

        let scale: Scale = clusters.get_scale("scaled").await.unwrap();
        assert_eq!(scale.spec.unwrap().replicas, Some(3));
        let status = scale.status.unwrap();
        assert_eq!(status.replicas, 2);
        assert_eq!(
            status.selector.as_deref(),
            Some("mafalda.dev/cluster=scaled")
        );

        let refused = CLUSTER.kubectl(&["scale", "mfc/scaled", "--replicas=4"]);
        let said = refused.unwrap_err().to_string();
        assert!(
            said.contains("spec.pool.min must not be more than spec.pool.max"),
            "{said}"
        );
        clusters
            .delete("scaled", &DeleteParams::default())
            .await
            .unwrap();
    });
}

/// Protects readers of `kubectl explain`: units, range and default of a field are there.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn explain_tells_unit_range_and_default() {
    for (field, words) in [
        (
            "mafaldacluster.spec.drainDeadlineSeconds",
            ["in seconds", "0 to 86400", "Default: 3600"],
        ),
        (
            "mafaldacluster.spec.watermarkPercent",
            ["in percent", "10 to 95", "Default: 60"],
        ),
        (
            "mafaldacluster.spec.exposure.type",
            ["HostPort:", "LoadBalancer:", "Default: HostPort"],
        ),
        (
            "session.spec.spread.maxPods",
            ["Media pods at most", "1 to 64", "Default: 8"],
        ),
        (
            "session.spec.maxParticipants",
            ["two WebRtcTransports", "1 to 100000", "Default: 1000"],
        ),
        (
            "session.spec.lifetime.emptySeconds",
            [
                "in seconds",
                "has a transport of any kind",
                "Default: as long",
            ],
        ),
        (
            "session.spec.placement.nodeLabels",
            ["the more of them", "at most 32", "no other has room"],
        ),
    ] {
        let printed = CLUSTER.kubectl(&["explain", field]).unwrap();
        let text = printed.split_whitespace().collect::<Vec<_>>().join(" ");
        for word in words {
            assert!(text.contains(word), "{field}: {word:?} is not in: {text}");
        }
    }
}
