//! The operator's own death: pods keep serving, another replica takes over.

use crate::world::{LEASE, World, on_cluster, until};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::DeleteParams;
use mafalda_e2e::Operator;
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// A replica that ends in order gives its Lease back: until the other one works.
const GIVEN_BACK: Duration = Duration::from_secs(2);

/// Who holds the Lease.
async fn holder(world: &World) -> Option<String> {
    let leases: Api<Lease> = Api::default_namespaced(world.client.clone());
    leases.get(LEASE).await.unwrap().spec?.holder_identity
}

/// Protects calls from the operator's death: sessions stay where they are, another replica takes
/// over within 15 s, and what died meanwhile is found then. An upgrade of the operator takes less: who is
/// asked to end does not let the other wait for its Lease.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn another_replica_takes_over() {
    let spec = json!({
        "workersPerPod": 1,
        "exposure": {"type": "Internal"},
        "pool": {"min": 2, "max": 4, "spare": 1},
    });
    on_cluster("replicas", spec, async |world| {
        let mut first = Operator::start(world.cluster, "replica-a", 8081).unwrap();
        world.serving(2).await;
        let mut second = Operator::start(world.cluster, "replica-b", 8082).unwrap();
        world.apply("stays").await;
        world.active("stays", 1).await;
        let before = world.status("stays").await;
        assert_eq!(holder(world).await.as_deref(), Some("replica-a"));

        first.terminate();
        let is_second = async || holder(world).await.as_deref() == Some("replica-b");
        let took = until("the other replica holds the lease", is_second).await;
        println!("the other replica held the lease {took:?} after the first was asked to end");
        assert!(took < GIVEN_BACK, "{took:?}");
        until("the first has ended", async || first.has_ended()).await;
        world.apply("between").await;
        world.active("between", 1).await;

        let first = Operator::start(world.cluster, "replica-a", 8081).unwrap();
        until("it waits for its turn", async || {
            TcpStream::connect(("127.0.0.1", first.port()))
                .await
                .is_ok()
        })
        .await;
        second.kill();
        let begun = Instant::now();
        world.apply("next").await;
        world.active("next", 1).await;
        let took = begun.elapsed();
        println!(
            "the other replica placed a session {took:?} after the death of the one that worked"
        );
        assert!(took < Duration::from_secs(15), "{took:?}");
        assert_eq!(world.status("stays").await, before);
    });
}

/// Protects calls from an operator that is away for long: when it comes back it adopts what runs,
/// and places anew only what was lost meanwhile.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn what_runs_is_adopted_and_what_was_lost_is_found() {
    let spec = json!({
        "workersPerPod": 1,
        "exposure": {"type": "Internal"},
        "pool": {"min": 2, "max": 4, "spare": 1},
    });
    on_cluster("adopt", spec, async |world| {
        let mut operator = Operator::start(world.cluster, "adopt-a", 8081).unwrap();
        world.serving(2).await;
        for name in ["one", "two"] {
            world.apply(name).await;
            world.active(name, 1).await;
        }
        let home = world.status("one").await.home_pod.unwrap();
        let runs = crate::sessions::running(world).await;
        operator.kill();
        assert_eq!(
            crate::sessions::running(world).await,
            runs,
            "pods go on without it"
        );
        let pods = world.pod_names().await;
        let other = pods.iter().find(|pod| **pod != home).unwrap();
        let now = DeleteParams::default().grace_period(0);
        world.pods.delete(other, &now).await.unwrap();

        let _operator = Operator::start(world.cluster, "adopt-b", 8082).unwrap();
        world.serving(2).await;
        assert!(!world.pod_names().await.contains(other));
        let on_home = world.status("one").await;
        assert_eq!(
            (on_home.home_pod, on_home.generation),
            (Some(home), Some(1))
        );
        until("both run", async || {
            crate::sessions::running(world).await.len() == 2
        })
        .await;
    });
}
