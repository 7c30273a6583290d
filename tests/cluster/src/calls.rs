//! Calls on a Session: an unmodified mediasoup application and the people in its calls
//! (`tests/cluster/media/calls.mjs`), as a process beside the control plane.

use crate::operator::programs;
use futures_util::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use mafalda_operator::names::access_secret;
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tempfile::TempDir;
use tokio::task::JoinHandle;

/// The application, its people and its relay. All end when this is dropped.
pub struct Calls {
    process: Child,
    lines: Arc<Mutex<Vec<Line>>>,
    /// Keeps the files as the Secret is.
    follower: JoinHandle<()>,
    _folder: TempDir,
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
    /// Why, with [`Event::Died`] and [`Event::Failed`].
    pub error: Option<String>,
}

impl Calls {
    /// Starts so many calls on a Session that is Active or will be, from a thread of
    /// [`crate::Cluster::run`]. What the Session's Secret says is in files, as for a container, but
    /// changes there at once. The application's log is a file in the temporary folder.
    ///
    /// # Panics
    /// When Node.js is not there or the relay is not built.
    pub async fn start(client: &Client, namespace: &str, session: &str, calls: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let follower = follow(client, namespace, session, folder.path()).await;
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let log = std::env::temp_dir().join(format!("mafalda-calls-{namespace}-{session}.log"));
        let in_folder = |name| folder.path().join(name);
        let mut process = Command::new("node")
            .arg(here.join("media/calls.mjs"))
            .arg(calls.to_string())
            .env("MEDIASOUP_WORKER_BIN", programs().join("mafalda-worker"))
            .env("MAFALDA_URL_FILE", in_folder("url"))
            .env("MAFALDA_TOKEN_FILE", in_folder("token"))
            .env("MAFALDA_CA", in_folder("ca.crt"))
            .stdin(Stdio::null())
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
            follower,
            _folder: folder,
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
        self.follower.abort();
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

/// Writes the Session's Secret into the folder when it is there, and again when it changes.
async fn follow(client: &Client, namespace: &str, session: &str, folder: &Path) -> JoinHandle<()> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let name = format!("metadata.name={}", access_secret(session));
    let config = watcher::Config::default().fields(&name);
    let changes = watcher(secrets, config).default_backoff().applied_objects();
    let mut changes = changes
        .inspect_err(move |error| eprintln!("{name}: {error}"))
        .boxed();
    let folder = folder.to_owned();
    let (first, written) = tokio::sync::oneshot::channel();
    let mut first = Some(first);
    let task = tokio::spawn(async move {
        while let Some(change) = changes.next().await {
            let Ok(secret) = change else { continue };
            for (key, value) in secret.data.unwrap_or_default() {
                // At once, as the kubelet does it.
                let (new, file) = (folder.join(".new"), folder.join(key));
                std::fs::write(&new, value.0).unwrap();
                std::fs::rename(new, file).unwrap();
            }
            if let Some(first) = first.take() {
                // Nobody waits any more: the test is over.
                let _ = first.send(());
            }
        }
    });
    written.await.expect("the watch goes on");
    task
}
