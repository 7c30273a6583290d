//! Each way in, with media through it.

use crate::world::{World, until, with_operator};
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use mafalda_e2e::Access;
use serde::Deserialize;
use serde_json::{Value, json};

/// What `tests/cluster/media/webrtc.mjs` found.
#[derive(Debug, Deserialize)]
struct Seen {
    received: u32,
    ways: Vec<String>,
}

/// Two WebRTC clients outside the nodes' networks, on a new Session: where their packets went.
async fn clients(world: &World, session: &str) -> Seen {
    let access = Access::to(&world.client, &world.namespace, session).await;
    let mut command = access.node("webrtc.mjs", &[]);
    let run = tokio::task::spawn_blocking(move || command.output().unwrap());
    let output = run.await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{session}: {said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The media pods that are not ending.
async fn pods(world: &World) -> Vec<Pod> {
    let pods = world.pods.list(&ListParams::default()).await.unwrap().items;
    let lives = |pod: &Pod| pod.metadata.deletion_timestamp.is_none();
    pods.into_iter().filter(lives).collect()
}

fn host_of(pod: &Pod) -> Option<&str> {
    pod.status.as_ref()?.host_ip.as_deref()
}

/// The address of the balancer of this pod: one of a range that is for documentation.
fn balancer(pod: &str) -> String {
    let number: u8 = pod.rsplit('-').next().unwrap().parse().unwrap();
    format!("203.0.113.{}", 10 + number)
}

/// What a cloud does: each Service of type LoadBalancer gets an address, and packets to it come to
/// the pod's node. There kube-proxy has the Service's rules.
async fn play_the_cloud(world: &World) {
    let services: Api<Service> = Api::namespaced(world.client.clone(), &world.namespace);
    for service in services.list(&ListParams::default()).await.unwrap() {
        let name = service.name_any();
        let is_balanced = service.spec.unwrap().type_.as_deref() == Some("LoadBalancer");
        let pod = world.pods.get_opt(&name).await.unwrap();
        let Some(host) = pod.as_ref().and_then(host_of).filter(|_| is_balanced) else {
            continue;
        };
        let route = [
            "exec",
            "ip",
            "route",
            "replace",
            &balancer(&name),
            "via",
            host,
        ];
        world.cluster.script(&route).unwrap();
        let status = json!({"status": {"loadBalancer": {"ingress": [{"ip": balancer(&name)}]}}});
        let parameters = PatchParams::default();
        let patch = Patch::Merge(status);
        services
            .patch_status(&name, &parameters, &patch)
            .await
            .unwrap();
    }
}

/// Waits until all media pods are made for that exposure.
async fn replaced(world: &World, exposure: &str) {
    until(&format!("all pods are of {exposure}"), async || {
        if exposure == "LoadBalancer" {
            play_the_cloud(world).await;
        }
        let made_for = |pod: &Pod| {
            let annotation = pod.annotations().get("mafalda.dev/exposure");
            annotation.is_some_and(|made_for| made_for == exposure)
        };
        let pods = pods(world).await;
        !pods.is_empty() && pods.iter().all(made_for)
    })
    .await;
}

/// The addresses that a pod's clients should be told.
fn expected(exposure: &str, pod: &Pod) -> String {
    match exposure {
        "Internal" => pod.status.as_ref().unwrap().pod_ip.clone().unwrap(),
        "LoadBalancer" => balancer(&pod.name_any()),
        _ => host_of(pod).unwrap().to_owned(),
    }
}

fn spec(exposure: &str) -> Value {
    let first = if exposure == "NodePort" {
        31_000
    } else {
        40_000
    };
    let range = json!({"first": first, "last": first + 99});
    // `null` takes a field away that is there.
    let source = match exposure {
        "Internal" | "LoadBalancer" => Value::Null,
        _ => json!("NodeInternalIP"),
    };
    json!({
        "exposure": {"type": exposure, "portRange": range},
        "announcedAddress": {"source": source},
    })
}

/// Protects who chooses a way in, or another one later: media flows through each to the address that
/// clients are told, and a living cluster goes from one to the next by itself, with its sessions.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn media_flows_through_each_exposure_of_a_living_cluster() {
    let mut first = spec("HostPort");
    first["workersPerPod"] = json!(1);
    first["pool"] = json!({"min": 1, "max": 2, "spare": 0});
    first["drainDeadlineSeconds"] = json!(2);
    with_operator("exposures", first, async |world| {
        for exposure in [
            "HostPort",
            "NodePort",
            "LoadBalancer",
            "HostNetwork",
            "Internal",
        ] {
            let patch = Patch::Merge(json!({"spec": spec(exposure)}));
            let parameters = PatchParams::default();
            let changed = world.clusters.patch("talk", &parameters, &patch).await;
            changed.unwrap();
            replaced(world, exposure).await;
            let session = format!("by-{}", exposure.to_lowercase());
            world.apply(&session).await;
            until("it is active", async || {
                if exposure == "LoadBalancer" {
                    play_the_cloud(world).await;
                }
                world.status(&session).await.endpoint.is_some()
            })
            .await;
            let home = world.status(&session).await.home_pod.unwrap();
            let home = world.pods.get(&home).await.unwrap();
            let seen = clients(world, &session).await;
            println!("{exposure}: {} packets to {:?}", seen.received, seen.ways);
            let port = &home.annotations()["mafalda.dev/rtc-port"];
            let way = format!("{}:{port}", expected(exposure, &home));
            assert_eq!(seen.ways, [way], "{exposure}");
            // The next exposure finds one that lives, and one that does not.
            if exposure == "NodePort" {
                let parameters = DeleteParams::default();
                world.sessions.delete(&session, &parameters).await.unwrap();
            }
        }
    });
}
