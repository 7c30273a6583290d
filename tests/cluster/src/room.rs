//! A room on a Session: an unmodified mediasoup application (`tests/cluster/media/room.mjs`) as a
//! process beside the control plane, that people join and leave as a test says.

use crate::access::Access;
use kube::Client;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long anything that the application is told may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The application. It ends when this is dropped.
pub struct Room {
    process: Child,
    input: ChildStdin,
    said: Arc<Mutex<Vec<Said>>>,
    _access: Access,
}

/// What it said. The program has what each means.
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs, reason = "the program has them")]
pub struct Said {
    pub t: u64,
    pub event: String,
    pub people: usize,
    pub hearing: usize,
    pub longest: u64,
    pub died: usize,
    pub moved: usize,
    pub hit: BTreeSet<String>,
    pub asked: u64,
    pub answered: u64,
    pub waited: u64,
    pub error: Option<String>,
}

impl Room {
    /// Opens a room on a Session, from a thread of [`crate::Cluster::run`]; done when it is there.
    ///
    /// # Panics
    /// When Node.js is not there, the relay is not built, or it takes too long.
    pub async fn open(client: &Client, namespace: &str, session: &str) -> Self {
        let access = Access::to(client, namespace, session).await;
        Self::open_with(access, &format!("{namespace}-{session}")).await
    }

    /// Opens a room there; `name` is its log's.
    ///
    /// # Panics
    /// As [`Room::open`].
    pub async fn open_with(access: Access, name: &str) -> Self {
        let log = std::env::temp_dir().join(format!("mafalda-room-{name}.log"));
        let mut process = access
            .node("room.mjs", &[])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(log).unwrap())
            .spawn()
            .unwrap();
        let said: Arc<Mutex<Vec<Said>>> = Arc::default();
        let (stdout, written) = (process.stdout.take().unwrap(), said.clone());
        std::thread::spawn(move || {
            for text in BufReader::new(stdout).lines().map_while(Result::ok) {
                let line = serde_json::from_str(&text).expect("room.mjs prints lines of JSON");
                let mut said = written.lock().unwrap_or_else(PoisonError::into_inner);
                said.push(line);
            }
        });
        let room = Self {
            input: process.stdin.take().unwrap(),
            process,
            said,
            _access: access,
        };
        room.after(0, |said| said.event == "ready").await;
        room
    }

    /// All that it said.
    pub fn said(&self) -> Vec<Said> {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.clone()
    }

    /// The first of what it said from a line on, as soon as that is there.
    ///
    /// # Panics
    /// When it takes too long, or the application fails at what it was told.
    pub async fn after(&self, from: usize, is_it: impl Fn(&Said) -> bool) -> Said {
        let wait = async {
            loop {
                let said = self.said();
                let mut new = said.iter().skip(from);
                if let Some(found) = new.find(|said| is_it(said) || said.event == "failed") {
                    return found.clone();
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let said = tokio::time::timeout(PATIENCE, wait).await;
        let said = said.expect("the application says what is waited for");
        assert_ne!(said.event, "failed", "{said:?}");
        said
    }

    /// Tells it something; done when it says so.
    ///
    /// # Panics
    /// As [`Room::after`].
    pub async fn tell(&mut self, command: &str) -> Said {
        let from = self.said().len();
        writeln!(self.input, "{command}").expect("the application reads");
        self.after(from, |said| said.event == "done").await
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
