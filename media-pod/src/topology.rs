//! What `GET /v1/topology` answers: what of whom is on which worker, and the pipes between them.

use crate::pod::Pod;
use mafalda_virtual_worker::{BetweenPods, between_pods};
use serde::Serialize;
use std::collections::HashMap;

/// The pod's insides at a moment.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Topology {
    members: Vec<Member>,
    virtual_workers: Vec<VirtualWorker>,
    /// What their pipes carry from pod to pod.
    between_pods: Vec<BetweenPods>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Member {
    /// As the virtual workers below call it. A process that replaces another is another member.
    member: u32,
    /// The index in `/v1/status`.
    worker: usize,
    pid: u32,
    /// Share of one core.
    cpu: f64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct VirtualWorker {
    id: u64,
    #[serde(flatten)]
    topology: mafalda_virtual_worker::Topology,
}

/// The pod's insides now.
pub async fn topology(pod: &Pod) -> Topology {
    let cpu: HashMap<usize, f64> = pod
        .each_slot(|index, slot| (index, (slot.cpu * 1000.0).round() / 1000.0))
        .into_iter()
        .collect();
    let mut all = Topology {
        members: Vec::new(),
        virtual_workers: Vec::new(),
        between_pods: Vec::new(),
    };
    for group in pod.groups() {
        let members = group.all();
        let here = members.iter().filter_map(|member| {
            let process = member.process?;
            Some(Member {
                member: member.id.0,
                worker: process.slot,
                pid: process.pid,
                cpu: cpu.get(&process.slot).copied().unwrap_or(0.0),
            })
        });
        all.members.extend(here);
        for shell in group.virtual_workers() {
            all.virtual_workers.push(VirtualWorker {
                id: shell.id().0,
                topology: shell.topology().await,
            });
        }
    }
    all.virtual_workers
        .sort_by_key(|virtual_worker| virtual_worker.id);
    let pipes = all.virtual_workers.iter();
    all.between_pods = between_pods(pipes.flat_map(|worker| &worker.topology.pipes));
    all
}
