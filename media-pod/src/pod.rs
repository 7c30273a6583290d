//! What the pod knows and shares: its workers, its connections, its limits.

use crate::config::Config;
use crate::connection::Resumption;
use crate::inventory::Inventory;
use crate::metrics::Metrics;
use crate::slot::{self, Claim};
use mafalda_link::RefusalBody;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;
use tokio::sync::{mpsc, watch};

/// What a worker process is doing.
#[derive(Clone, Debug)]
pub enum SlotState {
    /// Its process is being started.
    Starting,
    /// Its process waits for an application.
    Idle,
    /// It is an application's worker.
    Busy(Busy),
}

/// Whose a worker is.
#[derive(Clone, Debug)]
pub struct Busy {
    /// The connection's id.
    pub connection: String,
    /// The application's address, as the pod sees it.
    pub peer: String,
    /// The process id under which the application knows its worker.
    pub application_pid: u32,
    /// The application's mediasoup version.
    pub mediasoup: String,
    /// Whether the connection has a socket.
    pub connected: bool,
    /// Whether the channel goes past the connection, application and pod being on one host.
    pub handed_over: bool,
    /// Since when.
    pub since: SystemTime,
    /// What it carries.
    pub inventory: Arc<Mutex<Inventory>>,
}

/// One place for a worker process, with a port of its own.
#[derive(Debug)]
pub struct Slot {
    /// What is going on.
    pub state: SlotState,
    /// The process, if there is one.
    pub pid: Option<u32>,
    /// Its share of one core.
    pub cpu: f64,
    /// How often its process had to be replaced.
    pub restarts: u64,
    /// Whether it is promised to a connection.
    pub claimed: bool,
    claims: mpsc::UnboundedSender<Claim>,
}

/// A connection that may be resumed.
pub struct Resumable {
    /// The secret that its client must show.
    pub key: String,
    /// Where the next socket goes.
    pub sockets: mpsc::Sender<Resumption>,
}

#[derive(Default)]
struct State {
    slots: BTreeMap<usize, Slot>,
    connections: HashMap<String, Resumable>,
    workers_of: HashMap<String, usize>,
    draining: bool,
}

/// The pod's shared state. Cheap to clone.
#[derive(Clone)]
pub struct Pod(Arc<Inner>);

struct Inner {
    config: Config,
    metrics: Metrics,
    state: Mutex<State>,
    stop: watch::Sender<bool>,
}

/// A client's right to one worker, given back when dropped.
pub struct Reservation {
    pod: Pod,
    client: String,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut state = self.pod.state();
        if let Some(count) = state.workers_of.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                state.workers_of.remove(&self.client);
            }
        }
    }
}

/// Makes a refusal of a word for programs and a sentence for people.
pub fn refusal(code: &str, message: impl Into<String>) -> RefusalBody {
    RefusalBody {
        code: code.to_owned(),
        message: message.into(),
    }
}

impl Pod {
    /// A pod without workers yet.
    pub fn new(config: Config) -> Self {
        Self(Arc::new(Inner {
            config,
            metrics: Metrics::default(),
            state: Mutex::default(),
            stop: watch::Sender::new(false),
        }))
    }

    /// Its settings.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// Its metrics.
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is made whole before anything in it could panic.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the workers that are kept running.
    pub fn start_workers(&self) {
        for index in 0..self.config().workers {
            self.add_slot(&mut self.state(), index, true);
        }
    }

    fn add_slot(&self, state: &mut State, index: usize, permanent: bool) {
        let (claims, receiver) = mpsc::unbounded_channel();
        let slot = Slot {
            state: SlotState::Starting,
            pid: None,
            cpu: 0.0,
            restarts: 0,
            claimed: false,
            claims,
        };
        state.slots.insert(index, slot);
        tokio::spawn(slot::run(self.clone(), index, permanent, receiver));
    }

    /// Takes the slot away, once its task has ended.
    pub fn remove_slot(&self, index: usize) {
        self.state().slots.remove(&index);
    }

    /// Changes a slot.
    pub fn with_slot(&self, index: usize, change: impl FnOnce(&mut Slot)) {
        if let Some(slot) = self.state().slots.get_mut(&index) {
            change(slot);
        }
    }

    /// Looks at every slot.
    pub fn each_slot<T>(&self, mut look: impl FnMut(usize, &Slot) -> T) -> Vec<T> {
        let state = self.state();
        state
            .slots
            .iter()
            .map(|(index, slot)| look(*index, slot))
            .collect()
    }

    /// Counts `client`'s wish for one more worker against the limits.
    pub fn reserve(&self, client: &str, limit: Option<usize>) -> Result<Reservation, RefusalBody> {
        let config = self.config();
        let mut state = self.state();
        if state.draining {
            return Err(refusal(
                "draining",
                "this pod takes no new workers, as it is about to stop: try another",
            ));
        }
        let all: usize = state.workers_of.values().sum();
        if all >= config.max_workers {
            return Err(refusal(
                "tooManyWorkers",
                format!(
                    "all {} workers of this pod are in use: close one, or start the pod with a \
                     larger --max-workers",
                    config.max_workers
                ),
            ));
        }
        let limit = limit.map_or(config.max_workers_per_client, |limit| {
            limit.min(config.max_workers_per_client)
        });
        let count = state.workers_of.entry(client.to_owned()).or_default();
        if *count >= limit {
            return Err(refusal(
                "tooManyWorkers",
                format!(
                    "this client has {count} workers and may have {limit}: close one, or raise \
                     --max-workers-per-client or the token's limit"
                ),
            ));
        }
        *count += 1;
        Ok(Reservation {
            pod: self.clone(),
            client: client.to_owned(),
        })
    }

    /// Gives a worker to the claim: an idle one, else one that is being started, else a new one.
    pub fn give_worker(&self, claim: Claim) {
        let mut state = self.state();
        let find = |state: &State, idle: bool| {
            let mut free = state
                .slots
                .iter()
                .filter(|(_, slot)| !slot.claimed && matches!(slot.state, SlotState::Idle) == idle);
            free.next().map(|(index, _)| *index)
        };
        let index = find(&state, true)
            .or_else(|| find(&state, false))
            .unwrap_or_else(|| {
                // Claims hold a reservation, so that `max_workers` bounds this.
                let mut index = self.config().workers;
                while state.slots.contains_key(&index) {
                    index += 1;
                }
                self.add_slot(&mut state, index, false);
                index
            });
        if let Some(slot) = state.slots.get_mut(&index) {
            slot.claimed = true;
            // A claim that its slot's task does not take is dropped: its socket closes.
            let _ = slot.claims.send(claim);
        }
    }

    /// Lets a connection be resumed.
    pub fn add_connection(&self, id: &str, resumable: Resumable) {
        self.state().connections.insert(id.to_owned(), resumable);
    }

    /// The connection is over.
    pub fn remove_connection(&self, id: &str) {
        self.state().connections.remove(id);
    }

    /// Whether there is such a connection.
    pub fn has_connection(&self, id: &str) -> bool {
        self.state().connections.contains_key(id)
    }

    /// Where the next socket of a connection goes, when the client shows its secret.
    pub fn resumption(&self, id: &str, key: &str) -> Option<mpsc::Sender<Resumption>> {
        let state = self.state();
        let connection = state.connections.get(id)?;
        let same = same_secret(&connection.key, key);
        same.then(|| connection.sockets.clone())
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.state().connections.len()
    }

    /// Takes no new workers from now on.
    pub fn drain(&self) {
        self.state().draining = true;
    }

    /// Whether new workers are refused.
    pub fn is_draining(&self) -> bool {
        self.state().draining
    }

    /// Ends every worker.
    pub fn stop(&self) {
        self.0.stop.send_replace(true);
    }

    /// Resolves when [`Pod::stop`] was called.
    pub async fn stopped(&self) {
        let mut stop = self.0.stop.subscribe();
        // The sender lives as long as the pod.
        let _ = stop.wait_for(|stop| *stop).await;
    }

    /// Whether every worker that is to be kept running is there, and new ones are taken.
    pub fn is_ready(&self) -> bool {
        let state = self.state();
        let running = state.slots.values().filter(|slot| slot.pid.is_some());
        !state.draining && running.count() >= self.config().workers
    }
}

/// Compares secrets in a time that does not tell where they differ.
pub fn same_secret(left: &str, right: &str) -> bool {
    left.len() == right.len()
        && left
            .bytes()
            .zip(right.bytes())
            .fold(0, |difference, (a, b)| difference | (a ^ b))
            == 0
}
