//! What media pods really send each other: tcpdump in the network namespace of each.

use crate::world::World;
use std::collections::BTreeMap;
use std::fs::File;
use std::net::IpAddr;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// A tcpdump for each pod.
pub struct Capture {
    folder: TempDir,
    running: Vec<(String, Child)>,
}

impl Capture {
    /// Begins with what these pods send each other by UDP.
    ///
    /// # Panics
    /// When tcpdump is not there, or does not listen.
    pub async fn of(world: &World, pods: &BTreeMap<String, IpAddr>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut running = Vec::new();
        for (pod, own) in pods {
            let others = pods.values().filter(|ip| *ip != own);
            let others: Vec<String> = others.map(|ip| format!("dst host {ip}")).collect();
            let filter = format!("udp and src host {own} and ({})", others.join(" or "));
            let (packets, log) = (
                folder.path().join(pod),
                folder.path().join(format!("{pod}.log")),
            );
            let id = world.process_of(pod).await.to_string();
            let tcpdump = ["tcpdump", "-nnqlx", "-B", "8192", "-i", "eth0"];
            let process = Command::new("nsenter")
                .args(["--target", &id, "--net"])
                .args(tcpdump)
                .arg(filter)
                .stdin(Stdio::null())
                .stdout(File::create(packets).unwrap())
                .stderr(File::create(&log).unwrap())
                .spawn()
                .unwrap();
            running.push((pod.clone(), process));
            crate::world::until("tcpdump listens", async || {
                std::fs::read_to_string(&log)
                    .unwrap()
                    .contains("listening on")
            })
            .await;
        }
        Self { folder, running }
    }

    /// Bytes of UDP payload so far, by who sent them.
    pub fn bytes(&self) -> BTreeMap<String, u64> {
        let bytes = |pod: &str| {
            let text = self.text(pod);
            let lengths = text
                .lines()
                .filter_map(|line| line.rsplit("length ").next());
            lengths
                .filter_map(|length| length.trim().parse::<u64>().ok())
                .sum()
        };
        let pods = self.running.iter();
        pods.map(|(pod, _)| (pod.clone(), bytes(pod))).collect()
    }

    /// Whether voice can be read in it: a packet of it is one byte again and again.
    pub fn is_readable(&self) -> bool {
        let is_voice = |line: &str| {
            let words = line.trim_start().strip_prefix("0x")?.split_once(':')?.1;
            let words: Vec<&str> = words.split_whitespace().collect();
            let first = words.first()?;
            let is_one_byte = first.len() == 4 && first[..2] == first[2..];
            Some(is_one_byte && words.len() == 8 && words.iter().all(|word| word == first))
        };
        self.running.iter().any(|(pod, _)| {
            let text = self.text(pod);
            text.lines().any(|line| is_voice(line) == Some(true))
        })
    }

    /// What the pod's tcpdump printed so far.
    fn text(&self, pod: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(pod)).unwrap()
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        for (_, process) in &mut self.running {
            // It may have ended with its pod.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
