//! What runs of Mafalda on this machine, for this test alone.

use crate::world::World;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use std::path::PathBuf;

/// What a process is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Kind {
    Operator,
    Pod,
    Worker,
}

/// A process of the operator or of a media pod.
#[derive(Clone, Debug)]
pub struct Process {
    pub id: u32,
    pub kind: Kind,
    /// The media pod's name; of an operator none.
    pub pod: String,
}

impl Process {
    fn read(&self, file: &str) -> String {
        read(self.id, file)
    }

    /// Memory, in KB; `None` when it has ended.
    pub fn memory(&self) -> Option<u64> {
        let status = self.read("status");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.split_whitespace().next()?.parse().ok()
    }

    /// How many sockets it has open; `None` when it has ended.
    pub fn sockets(&self) -> Option<usize> {
        let files = std::fs::read_dir(format!("/proc/{}/fd", self.id)).ok()?;
        let targets = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
        let is_socket = |target: &PathBuf| target.to_string_lossy().starts_with("socket:");
        Some(targets.filter(is_socket).count())
    }
}

fn read(id: u32, file: &str) -> String {
    // It may have ended.
    std::fs::read_to_string(format!("/proc/{id}/{file}")).unwrap_or_default()
}

/// The children of a process.
pub fn children(id: u32) -> Vec<u32> {
    let children = read(id, &format!("task/{id}/children"));
    let ids = children.split_whitespace();
    ids.filter_map(|id| id.parse().ok()).collect()
}

/// All of the operators and media pods of this world, by pod and id.
pub async fn of(world: &World) -> Vec<Process> {
    find(&world.pods, &world.namespace).await
}

/// As [`of`], of that namespace. Control groups are named after the pods.
pub async fn find(pods: &Api<Pod>, namespace: &str) -> Vec<Process> {
    let pods = pods.list(&ListParams::default()).await;
    let pods = pods.map(|list| list.items).unwrap_or_default();
    let names: Vec<(String, [String; 2])> = pods
        .iter()
        .filter_map(|pod| {
            let uid = pod.uid()?;
            Some((pod.name_any(), [uid.replace('-', "_"), uid]))
        })
        .collect();
    let identity = format!("--identity\0{namespace}-");
    let entries = std::fs::read_dir("/proc").unwrap();
    let ids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let mut found: Vec<Process> = ids
        .filter_map(|id: u32| {
            let line = read(id, "cmdline");
            if line.contains("mafalda-operator\0run\0") && line.contains(&identity) {
                let (kind, pod) = (Kind::Operator, String::new());
                return Some(Process { id, kind, pod });
            }
            let kind = match line.split('\0').next()? {
                "/usr/bin/mafalda" => Kind::Pod,
                program if program.ends_with("/mafalda-media-worker") => Kind::Worker,
                _ => return None,
            };
            let group = read(id, "cgroup");
            let of = |uid: &String| group.contains(uid);
            let (pod, _) = names.iter().find(|(_, uids)| uids.iter().any(of))?;
            let pod = pod.clone();
            Some(Process { id, kind, pod })
        })
        .collect();
    found.sort_by(|a, b| (&a.pod, a.kind, a.id).cmp(&(&b.pod, b.kind, b.id)));
    found
}
