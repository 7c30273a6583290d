//! What `GET /v1/status` and `GET /v1/sessions` answer.

use crate::gateway::Gateway;
use crate::grants::Names;
use crate::report::{Connections, Mediasoup};
use serde::Serialize;

/// The gateway and what it knows.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    version: &'static str,
    ready: bool,
    /// Connections that are passed on now.
    connections: i64,
    nodes: Vec<NodeStatus>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NodeStatus {
    name: String,
    url: String,
    state: &'static str,
    /// How long ago it answered; `null`: it never did.
    silent_seconds: Option<f64>,
    version: String,
    mediasoup: Mediasoup,
    region: String,
    zone: String,
    /// Share of a core that each worker uses.
    cpu: Vec<f64>,
    sessions: usize,
    connections: Connections,
}

/// All sessions.
#[derive(Serialize)]
pub struct Sessions {
    sessions: Vec<SessionStatus>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SessionStatus {
    name: String,
    generation: u64,
    /// The node that it is at home on.
    pod: String,
    /// The nodes whose workers it has: its home, then those that lend to it.
    pods: Vec<String>,
    /// Why it is where it is, or why nodes lend to it or do not any more. `null`: nobody said so.
    last_reason: Option<String>,
}

/// The gateway now.
pub fn status(gateway: &Gateway) -> Status {
    let ready = gateway.is_ready();
    let (state, now) = (gateway.state(), gateway.now());
    let nodes = state.nodes.all().map(|node| {
        let report = node.report.clone().unwrap_or_default();
        let seen = node.last_seen.map(|seen| now.saturating_sub(seen));
        NodeStatus {
            name: node.listed.name.to_string(),
            url: node.listed.address.to_string(),
            state: node.state(now).as_str(),
            silent_seconds: seen.map(|time| (time.as_secs_f64() * 1000.0).round() / 1000.0),
            version: report.version.clone(),
            mediasoup: report.mediasoup.clone(),
            region: report.pod.region.clone(),
            zone: report.pod.zone.clone(),
            cpu: report.workers.iter().map(|worker| worker.cpu).collect(),
            sessions: report.sessions.len(),
            connections: report.connections.clone(),
        }
    });
    Status {
        version: env!("CARGO_PKG_VERSION"),
        ready,
        connections: gateway.metrics().connections.get(),
        nodes: nodes.collect(),
    }
}

/// All sessions now.
pub fn sessions(gateway: &Gateway) -> Sessions {
    let state = gateway.state();
    let all = state.directory.all(&state.nodes);
    let names = Names::new(&state.nodes);
    let status = |(name, home): (String, crate::sessions::Home)| {
        let said = state.nodes.session(&home.pod, &name);
        let lenders = said.map(|said| said.pods.as_slice()).unwrap_or_default();
        let lenders = lenders
            .iter()
            .map(|lender| names.here(&lender.name).to_string());
        SessionStatus {
            generation: home.generation.0,
            pod: home.pod.to_string(),
            pods: [home.pod.to_string()].into_iter().chain(lenders).collect(),
            last_reason: said.and_then(|said| said.last_reason.clone()),
            name,
        }
    };
    Sessions {
        sessions: all.into_iter().map(status).collect(),
    }
}
