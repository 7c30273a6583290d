//! What is left on media pods when all applications have gone: nothing.

use crate::history::Placed;
use crate::keys::access;
use crate::processes::{self, Kind};
use crate::world::{PATIENCE, World};
use hyper::Method;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::ListParams;
use mafalda_e2e::pod::ask;
use mafalda_operator::pod_api::Access;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// What all pods say at a moment.
pub struct Look {
    /// By pod: why it is not empty.
    pub left: Vec<String>,
    /// Each home of each session, by the pods' own word.
    pub homes: BTreeMap<Placed, Vec<String>>,
    /// Worker processes that were asked.
    pub workers: usize,
}

/// Waits until nothing is left; what was seen then, and how long that took.
///
/// # Panics
/// When something stays.
pub async fn none_left(world: &World, sockets: usize) -> (Look, Duration) {
    let begun = Instant::now();
    loop {
        let look = look(world, sockets).await;
        if look.left.is_empty() {
            return (look, begun.elapsed());
        }
        assert!(begun.elapsed() < PATIENCE, "left over: {:#?}", look.left);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// The most sockets that one worker process has open.
pub async fn most_sockets(world: &World) -> usize {
    let all = processes::of(world).await;
    let workers = all.iter().filter(|process| process.kind == Kind::Worker);
    workers
        .filter_map(processes::Process::sockets)
        .max()
        .unwrap()
}

async fn look(world: &World, sockets: usize) -> Look {
    let mut look = Look {
        left: Vec::new(),
        homes: BTreeMap::new(),
        workers: 0,
    };
    let access = access(world, "talk").await;
    let pods = world.pods.list(&ListParams::default()).await.unwrap();
    for pod in pods {
        let name = pod.name_any();
        if let Err(why) = one(&pod, &access, &mut look).await {
            look.left.push(format!("{name}: {why}"));
        }
    }
    // The pods' own books are checked by what the kernel has: a transport has a socket.
    for process in processes::of(world).await {
        if process.kind == Kind::Worker && process.sockets().is_some_and(|open| open > sockets) {
            let (pod, id, open) = (&process.pod, process.id, process.sockets());
            let text = format!("{pod}: worker process {id} has {open:?} sockets, not {sockets}");
            look.left.push(text);
        }
    }
    look
}

async fn one(pod: &Pod, access: &Access, look: &mut Look) -> Result<(), String> {
    let name = pod.name_any();
    let ip = pod
        .status
        .as_ref()
        .and_then(|status| status.pod_ip.as_ref())
        .ok_or("has no address yet")?;
    let ip: IpAddr = ip.parse().unwrap();
    let status = get(ip, access, "/v1/status").await?;
    let topology = get(ip, access, "/v1/topology").await?;
    let (mut left, none) = (Vec::new(), json!([]));
    for session in status["sessions"].as_array().ok_or("no sessions")? {
        let session_name = session["name"].as_str().ok_or("no name")?.to_owned();
        let generation = session["generation"].as_u64().ok_or("no generation")?;
        let homes = look.homes.entry((session_name, generation)).or_default();
        homes.push(name.clone());
        if session["pods"] != none {
            left.push(format!("{} has {}", session["name"], session["pods"]));
        }
    }
    if status["borrowers"] != json!(0) {
        left.push(format!("{} borrow from it", status["borrowers"]));
    }
    for worker in status["workers"].as_array().ok_or("no workers")? {
        look.workers += 1;
        let carries = worker["carries"].as_object().ok_or("no carries")?;
        if carries.values().any(|count| count != 0) {
            left.push(format!("worker {} carries {carries:?}", worker["index"]));
        }
    }
    for (what, found) in [
        ("status", &status["virtualWorkers"]),
        ("topology", &topology["virtualWorkers"]),
    ] {
        if *found != none {
            left.push(format!("virtual workers in its {what}: {found}"));
        }
    }
    if status["connections"] != json!({"attached": 0, "detached": 0, "lent": 0}) {
        left.push(format!("connections: {}", status["connections"]));
    }
    match left.is_empty() {
        true => Ok(()),
        false => Err(left.join("; ")),
    }
}

async fn get(pod: IpAddr, access: &Access, path: &str) -> Result<Value, String> {
    let bearer = access.bearer().unwrap();
    let asked = ask(pod, access, Method::GET, path, Some(&bearer), json!(null));
    match tokio::time::timeout(Duration::from_secs(5), asked).await {
        Ok(Ok((200, body))) => Ok(body),
        Ok(Ok((status, body))) => Err(format!("{path}: {status} {body}")),
        Ok(Err(error)) => Err(format!("{path}: {error}")),
        Err(_) => Err(format!("{path}: no answer")),
    }
}
