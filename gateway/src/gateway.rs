//! What the gateway knows and shares.

use crate::config::Config;
use crate::dial::Dialer;
use crate::metrics::Metrics;
use crate::nodes::{Listed, Nodes};
use crate::sessions::{Directory, Home};
use mafalda_link::client::ConnectError;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How long a gateway takes at most to hear what there is.
pub(crate) const LEARN: Duration = Duration::from_secs(3);

/// A gateway; cheap to clone.
#[derive(Clone)]
pub struct Gateway(Arc<Shared>);

struct Shared {
    config: Config,
    dialer: Dialer,
    metrics: Metrics,
    state: Mutex<State>,
    news: watch::Sender<()>,
    stopping: AtomicBool,
    begin: Instant,
    placing_anew: tokio::sync::Mutex<()>,
}

/// What changes.
pub struct State {
    /// The nodes.
    pub nodes: Nodes,
    /// Where sessions are.
    pub directory: Directory,
}

impl State {
    /// Where a session runs, as far as anybody knows.
    pub fn home(&self, session: &str) -> Option<Home> {
        self.directory.home(&self.nodes, session)
    }
}

impl Gateway {
    /// A gateway that knows no node.
    ///
    /// # Errors
    /// The authorities in `--ca` cannot be used.
    pub fn new(config: Config) -> Result<Self, ConnectError> {
        let directory = match config.kubernetes {
            true => Directory::Told(None),
            false => Directory::Nodes,
        };
        Ok(Self(Arc::new(Shared {
            dialer: Dialer::new(config.ca.clone(), config.own.clone())?,
            config,
            metrics: Metrics::default(),
            state: Mutex::new(State {
                nodes: Nodes::default(),
                directory,
            }),
            news: watch::Sender::new(()),
            stopping: AtomicBool::new(false),
            begin: Instant::now(),
            placing_anew: tokio::sync::Mutex::default(),
        })))
    }

    /// Its settings.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// What opens connections to nodes.
    pub(crate) fn dialer(&self) -> &Dialer {
        &self.0.dialer
    }

    /// What it counts.
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// What is known now. Nobody waits while holding it.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time, on a clock that does not go back and began long ago.
    pub(crate) fn now(&self) -> Duration {
        const LONG: Duration = Duration::from_secs(1 << 20);
        self.0.begin.elapsed() + LONG
    }

    /// Takes over which nodes there are.
    pub fn list(&self, mut nodes: Vec<Listed>) {
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        let names: Vec<String> = nodes.iter().map(|node| node.name.to_string()).collect();
        let now = self.now();
        self.state().nodes.set(nodes, now);
        tracing::info!(nodes = names.join(" "), "nodes");
        self.tell();
    }

    /// Takes over where sessions are, from who places them.
    pub fn direct(&self, homes: BTreeMap<String, Home>) {
        self.state().directory = Directory::Told(Some(homes));
        self.tell();
    }

    /// Wakes up who waits for [`Gateway::news`].
    pub(crate) fn tell(&self) {
        self.0.news.send_replace(());
    }

    /// Marks each change of what is known, but for load.
    pub(crate) fn news(&self) -> watch::Receiver<()> {
        self.0.news.subscribe()
    }

    /// Whether it began so short a time ago that it may be yet to hear of nodes and sessions that are
    /// there.
    pub(crate) fn is_new(&self) -> bool {
        self.0.begin.elapsed() < LEARN
    }

    /// Whether at least one node answers and the gateway is not about to stop.
    pub fn is_ready(&self) -> bool {
        let now = self.now();
        let answers = self
            .state()
            .nodes
            .all()
            .any(|node| node.state(now).answers());
        answers && !self.0.stopping.load(Ordering::Relaxed)
    }

    /// Held by who places a session anew: others that ask for it find it then.
    pub(crate) async fn placing_anew(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.0.placing_anew.lock().await
    }

    /// From now on it says that it is not ready: new clients should go to another.
    pub(crate) fn retire(&self) {
        self.0.stopping.store(true, Ordering::Relaxed);
    }
}
