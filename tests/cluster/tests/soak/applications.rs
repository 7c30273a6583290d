//! The applications: ordinary ones, all in one process of Node.js (`tests/cluster/media/soak.mjs`).

use crate::processes::children;
use crate::random::Random;
use crate::world::{PATIENCE, World};
use mafalda_e2e::{AllAccess, node};
use rustix::process::{
    Pid, PidfdFlags, PidfdGetfdFlags, Signal, kill_process, pidfd_getfd, pidfd_open,
};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{Shutdown, TcpStream};
use std::process::{Child, ChildStdout, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The process. It ends when this is dropped.
pub struct Applications {
    process: Child,
    seen: Arc<Mutex<Seen>>,
    _access: AllAccess,
}

#[derive(Default)]
struct Seen {
    last: Option<Line>,
    back: Vec<Duration>,
}

/// What they say of themselves; the program has what each number means.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    event: String,
    states: BTreeMap<String, u32>,
    pub joined: u32,
    pub died: u32,
    pub failed: u32,
    pub crashed: u32,
    pub sent: u64,
    pub answered: u64,
    pub rejected: u64,
    pub cut: u64,
    pub pending: u64,
    pub lost: Vec<String>,
    pub strays: u64,
    pub slowest_ms: u64,
    pub reasons: BTreeMap<String, u64>,
    back_ms: Vec<u64>,
    pub packets: Packets,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Packets {
    pub sent: u64,
    pub received: u64,
    pub lost: u64,
}

impl Applications {
    /// One for each Session of the namespace whose Secret has been written. Their log is a file in the
    /// temporary folder.
    pub fn start(world: &World, access: AllAccess, seed: u64) -> Self {
        let log = std::env::temp_dir().join(format!("mafalda-{}.log", world.namespace));
        let folder = access.folder().display().to_string();
        let mut process = node("soak.mjs", &[&folder, &seed.to_string()])
            .stdout(Stdio::piped())
            .stderr(File::create(log).unwrap())
            .spawn()
            .unwrap();
        let seen = Arc::default();
        let stdout = process.stdout.take().unwrap();
        let noted = Arc::clone(&seen);
        std::thread::spawn(move || follow(stdout, &noted));
        Self {
            process,
            seen,
            _access: access,
        }
    }

    /// What they said last.
    ///
    /// # Panics
    /// When they have ended.
    pub fn last(&mut self) -> Option<Line> {
        let ended = self.process.try_wait().unwrap();
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let last = seen.last.clone();
        let in_order = last.as_ref().is_some_and(Line::is_last);
        assert!(ended.is_none() || in_order, "soak.mjs: {ended:?}");
        last
    }

    /// What they say when all have left.
    ///
    /// # Panics
    /// When they do not.
    pub async fn last_word(&mut self) -> Line {
        let begun = Instant::now();
        loop {
            let last = self.last();
            if let Some(last) = last.as_ref().filter(|line| line.is_last()) {
                return last.clone();
            }
            let relays = || children(self.process.id()).into_iter().map(describe);
            assert!(
                begun.elapsed() < PATIENCE,
                "they do not leave: {last:?}; relays: {:#?}",
                relays().collect::<Vec<_>>()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// How long each that lost its worker was without one.
    pub fn back(&self) -> Vec<Duration> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.back.clone()
    }

    /// Breaks the connections of up to so many relays, as a network does: how many broke.
    pub fn break_connections(&self, random: &mut Random, count: usize) -> usize {
        let mut relays = children(self.process.id());
        relays.sort_unstable();
        let chosen = random.shuffled(&relays).into_iter().take(count);
        chosen.map(break_connection).sum()
    }

    /// Tells them to leave.
    pub fn leave(&self) {
        let id = i32::try_from(self.process.id()).unwrap();
        kill_process(Pid::from_raw(id).unwrap(), Signal::TERM).unwrap();
    }
}

impl Line {
    /// How many have a worker.
    pub fn here(&self) -> u32 {
        self.states.get("here").copied().unwrap_or(0)
    }

    fn is_last(&self) -> bool {
        self.event == "ended"
    }
}

impl Drop for Applications {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn follow(stdout: ChildStdout, seen: &Mutex<Seen>) {
    for text in BufReader::new(stdout).lines().map_while(Result::ok) {
        let line: Line = serde_json::from_str(&text).expect("soak.mjs prints lines of JSON");
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        let back = line.back_ms.iter().copied().map(Duration::from_millis);
        seen.back.extend(back);
        seen.last = Some(line);
    }
}

/// Which session a relay is for, where that is by its file, and what it waits for.
fn describe(relay: u32) -> String {
    let read = |file| std::fs::read_to_string(format!("/proc/{relay}/{file}"));
    let environment = read("environ").unwrap_or_default();
    let mut variables = environment.split('\0');
    let file = variables.find_map(|variable| variable.strip_prefix("MAFALDA_URL_FILE="));
    let url = file.map(std::fs::read_to_string);
    let state = read("stat").unwrap_or_default();
    format!("{relay}: {file:?}, {url:?}, {state}")
}

/// Shuts the TCP sockets of a relay, in its back: how many there were. It may have ended.
fn break_connection(relay: u32) -> usize {
    let id = i32::try_from(relay).unwrap();
    let Ok(process) = pidfd_open(Pid::from_raw(id).unwrap(), PidfdFlags::empty()) else {
        return 0;
    };
    let Ok(files) = std::fs::read_dir(format!("/proc/{relay}/fd")) else {
        return 0;
    };
    let numbers = files.filter_map(|file| file.ok()?.file_name().to_str()?.parse().ok());
    let broken = numbers.filter(|number: &i32| {
        let Ok(file) = pidfd_getfd(&process, *number, PidfdGetfdFlags::empty()) else {
            return false;
        };
        // Its other descriptors are no connections over TCP, and have no such address.
        let socket = TcpStream::from(file);
        socket.peer_addr().is_ok() && socket.shutdown(Shutdown::Both).is_ok()
    });
    broken.count()
}
