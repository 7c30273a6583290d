//! Calls on a Session: an unmodified mediasoup application and the people in its calls
//! (`tests/cluster/media/calls.mjs`), as a process beside the control plane.

use crate::access::Access;
use kube::Client;
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The application, its people and its relay. All end when this is dropped.
pub struct Calls {
    process: Child,
    lines: Arc<Mutex<Vec<Line>>>,
    _access: Access,
}

/// What happened.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Event {
    /// Media flows in every call for the first time.
    Ready,
    /// A second went by.
    Stats,
    /// The application's worker died.
    Died,
    /// No worker was to be had; it tries again.
    Failed,
    /// Media flows in every call again.
    Recovered,
    /// The last word.
    Ended,
}

/// What the application says of all its calls together. The program has what each number means.
#[derive(Clone, Debug, Deserialize)]
pub struct Line {
    /// When, in milliseconds since 1970.
    pub t: u64,
    /// What happened.
    pub event: Event,
    /// Packets, from the first on that came through.
    pub sent: u64,
    /// Packets that arrived.
    pub received: u64,
    /// Packets that did not arrive within a second.
    pub lost: u64,
    /// The longest that a consumer got nothing since the line before, in milliseconds.
    #[serde(rename = "gapMs")]
    pub gap_ms: u64,
    /// The longest that the worker took for an answer since the line before, in milliseconds. Only of
    /// applications that ask.
    #[serde(rename = "waitedMs", default)]
    pub waited_ms: u64,
    /// Why, with [`Event::Died`] and [`Event::Failed`].
    pub error: Option<String>,
}

impl Calls {
    /// Starts so many calls on a Session that is Active or will be, from a thread of
    /// [`crate::Cluster::run`]. The application's log is a file in the temporary folder.
    ///
    /// # Panics
    /// When Node.js is not there or the relay is not built.
    pub async fn start(client: &Client, namespace: &str, session: &str, calls: u32) -> Self {
        let access = Access::to(client, namespace, session).await;
        Self::start_with(access, &format!("{namespace}-{session}"), &[calls])
    }

    /// Starts calls there, with the numbers that the program takes: calls, consumers in each, and how
    /// often a second it asks its worker something. `name` is the log's.
    ///
    /// # Panics
    /// As [`Calls::start`].
    pub fn start_with(access: Access, name: &str, numbers: &[u32]) -> Self {
        let log = std::env::temp_dir().join(format!("mafalda-calls-{name}.log"));
        let numbers: Vec<String> = numbers.iter().map(u32::to_string).collect();
        let numbers: Vec<&str> = numbers.iter().map(String::as_str).collect();
        let mut process = access
            .node("calls.mjs", &numbers)
            .stdout(Stdio::piped())
            .stderr(File::create(log).unwrap())
            .spawn()
            .unwrap();
        let lines = Arc::default();
        let stdout = process.stdout.take().unwrap();
        let written = Arc::clone(&lines);
        std::thread::spawn(move || read(stdout, &written));
        Self {
            process,
            lines,
            _access: access,
        }
    }

    /// All that was said so far.
    pub fn lines(&self) -> Vec<Line> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.clone()
    }

    /// How often it happened.
    pub fn count(&self, event: Event) -> usize {
        let lines = self.lines();
        lines.iter().filter(|line| line.event == event).count()
    }

    /// Whether media flowed in every call, and no worker died since.
    pub fn flow(&self) -> bool {
        let lines = self.lines();
        let last = lines.iter().rev().find(|line| line.event != Event::Stats);
        last.is_some_and(|line| matches!(line.event, Event::Ready | Event::Recovered))
    }

    /// Packets that arrived, by the last line.
    pub fn received(&self) -> u64 {
        self.lines().last().map_or(0, |line| line.received)
    }

    /// Packets that were lost, by the last line.
    pub fn lost(&self) -> u64 {
        self.lines().last().map_or(0, |line| line.lost)
    }

    /// The longest that a consumer got nothing, of the lines from that one on.
    pub fn longest_gap(&self, from: usize) -> Duration {
        let lines = self.lines();
        let gaps = lines.iter().skip(from).map(|line| line.gap_ms);
        Duration::from_millis(gaps.max().unwrap_or(0))
    }

    /// The longest that the worker took for an answer, of the lines from that one on.
    pub fn longest_wait(&self, from: usize) -> Duration {
        let lines = self.lines();
        let waits = lines.iter().skip(from).map(|line| line.waited_ms);
        Duration::from_millis(waits.max().unwrap_or(0))
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Lets it end, when the last packets have arrived: its last line.
    ///
    /// # Panics
    /// When it has ended before, or without a last line.
    pub async fn stop(mut self) -> Line {
        let id = i32::try_from(self.process.id()).unwrap();
        kill_process(Pid::from_raw(id).unwrap(), Signal::TERM).unwrap();
        let is_last = |line: &Line| line.event == Event::Ended;
        loop {
            if let Some(last) = self.lines().into_iter().find(is_last) {
                return last;
            }
            assert!(self.process.try_wait().unwrap().is_none(), "it has ended");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Calls {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn read(stdout: ChildStdout, lines: &Mutex<Vec<Line>>) {
    for text in BufReader::new(stdout).lines().map_while(Result::ok) {
        let line = serde_json::from_str(&text).expect("calls.mjs prints lines of JSON");
        let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.push(line);
    }
}
