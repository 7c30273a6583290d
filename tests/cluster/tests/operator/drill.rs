//! A pool under two replicas of the operator: a call on a pod that nothing happens to, and sessions on
//! another node that something happens to.

use crate::world::{LEASE, World, until};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use kube::api::{DeleteParams, ListParams};
use kube::{Api, ResourceExt};
use mafalda_e2e::{Calls, Event, Operator};
use mafalda_operator::crd::{Phase, SessionStatus};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Media pods in the pool: two for each node.
pub const PODS: u32 = 4;
const HOSTNAME: &str = "kubernetes.io/hostname";

/// The spec of its MafaldaCluster.
pub fn pool() -> Value {
    json!({
        "workersPerPod": 1,
        "exposure": {"type": "Internal"},
        "pool": {"min": PODS, "max": PODS + 2, "spare": 1},
    })
}

/// Two replicas of the operator. One of them holds the Lease.
pub struct Replicas<'w> {
    world: &'w World,
    running: BTreeMap<String, Operator>,
}

impl<'w> Replicas<'w> {
    pub fn start(world: &'w World) -> Self {
        let mut replicas = Self {
            world,
            running: BTreeMap::new(),
        };
        replicas.complete();
        replicas
    }

    /// Starts those that do not run, each under its name: as the kubelet does.
    pub fn complete(&mut self) {
        for (replica, port) in [("a", 8081), ("b", 8082)] {
            let name = format!("{}-{replica}", self.world.namespace);
            self.running
                .entry(name.clone())
                .or_insert_with(|| Operator::start(self.world.cluster, &name, port).unwrap());
        }
    }

    pub fn kill_all(&mut self) {
        // Dropped is killed.
        self.running.clear();
    }

    /// Kills the one that works.
    pub async fn kill_leader(&mut self) {
        let leases: Api<Lease> = Api::default_namespaced(self.world.client.clone());
        let mut killed = None;
        until("a replica works", async || {
            let lease = leases.get(LEASE).await.unwrap();
            let holder = lease.spec.and_then(|spec| spec.holder_identity);
            killed = holder.and_then(|holder| self.running.remove(&holder));
            killed.is_some()
        })
        .await;
    }
}

pub struct Drill<'w> {
    pub world: &'w World,
    pub replicas: Replicas<'w>,
    /// The node that things happen on.
    pub far: String,
    near: String,
    /// The status of the session that nothing happens to, and the call on it.
    call: SessionStatus,
    media: Calls,
    applied: u32,
}

impl<'w> Drill<'w> {
    pub async fn new(world: &'w World) -> Self {
        let replicas = Replicas::start(world);
        world.calm(PODS).await;
        let nodes: Api<Node> = Api::all(world.client.clone());
        let nodes = nodes.list(&ListParams::default()).await.unwrap();
        let names: Vec<String> = nodes.iter().map(ResourceExt::name_any).collect();
        // kind lists its control plane too.
        let [.., near, far] = &names[..] else {
            panic!("fewer than two nodes: {names:?}");
        };
        let near = near.clone();
        world.apply_with("call", on(&near)).await;
        world.active("call", 1).await;
        let call = world.status("call").await;
        let home = call.home_pod.clone().unwrap();
        assert_eq!(world.node_of(&home).await, near);
        let media = Calls::start(&world.client, &world.namespace, "call", 1).await;
        until("media flows", async || media.flow()).await;
        Self {
            world,
            replicas,
            far: far.clone(),
            near,
            call,
            media,
            applied: 0,
        }
    }

    /// Applies a session that is at home on the far node.
    pub async fn session(&mut self) -> (String, SessionStatus) {
        let world = self.world;
        loop {
            self.applied += 1;
            let name = format!("hit-{}", self.applied);
            world.apply_with(&name, on(&self.far)).await;
            world.active(&name, 1).await;
            let status = world.status(&name).await;
            let home = status.home_pod.clone().unwrap();
            if world.node_of(&home).await == self.far {
                return (name, status);
            }
            self.end(&name).await;
            // No pod there takes sessions: those that come for some of the near node's go there.
            let mut pods = world.pods_on(&self.near).await;
            pods.retain(|pod| Some(pod) != self.call.home_pod.as_ref());
            world.sweep(&pods).await;
            world.calm(PODS).await;
        }
    }

    pub async fn end(&self, session: &str) {
        let sessions = &self.world.sessions;
        let parameters = DeleteParams::default();
        sessions.delete(session, &parameters).await.unwrap();
    }

    /// What became of the call's packets.
    pub fn packets(&self) -> String {
        let (received, lost) = (self.media.received(), self.media.lost());
        format!("{received} packets received, {lost} lost")
    }

    /// Sees that the call goes on where it was, and never lost a packet.
    pub async fn call_goes_on(&self) {
        let now = self.world.status("call").await;
        assert_eq!(now.phase, Some(Phase::Active));
        assert_eq!(now.home_pod, self.call.home_pod);
        assert_eq!(now.generation, self.call.generation);
        let before = self.media.received();
        until("media goes on", async || self.media.received() > before).await;
        assert!(self.media.flow());
        assert_eq!(self.media.count(Event::Died), 0);
        assert_eq!(self.media.lost(), 0, "{:?}", self.media.lines().last());
    }
}

/// A pod's supervisor ends without a word.
pub async fn kill(world: &World, pod: &str) {
    kill_supervisor(world.process_of(pod).await);
}

/// As [`kill`], while no API server says where it is.
pub fn kill_supervisor(process: u32) {
    let id = i32::try_from(process).unwrap();
    kill_process(Pid::from_raw(id).unwrap(), Signal::KILL).unwrap();
}

fn on(node: &str) -> Value {
    json!({"placement": {"nodeLabels": {HOSTNAME: node}}})
}
