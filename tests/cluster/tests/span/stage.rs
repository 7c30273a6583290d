//! A session on the stage, and what its home says of it.

use crate::keys;
use crate::world::{World, on, prepare, until};
use hyper::Method;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use mafalda_e2e::pod::ask;
use mafalda_e2e::{Access, Cluster, Operator, Room};
use mafalda_operator::names::ZONE;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

const NODES: u32 = 3;
/// People who join at once, and in how many steps at most.
const STEP: u32 = 8;
const STEPS: u32 = 30;

static CLUSTER: LazyLock<Cluster> = LazyLock::new(|| prepare(NODES));

/// Runs a test on three nodes, with a pool of that size of pods with one worker each that is hot soon.
pub fn with_pool(name: &str, pool: Value, test: impl AsyncFnOnce(&World) + Send) {
    with_pipes(name, pool, json!({}), test);
}

/// The same, with pipes that are so.
pub fn with_pipes(name: &str, pool: Value, pipes: Value, test: impl AsyncFnOnce(&World) + Send) {
    let spec = json!({
        "workersPerPod": 1,
        "watermarkPercent": 10,
        "exposure": {"type": "Internal"},
        "pool": pool,
        "pipes": pipes,
        "drainDeadlineSeconds": 40,
    });
    on(&CLUSTER, name, spec, async |world| {
        zones(world).await;
        let _operator = Operator::start(world.cluster, name, 8080).unwrap();
        test(world).await;
    });
}

/// Lets each node be a zone of that name.
async fn zones(world: &World) {
    let nodes: Api<Node> = Api::all(world.client.clone());
    for node in nodes.list(&ListParams::default()).await.unwrap() {
        let name = node.name_any();
        let patch = Patch::Merge(json!({"metadata": {"labels": {ZONE: name}}}));
        let parameters = PatchParams::default();
        nodes.patch(&name, &parameters, &patch).await.unwrap();
    }
}

/// A Session on which people are.
pub struct Stage<'w> {
    pub world: &'w World,
    pub session: &'static str,
    pub room: Room,
}

impl<'w> Stage<'w> {
    /// Its application knows its home pod's URL.
    pub async fn open(world: &'w World) -> Self {
        Self::open_with(world, "stage", |access| access).await
    }

    /// Its application knows that URL.
    pub async fn open_by(world: &'w World, session: &'static str, url: &str) -> Self {
        Self::open_with(world, session, |access| access.by(url)).await
    }

    async fn open_with(
        world: &'w World,
        session: &'static str,
        by: impl FnOnce(Access) -> Access,
    ) -> Self {
        world
            .apply_with(session, json!({"expectedParticipants": 100}))
            .await;
        world.active(session, 1).await;
        let access = Access::to(&world.client, &world.namespace, session).await;
        let name = format!("{}-{session}", world.namespace);
        let room = Room::open_with(by(access), &name).await;
        Self {
            world,
            session,
            room,
        }
    }

    /// Its application ends, and it.
    pub async fn close(self) {
        drop(self.room);
        let sessions = &self.world.sessions;
        let parameters = DeleteParams::default();
        sessions.delete(self.session, &parameters).await.unwrap();
    }

    /// The pods that it may use by its status, its home first.
    pub async fn pods(&self) -> Vec<String> {
        self.world.status(self.session).await.pods
    }

    pub async fn home(&self) -> String {
        self.world.status(self.session).await.home_pod.unwrap()
    }

    /// Lets people join until something of it is on so many pods. How many people there are then.
    pub async fn grow_to(&mut self, pods: usize) -> usize {
        for _ in 0..STEPS {
            let people = self.room.tell(&format!("join {STEP} {STEP}")).await.people;
            if self.used().await.len() >= pods {
                return people;
            }
        }
        panic!(
            "on {:?} alone, with {:?}",
            self.used().await,
            self.room.said().last()
        );
    }

    /// Its virtual worker, as its home sees it.
    pub async fn topology(&self) -> Value {
        topology(self.world, self.session).await
    }

    /// The pods that carry transports of its people, and how many.
    pub async fn used(&self) -> BTreeMap<String, usize> {
        people(&self.topology().await)
    }

    /// The people on these pods, by their transports.
    pub async fn people_on(&self, pods: &[String]) -> BTreeSet<String> {
        let topology = self.topology().await;
        let transports = topology["transports"].as_array().unwrap();
        let pod_of = pod_of(&topology);
        // Who sends is none of them.
        let receives = transports.iter().filter(|one| one["producers"] == json!(0));
        let there = receives.filter(|one| {
            let pod = pod_of[&one["member"].as_u64().unwrap()];
            pods.iter().any(|wanted| wanted == pod)
        });
        there
            .map(|one| one["id"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Waits until everybody receives voice and video.
    pub async fn all_hear(&mut self) -> Duration {
        let begun = Instant::now();
        loop {
            let said = self.room.tell("hear").await;
            if said.hearing == said.people {
                return begun.elapsed();
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "{said:?}");
        }
    }

    /// Waits until it has so many pods.
    pub async fn has(&self, pods: usize) -> Duration {
        until(&format!("{pods} pods"), async || {
            self.pods().await.len() == pods
        })
        .await
    }
}

/// The virtual worker of a Session, as its home sees it.
pub async fn topology(world: &World, session: &str) -> Value {
    let home = world.status(session).await.home_pod.unwrap();
    let ip = addresses(world).await[&home];
    let access = keys::access(world, "talk").await;
    let bearer = access.bearer().unwrap();
    let (method, path) = (Method::GET, "/v1/topology");
    let asked = ask(ip, &access, method, path, Some(&bearer), Value::Null).await;
    let (status, mut said) = asked.unwrap();
    assert_eq!(status, 200, "{said}");
    let all = said["virtualWorkers"].as_array_mut().unwrap();
    assert_eq!(all.len(), 1, "one application");
    all.remove(0)
}

/// The pods' addresses.
pub async fn addresses(world: &World) -> BTreeMap<String, IpAddr> {
    let talk = ListParams::default().labels("mafalda.dev/cluster=talk");
    let pods = world.pods.list(&talk).await.unwrap();
    let address = |pod: &Pod| {
        let ip = pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok()?;
        Some((pod.name_any(), ip))
    };
    pods.iter().filter_map(address).collect()
}

/// The pods that carry transports, and how many.
pub fn people(topology: &Value) -> BTreeMap<String, usize> {
    let pod_of = pod_of(topology);
    let mut used = BTreeMap::new();
    for transport in topology["transports"].as_array().unwrap() {
        let pod = pod_of[&transport["member"].as_u64().unwrap()];
        *used.entry(pod.to_owned()).or_default() += 1;
    }
    used
}

/// The pod of each member.
fn pod_of(topology: &Value) -> BTreeMap<u64, &str> {
    let members = topology["members"].as_array().unwrap().iter();
    members
        .map(|member| {
            let pod = member["pod"].as_str().unwrap();
            (member["id"].as_u64().unwrap(), pod)
        })
        .collect()
}

/// The pipes as (source, target) pods.
pub fn pipes(topology: &Value) -> BTreeSet<(String, String)> {
    let pod = |pipe: &Value, end: &str| pipe[end].as_str().unwrap().to_owned();
    let pipes = topology["pipes"].as_array().unwrap();
    let pipes = pipes.iter();
    pipes
        .map(|pipe| (pod(pipe, "sourcePod"), pod(pipe, "targetPod")))
        .collect()
}
