//! What the pod knows and shares: its workers, its connections, its limits.

use crate::clock::since_1970;
use crate::config::{Config, Identity};
use crate::connection::{Claim, Resumption};
use crate::inventory::Inventory;
use crate::members::{Kept, Members, VirtualId, keep};
use crate::metrics::Metrics;
use crate::seats::{Full, Room, Transport};
use crate::sessions::{Notes, Session, SessionError, Sessions, Wanted};
use crate::slot;
use mafalda_link::{MEDIASOUP_NPM, RefusalBody};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, SystemTime};
use tokio::sync::{mpsc, watch};

/// What a worker process is doing.
#[derive(Clone, Debug)]
pub enum SlotState {
    /// Its process is being started.
    Starting,
    /// Its process waits for an application.
    Idle,
    /// It is an application's worker.
    Busy {
        /// The connection's id.
        connection: String,
        /// What it carries.
        inventory: Arc<Mutex<Inventory>>,
        /// It uses ports of the range, as its own is taken.
        on_range: Arc<AtomicBool>,
    },
    /// It is lent to virtual workers.
    Member {
        /// What it carries, pipes included.
        inventory: Arc<Mutex<Inventory>>,
        /// It uses ports of the range, as its own is taken.
        on_range: Arc<AtomicBool>,
    },
}

/// What an application was given.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Place {
    /// The worker process of a slot.
    Worker(usize),
    /// A virtual worker.
    Virtual(VirtualId),
    /// The pod's workers as members, for virtual workers elsewhere.
    Lent(VirtualId),
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Worker(slot) => slot.fmt(formatter),
            Self::Virtual(id) => write!(formatter, "virtual-{}", id.0),
            Self::Lent(id) => write!(formatter, "lent-{}", id.0),
        }
    }
}

/// Which kind of worker an application asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mode {
    /// A worker process of its own.
    Real,
    /// A virtual worker.
    Virtual,
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
    /// Where claims for it go; none for members.
    claims: Option<mpsc::UnboundedSender<Claim>>,
}

/// A connection of an application, which may be resumed.
#[derive(Clone)]
pub struct Connection {
    /// The secret that its client must show.
    pub key: String,
    /// Where the next socket goes.
    pub sockets: mpsc::Sender<Resumption>,
    /// What the application was given.
    pub place: Place,
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
    /// What the application has on it.
    pub inventory: Arc<Mutex<Inventory>>,
    /// The session that it is of.
    pub session: Option<Arc<Attendance>>,
    /// The worker has ended, and the application is yet to hear of it.
    pub ended: bool,
}

impl State {
    fn takes_new(&self) -> bool {
        !self.stopping && self.drain.phase == Phase::Active
    }
}

impl Slot {
    fn new(claims: Option<mpsc::UnboundedSender<Claim>>) -> Self {
        Self {
            state: SlotState::Starting,
            pid: None,
            cpu: 0.0,
            restarts: 0,
            claimed: false,
            claims,
        }
    }
}

#[derive(Default)]
struct State {
    slots: BTreeMap<usize, Slot>,
    connections: HashMap<String, Connection>,
    workers_of: HashMap<String, usize>,
    /// How many borrow the pod's workers, or are about to.
    borrowers: usize,
    /// Worker processes that connections have, or will have, for themselves.
    processes: usize,
    /// Members of single applications.
    own_groups: Vec<Weak<Members>>,
    sessions: Sessions,
    drain: Drain,
    /// The pod is about to end.
    stopping: bool,
}

/// Whether a pod is used, by the will of whoever runs it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    /// It takes what comes.
    #[default]
    Active,
    /// It takes nothing new.
    Cordoned,
    /// It takes nothing new and shall be empty at the deadline.
    Draining,
}

/// How far a pod is from its end.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Drain {
    /// What is taken.
    pub phase: Phase,
    /// When it shall be empty, in seconds since 1970.
    pub deadline: Option<u64>,
}

/// An application's place in a session, given back when dropped.
pub struct Attendance {
    pod: Pod,
    name: String,
    serial: u64,
}

impl Attendance {
    /// The session's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the session is still here: the same one, not another of its name.
    pub fn is_valid(&self) -> bool {
        self.is_of(&self.pod.state().sessions)
    }

    fn is_of(&self, sessions: &Sessions) -> bool {
        let session = sessions.get(&self.name);
        session.is_some_and(|session| session.serial == self.serial)
    }

    /// What it shares with the session's other applications.
    pub fn room(&self) -> Box<dyn Room> {
        Box::new(SessionRoom {
            pod: self.pod.clone(),
            name: self.name.clone(),
            serial: self.serial,
        })
    }
}

/// A session, as its applications' transports fill it.
struct SessionRoom {
    pod: Pod,
    name: String,
    serial: u64,
}

impl Room for SessionRoom {
    fn enter(&self, transport: Transport) -> Result<(), Full> {
        let (name, now) = (&self.name, since_1970());
        let mut state = self.pod.state();
        let is_first = state.sessions.enter(name, self.serial, transport, now)?;
        drop(state);
        if is_first {
            self.pod.changed();
        }
        Ok(())
    }

    fn leave(&self, transport: Transport) {
        let (name, now) = (&self.name, since_1970());
        let mut state = self.pod.state();
        let was_last = state.sessions.leave(name, self.serial, transport, now);
        drop(state);
        if was_last {
            self.pod.changed();
        }
    }
}

impl Drop for Attendance {
    fn drop(&mut self) {
        let mut state = self.pod.state();
        state.sessions.disconnect(&self.name, self.serial);
        drop(state);
        self.pod.changed();
    }
}

/// The pod's shared state. Cheap to clone.
#[derive(Clone)]
pub struct Pod(Arc<Inner>);

struct Inner {
    config: Config,
    metrics: Metrics,
    state: Mutex<State>,
    /// The workers that virtual workers share.
    members: Arc<Members>,
    virtual_ids: AtomicU64,
    /// Region and zone, where it was told of them later.
    place: OnceLock<(String, String)>,
    /// Goes up when something has changed that others wait for.
    changes: watch::Sender<u64>,
    stop: watch::Sender<bool>,
}

/// A client's right to one worker, or to borrow them all; given back when dropped.
pub struct Reservation {
    pod: Pod,
    /// Whose worker it is; none if it borrows.
    client: Option<String>,
    /// Worker processes that are its own.
    processes: usize,
}

impl Reservation {
    /// Asks for worker processes of its own; returns how many it got.
    pub fn take_processes(&mut self, wanted: usize) -> usize {
        let mut state = self.pod.state();
        let got = wanted.min(self.pod.free_processes(&state));
        state.processes += got;
        self.processes += got;
        got
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut state = self.pod.state();
        state.processes -= self.processes;
        let Some(client) = &self.client else {
            state.borrowers -= 1;
            return;
        };
        if let Some(count) = state.workers_of.get_mut(client) {
            *count -= 1;
            if *count == 0 {
                state.workers_of.remove(client);
            }
        }
    }
}

/// Where the numbers of this process's virtual workers begin: other pods that borrow the same workers
/// have others. They stay below what JSON's readers take for whole numbers.
fn first_virtual_id() -> u64 {
    u64::from(RandomState::new().hash_one(std::process::id()) as u32) << 16
}

/// Makes a refusal of a word for programs and a sentence for people.
pub fn refusal(code: &str, message: impl Into<String>) -> RefusalBody {
    RefusalBody {
        code: code.to_owned(),
        message: message.into(),
    }
}

fn draining() -> RefusalBody {
    refusal(
        "draining",
        "this pod takes no new workers, as it is about to stop: try another",
    )
}

impl Pod {
    /// A pod without workers yet.
    pub fn new(config: Config) -> Self {
        Self(Arc::new(Inner {
            config,
            metrics: Metrics::default(),
            state: Mutex::default(),
            members: Arc::new(Members::new(true)),
            virtual_ids: AtomicU64::new(first_virtual_id()),
            place: OnceLock::new(),
            changes: watch::Sender::new(0),
            stop: watch::Sender::new(false),
        }))
    }

    /// Its settings.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// What it is called, and where it is.
    pub fn identity(&self) -> Identity {
        let mut identity = self.config().identity.clone();
        if let Some((region, zone)) = self.0.place.get() {
            identity.region.clone_from(region);
            identity.zone.clone_from(zone);
        }
        identity
    }

    /// Notes where it is, unless that is known: a pod stays where it is.
    pub fn learn_place(&self, region: Option<String>, zone: Option<String>) {
        let identity = &self.config().identity;
        let is_known = !identity.region.is_empty() || !identity.zone.is_empty();
        if !is_known && (region.is_some() || zone.is_some()) {
            let place = (region.unwrap_or_default(), zone.unwrap_or_default());
            // Else it was told before.
            let _ = self.0.place.set(place);
        }
    }

    /// Its metrics.
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is made whole before anything in it could panic.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The workers that virtual workers share.
    pub fn members(&self) -> &Arc<Members> {
        &self.0.members
    }

    /// The workers of one application that needs its own.
    pub fn add_group(&self) -> Arc<Members> {
        let group = Arc::new(Members::new(false));
        self.state().own_groups.push(Arc::downgrade(&group));
        group
    }

    /// All members, the shared ones first.
    pub fn groups(&self) -> Vec<Arc<Members>> {
        let mut state = self.state();
        state.own_groups.retain(|group| group.strong_count() > 0);
        let own = state.own_groups.iter().filter_map(Weak::upgrade);
        [self.members().clone()].into_iter().chain(own).collect()
    }

    /// A name for one more virtual worker.
    pub fn next_virtual_id(&self) -> VirtualId {
        VirtualId(self.0.virtual_ids.fetch_add(1, Ordering::Relaxed))
    }

    /// Starts the workers that are kept running.
    pub fn start_workers(&self) {
        self.members().agree(self.config().listen_infos);
        for index in 0..self.config().workers {
            match self.config().mode {
                Mode::Real => self.add_slot(&mut self.state(), index, true),
                Mode::Virtual => {
                    self.state().slots.insert(index, Slot::new(None));
                    let kept = Kept {
                        slot: index,
                        version: MEDIASOUP_NPM.to_owned(),
                        args: vec!["--logLevel=error".to_owned()],
                        output: None,
                    };
                    let (pod, stop) = (self.clone(), self.clone());
                    let stop = async move { stop.stopped().await };
                    tokio::spawn(async move {
                        keep(&pod, pod.members(), kept, stop).await;
                    });
                }
            }
        }
    }

    fn add_slot(&self, state: &mut State, index: usize, permanent: bool) {
        let (claims, receiver) = mpsc::unbounded_channel();
        state.slots.insert(index, Slot::new(Some(claims)));
        tokio::spawn(slot::run(self.clone(), index, permanent, receiver));
    }

    /// Takes `count` slots for processes that a reservation has.
    pub fn take_slots(&self, count: usize) -> Vec<usize> {
        let mut state = self.state();
        let mut take = || {
            let index = self.free_slot(&state);
            state.slots.insert(index, Slot::new(None));
            index
        };
        (0..count).map(|_| take()).collect()
    }

    /// Reservations bound how many there are.
    fn free_slot(&self, state: &State) -> usize {
        let mut index = self.config().workers;
        while state.slots.contains_key(&index) {
            index += 1;
        }
        index
    }

    /// How many more processes connections may have for themselves.
    fn free_processes(&self, state: &State) -> usize {
        let config = self.config();
        let shared = match config.mode {
            Mode::Real => 0,
            Mode::Virtual => config.workers,
        };
        config.max_workers.saturating_sub(shared + state.processes)
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

    /// Counts `client`'s wish for one more worker against the limits; `session`: for one that is here.
    pub fn reserve(
        &self,
        client: &str,
        limit: Option<usize>,
        mode: Mode,
        session: Option<&str>,
    ) -> Result<Reservation, RefusalBody> {
        let config = self.config();
        let mut state = self.state();
        // A session that is here goes on until it is moved: its applications may come back.
        if state.stopping || session.is_none() && !state.takes_new() {
            return Err(draining());
        }
        // How many sessions are here was decided by load when they were placed. Each has its own
        // count: one application may have many of them.
        let client = match session {
            Some(name) => format!("{client} in {name}"),
            None => client.to_owned(),
        };
        let all: usize = state.workers_of.values().sum();
        let processes = usize::from(mode == Mode::Real);
        let is_full = session.is_none() && all >= config.max_workers;
        if is_full || processes > self.free_processes(&state) {
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
        // Who is refused leaves no trace: the pod is unused when all counts have gone.
        let count = state.workers_of.get(&client).copied().unwrap_or_default();
        if count >= limit {
            return Err(refusal(
                "tooManyWorkers",
                format!(
                    "this client has {count} workers and may have {limit}: close one, or raise \
                     --max-workers-per-client or the token's limit"
                ),
            ));
        }
        state.workers_of.insert(client.clone(), count + 1);
        state.processes += processes;
        Ok(Reservation {
            pod: self.clone(),
            client: Some(client),
            processes,
        })
    }

    /// Counts one more who borrows the pod's workers: it takes none from anybody.
    ///
    /// # Errors
    /// The pod is being emptied, or there are as many as connections at once.
    pub fn reserve_lending(&self) -> Result<Reservation, RefusalBody> {
        let most = self.config().max_connections;
        let mut state = self.state();
        if !state.takes_new() {
            return Err(draining());
        }
        if state.borrowers >= most {
            let message = format!("{most} borrow this pod's workers already (--max-connections)");
            return Err(refusal("tooManyConnections", message));
        }
        state.borrowers += 1;
        Ok(Reservation {
            pod: self.clone(),
            client: None,
            processes: 0,
        })
    }

    /// Gives a worker to the claim: an idle one, else one that is being started, else a new one.
    pub fn give_worker(&self, claim: Claim) {
        let mut state = self.state();
        let find = |state: &State, idle: bool| {
            let mut free = state.slots.iter().filter(|(_, slot)| {
                slot.claims.is_some()
                    && !slot.claimed
                    && matches!(slot.state, SlotState::Idle) == idle
            });
            free.next().map(|(index, _)| *index)
        };
        let index = find(&state, true)
            .or_else(|| find(&state, false))
            .unwrap_or_else(|| {
                let index = self.free_slot(&state);
                self.add_slot(&mut state, index, false);
                index
            });
        if let Some(slot) = state.slots.get_mut(&index) {
            slot.claimed = true;
            if let Some(claims) = &slot.claims {
                // A claim that its slot's task does not take is dropped: its socket closes.
                let _ = claims.send(claim);
            }
        }
    }

    /// Lets a connection be resumed, unless its session has ended since the client was let in: who ends
    /// a session sees either the connection, or its refusal.
    ///
    /// # Errors
    /// [`SessionError::Unknown`].
    pub fn add_connection(&self, id: &str, connection: Connection) -> Result<(), SessionError> {
        let mut state = self.state();
        let session = connection.session.as_deref();
        if session.is_some_and(|session| !session.is_of(&state.sessions)) {
            // Outside of the lock: it may give a place in a session back.
            drop(state);
            return Err(SessionError::Unknown);
        }
        state.connections.insert(id.to_owned(), connection);
        drop(state);
        self.changed();
        Ok(())
    }

    /// The connection is over.
    pub fn remove_connection(&self, id: &str) {
        let connection = self.state().connections.remove(id);
        // Outside of the lock: it may be the last of a session's.
        drop(connection);
        self.changed();
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

    /// The connection has a socket, or has not.
    pub fn set_connected(&self, id: &str, is: bool) {
        let place = self.state().connections.get_mut(id).map(|connection| {
            connection.connected = is;
            connection.place
        });
        if let Some(Place::Lent(borrower)) = place {
            let mut groups = self.groups().into_iter();
            if let Some(borrower) = groups.find_map(|group| group.borrower(borrower)) {
                borrower.set_attached(is);
            }
        }
        self.changed();
    }

    /// The connection's worker has ended; its application may be gone, or is yet to hear of it.
    pub fn worker_ended(&self, id: &str) {
        let mut state = self.state();
        let session = state.connections.get_mut(id).and_then(|connection| {
            connection.ended = true;
            connection.session.take()
        });
        drop(state);
        // Outside of the lock: it may be the last of the session's.
        drop(session);
        self.changed();
    }

    /// Looks at every connection that has a worker.
    pub fn each_connection<T>(&self, mut look: impl FnMut(&str, &Connection) -> T) -> Vec<T> {
        let state = self.state();
        let connections = state.connections.iter();
        let connections = connections.filter(|(_, connection)| !connection.ended);
        connections
            .map(|(id, connection)| look(id, connection))
            .collect()
    }

    /// Whether no application has, or is about to get, a worker.
    pub fn is_unused(&self) -> bool {
        let state = self.state();
        state.connections.is_empty() && state.workers_of.is_empty() && state.borrowers == 0
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.state().connections.len()
    }

    /// Something has changed that others wait for.
    fn changed(&self) {
        self.0.changes.send_modify(|changes| *changes += 1);
    }

    /// Tells of changes of sessions, of the drain, of connections and of workers.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// The pod ends soon: it takes no new workers from now on.
    pub fn retire(&self) {
        self.state().stopping = true;
        self.changed();
    }

    /// Whether new workers and sessions are refused.
    pub fn is_draining(&self) -> bool {
        !self.state().takes_new()
    }

    /// How far the pod is from its end.
    pub fn drain(&self) -> Drain {
        self.state().drain
    }

    /// Takes nothing new any more, or again; `time` from now it shall be empty.
    pub fn set_drain(&self, phase: Phase, time: Option<Duration>) -> Drain {
        let drain = Drain {
            phase,
            deadline: time.map(|time| since_1970().saturating_add(time).as_secs()),
        };
        self.state().drain = drain;
        self.changed();
        drain
    }

    /// Makes a session, or raises the generation of one that is here. True if it is new.
    ///
    /// # Errors
    /// See [`Sessions::put`].
    pub fn put_session(&self, name: &str, wanted: Wanted) -> Result<bool, SessionError> {
        let mut state = self.state();
        let takes_new = state.takes_new();
        let is_new = state.sessions.put(name, wanted, takes_new, since_1970())?;
        drop(state);
        self.changed();
        Ok(is_new)
    }

    /// Notes something with a session that is here, for who reads its status.
    pub fn note_on_session(&self, name: &str, notes: Notes) {
        self.state().sessions.note(name, notes);
        self.changed();
    }

    /// Ends a session and what its applications have.
    ///
    /// # Errors
    /// See [`Sessions::delete`].
    pub fn delete_session(&self, name: &str, generation: Option<u64>) -> Result<(), SessionError> {
        let (ended, of_session) = {
            let mut state = self.state();
            let ended = state.sessions.delete(name, generation, since_1970())?;
            let connections = state.connections.values();
            let of_session = connections.filter(|connection| {
                let session = connection.session.as_ref();
                session.is_some_and(|session| session.serial == ended.serial)
            });
            let places: Vec<Place> = of_session.map(|connection| connection.place).collect();
            (ended, places)
        };
        self.members().peers().forget_session(name);
        tracing::info!(
            session = name,
            generation = ended.generation,
            "session ended"
        );
        for group in self.groups() {
            for shell in group.virtual_workers() {
                if of_session.contains(&Place::Virtual(shell.id())) {
                    shell.close();
                }
            }
        }
        self.changed();
        Ok(())
    }

    /// An application's place in a session; `generation` is the one that it means, if it says so.
    ///
    /// # Errors
    /// See [`Sessions::connect`].
    pub fn attend(&self, name: &str, generation: Option<u64>) -> Result<Attendance, SessionError> {
        let serial = self.state().sessions.connect(name, generation)?;
        self.changed();
        Ok(Attendance {
            pod: self.clone(),
            name: name.to_owned(),
            serial,
        })
    }

    /// The session of a name.
    pub fn session(&self, name: &str) -> Option<Session> {
        self.state().sessions.get(name).cloned()
    }

    /// All sessions, by name.
    pub fn sessions(&self) -> Vec<Session> {
        self.state().sessions.all()
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
        let kept = state.slots.range(..self.config().workers);
        let running = kept.filter(|(_, slot)| slot.pid.is_some());
        state.takes_new() && running.count() == self.config().workers
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

#[cfg(test)]
mod tests;
