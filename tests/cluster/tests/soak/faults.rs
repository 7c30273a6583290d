//! What goes wrong, at random.

use crate::applications::Applications;
use crate::drill::{Replicas, kill_supervisor};
use crate::history::{History, Placed};
use crate::processes::{self, Kind};
use crate::random::Random;
use crate::world::World;
use kube::api::{DeleteParams, Patch, PatchParams};
use mafalda_operator::names::DRAIN_REQUESTED;
use serde_json::json;
use std::time::{Duration, Instant};

/// How long a node is cut off.
const CUT: Duration = Duration::from_secs(10);
/// How long a drain goes on that is taken back: past its first phase, not to its deadline.
const DRAIN: Duration = Duration::from_secs(5);
/// How many relays lose their connection at once.
const BROKEN: usize = 10;
/// What passes between two faults.
const BETWEEN: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(5)];

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    PodKilled,
    WorkerKilled,
    PodDeleted,
    NodeCut,
    ReplicaKilled,
    PodDrained,
    ConnectionsBroken,
}

impl Fault {
    /// Each of them, and how it is called in tables.
    pub const ALL: [(Self, &'static str); 7] = [
        (Self::PodKilled, "media pod `kill -9`"),
        (Self::PodDeleted, "media pod deleted with grace"),
        (Self::NodeCut, "node cut off for 10 s, and healed"),
        (Self::WorkerKilled, "worker process `kill -9`"),
        (Self::ReplicaKilled, "operator replica `kill -9`"),
        (Self::PodDrained, "drain, taken back"),
        (Self::ConnectionsBroken, "connections of 10 relays broken"),
    ];

    /// Whether it takes the home from the sessions that are there.
    pub fn moves(self) -> bool {
        matches!(self, Self::PodKilled | Self::PodDeleted | Self::NodeCut)
    }
}

/// One that was made.
pub struct Strike {
    pub fault: Fault,
    pub at: Instant,
    /// The sessions at home where it happened.
    pub there: Vec<Placed>,
}

/// Who makes them.
pub struct Striker<'w> {
    pub world: &'w World,
    pub replicas: Replicas<'w>,
    pub nodes: Vec<String>,
    /// A pod that is neither killed nor deleted, and none of its workers: its memory is the whole
    /// run's.
    pub kept: String,
    pub random: Random,
}

impl Striker<'_> {
    /// Faults until the time is over, each kind as often as the others.
    pub async fn strike_for(
        &mut self,
        time: Duration,
        history: &History,
        applications: &mut Applications,
    ) -> Vec<Strike> {
        let begun = Instant::now();
        let (mut deck, mut strikes) = (Vec::new(), Vec::new());
        while begun.elapsed() < time {
            self.pause(time.saturating_sub(begun.elapsed())).await;
            if deck.is_empty() {
                deck = self.random.shuffled(&Fault::ALL);
            }
            let (fault, _) = deck.pop().unwrap();
            let (what, strike) = self.strike(fault, history, applications).await;
            let line = applications.last();
            println!(
                "{:>4} s {fault:?} {what}: {} sessions there, {} Active, {:?} applications",
                begun.elapsed().as_secs(),
                strike.there.len(),
                history.active(),
                line.map(|line| line.here()),
            );
            strikes.push(strike);
        }
        strikes
    }

    async fn pause(&mut self, at_most: Duration) {
        let pause = self.random.between(BETWEEN[0], BETWEEN[1]);
        tokio::time::sleep(pause.min(at_most)).await;
    }

    /// One fault, until what is to be undone of it is undone: what it hit.
    async fn strike(
        &mut self,
        fault: Fault,
        history: &History,
        applications: &Applications,
    ) -> (String, Strike) {
        // What there is to choose from differs from run to run; the next fault does not.
        let mut random = self.random.fork();
        let mut strike = Strike {
            fault,
            at: Instant::now(),
            there: Vec::new(),
        };
        let what = match fault {
            Fault::PodKilled | Fault::WorkerKilled => {
                let kind = match fault {
                    Fault::PodKilled => Kind::Pod,
                    _ => Kind::Worker,
                };
                let all = processes::of(self.world).await;
                let is_one = |one: &processes::Process| one.kind == kind && one.pod != self.kept;
                let all: Vec<_> = all.into_iter().filter(is_one).collect();
                let Some(process) = random.one(&all) else {
                    return ("none".to_owned(), strike);
                };
                strike.there = history.homes_on(std::slice::from_ref(&process.pod));
                strike.at = Instant::now();
                kill_supervisor(process.id);
                process.pod.clone()
            }
            Fault::PodDeleted => {
                let pod = self.pod(&mut random).await;
                strike.there = history.homes_on(std::slice::from_ref(&pod));
                strike.at = Instant::now();
                self.delete(&pod).await;
                pod
            }
            Fault::NodeCut => {
                let node = random.one(&self.nodes).unwrap().clone();
                let pods = self.world.pods_on(&node).await;
                strike.there = history.homes_on(&pods);
                strike.at = Instant::now();
                self.world.cluster.script(&["cut", &node]).unwrap();
                tokio::time::sleep(CUT).await;
                self.world.cluster.script(&["heal", &node]).unwrap();
                node
            }
            Fault::ReplicaKilled => {
                self.replicas.kill_leader().await;
                // As the kubelet does, a moment later.
                tokio::time::sleep(Duration::from_secs(1)).await;
                self.replicas.complete();
                "the one that works".to_owned()
            }
            Fault::PodDrained => {
                let pod = self.pod(&mut random).await;
                strike.there = history.homes_on(std::slice::from_ref(&pod));
                self.request_drain(&pod, Some("true")).await;
                tokio::time::sleep(DRAIN).await;
                self.request_drain(&pod, None).await;
                pod
            }
            Fault::ConnectionsBroken => {
                let broken = applications.break_connections(&mut random, BROKEN);
                format!("({broken})")
            }
        };
        (what, strike)
    }

    /// A pod that things may happen to.
    async fn pod(&self, random: &mut Random) -> String {
        let mut pods = self.world.pod_names().await;
        pods.retain(|pod| *pod != self.kept);
        pods.sort();
        random.one(&pods).unwrap().clone()
    }

    async fn delete(&self, pod: &str) {
        tolerate_gone(self.world.pods.delete(pod, &DeleteParams::default()).await);
    }

    async fn request_drain(&self, pod: &str, value: Option<&str>) {
        let patch = json!({"metadata": {"annotations": {DRAIN_REQUESTED: value}}});
        let parameters = PatchParams::default();
        let patched = self
            .world
            .pods
            .patch(pod, &parameters, &Patch::Merge(patch))
            .await;
        tolerate_gone(patched);
    }
}

/// The operator may have deleted a pod that is empty.
fn tolerate_gone<T>(answer: Result<T, kube::Error>) {
    match answer {
        Err(kube::Error::Api(status)) if status.is_not_found() => {}
        other => drop(other.unwrap()),
    }
}
