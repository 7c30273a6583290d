//! What `GET /v1/status` answers, and what metrics read off the pod.

use crate::config::Identity;
use crate::inventory::{Carries, Inventory};
use crate::lending::LenderState;
use crate::metrics::Reading;
use crate::pod::{Connection, Drain, Mode, Place, Pod, Slot, SlotState};
use crate::sessions::Session;
use mafalda_link::{MEDIASOUP_CRATE, MEDIASOUP_NPM};
use serde::Serialize;
use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

/// The pod at a moment.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    version: &'static str,
    mediasoup: Versions,
    pod: Identity,
    draining: bool,
    drain: Drain,
    sessions: Vec<SessionStatus>,
    listen_infos: &'static str,
    /// Whether applications that ask for no kind of worker get a virtual one.
    #[serde(rename = "virtual")]
    is_virtual: bool,
    placement: String,
    workers: Vec<WorkerStatus>,
    virtual_workers: Vec<VirtualWorkerStatus>,
    connections: Connections,
    /// How many other pods, and relays, have something on its workers.
    borrowers: usize,
}

/// A session and what it has here.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionStatus {
    #[serde(flatten)]
    session: Session,
    state: &'static str,
    carries: Carries,
    /// It has no worker left below the watermark.
    wants_more: bool,
    /// The other pods that lend it workers.
    pods: Vec<LenderState>,
}

#[derive(Debug, Serialize)]
struct Versions {
    npm: &'static str,
    #[serde(rename = "crate")]
    rust: &'static str,
}

#[derive(Debug, Default, Serialize)]
struct Connections {
    attached: usize,
    detached: usize,
    /// Those of them that borrow workers, and are of no application of this pod.
    lent: usize,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct WorkerStatus {
    index: usize,
    pid: Option<u32>,
    state: &'static str,
    cpu: f64,
    /// `None`: it uses ports of the range.
    rtc_port: Option<u16>,
    connection: Option<ConnectionStatus>,
    carries: Carries,
    restarts: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct VirtualWorkerStatus {
    id: u64,
    session: Option<String>,
    connection: ConnectionStatus,
    carries: Carries,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ConnectionStatus {
    id: String,
    peer: String,
    application_pid: u32,
    mediasoup: String,
    connected: bool,
    handed_over: bool,
    /// Seconds since 1970.
    since: u64,
}

fn state_word(slot: &Slot) -> &'static str {
    match slot.state {
        SlotState::Starting => "starting",
        SlotState::Idle => "idle",
        SlotState::Busy { .. } => "busy",
        SlotState::Member { .. } => "member",
    }
}

/// The port that is the worker's own, unless it had to do without.
fn rtc_port(pod: &Pod, index: usize, slot: &Slot) -> Option<u16> {
    let on_range = match &slot.state {
        SlotState::Busy { on_range, .. } | SlotState::Member { on_range, .. } => {
            on_range.load(Ordering::Relaxed)
        }
        SlotState::Starting | SlotState::Idle => false,
    };
    (!on_range).then(|| pod.config().rtc_port.saturating_add(index as u16))
}

/// What a worker process carries, pipes between members included.
fn carries(slot: &Slot) -> Carries {
    match &slot.state {
        SlotState::Busy { inventory, .. } | SlotState::Member { inventory, .. } => count(inventory),
        SlotState::Starting | SlotState::Idle => Carries::default(),
    }
}

fn count(inventory: &Mutex<Inventory>) -> Carries {
    let inventory = inventory.lock();
    inventory.unwrap_or_else(PoisonError::into_inner).carries()
}

fn connection_status(id: &str, connection: &Connection) -> ConnectionStatus {
    ConnectionStatus {
        id: id.to_owned(),
        peer: connection.peer.clone(),
        application_pid: connection.application_pid,
        mediasoup: connection.mediasoup.clone(),
        connected: connection.connected,
        handed_over: connection.handed_over,
        since: connection
            .since
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |time| time.as_secs()),
    }
}

fn virtual_worker_status(id: &str, connection: &Connection) -> Option<VirtualWorkerStatus> {
    match connection.place {
        Place::Worker(_) | Place::Lent(_) => None,
        Place::Virtual(virtual_id) => Some(VirtualWorkerStatus {
            id: virtual_id.0,
            session: connection
                .session
                .as_ref()
                .map(|session| session.name().to_owned()),
            connection: connection_status(id, connection),
            carries: count(&connection.inventory),
        }),
    }
}

/// The sessions now.
pub fn sessions(pod: &Pod) -> Vec<SessionStatus> {
    let mut carries: HashMap<String, Carries> = HashMap::new();
    pod.each_connection(|_, connection| {
        if let Some(session) = &connection.session {
            let all = carries.entry(session.name().to_owned()).or_default();
            *all += count(&connection.inventory);
        }
    });
    let wanting = pod.members().wanting();
    let status = |session: Session| {
        let carries = carries.remove(&session.name).unwrap_or_default();
        let wants_more = wanting.contains(&session.name);
        session_status(pod, session, carries, wants_more)
    };
    pod.sessions().into_iter().map(status).collect()
}

/// One session now.
pub fn session(pod: &Pod, name: &str) -> Option<SessionStatus> {
    let session = pod.session(name)?;
    let mut carries = Carries::default();
    pod.each_connection(|_, connection| {
        let of = connection.session.as_ref().map(|session| session.name());
        if of == Some(name) {
            carries += count(&connection.inventory);
        }
    });
    let wants_more = pod.members().wanting().contains(name);
    Some(session_status(pod, session, carries, wants_more))
}

fn session_status(
    pod: &Pod,
    session: Session,
    carries: Carries,
    wants_more: bool,
) -> SessionStatus {
    SessionStatus {
        state: "active",
        carries,
        wants_more,
        pods: pod.members().peers().lenders(&session.name),
        session,
    }
}

/// The pod now.
pub fn status(pod: &Pod) -> Status {
    let mut real = HashMap::new();
    let mut virtual_workers = Vec::new();
    let mut connections = Connections::default();
    pod.each_connection(|id, connection| {
        connections.lent += usize::from(matches!(connection.place, Place::Lent(_)));
        match connection.connected {
            true => connections.attached += 1,
            false => connections.detached += 1,
        }
        match virtual_worker_status(id, connection) {
            Some(status) => virtual_workers.push(status),
            None => drop(real.insert(id.to_owned(), connection_status(id, connection))),
        }
    });
    virtual_workers.sort_by_key(|status| status.id);
    let workers = pod.each_slot(|index, slot| WorkerStatus {
        index,
        pid: slot.pid,
        state: state_word(slot),
        cpu: (slot.cpu * 1000.0).round() / 1000.0,
        rtc_port: rtc_port(pod, index, slot),
        connection: match &slot.state {
            SlotState::Busy { connection, .. } => real.remove(connection),
            _ => None,
        },
        carries: carries(slot),
        restarts: slot.restarts,
    });
    Status {
        version: env!("CARGO_PKG_VERSION"),
        mediasoup: Versions {
            npm: MEDIASOUP_NPM,
            rust: MEDIASOUP_CRATE,
        },
        pod: pod.identity(),
        draining: pod.is_draining(),
        drain: pod.drain(),
        sessions: sessions(pod),
        listen_infos: pod.config().listen_infos.as_str(),
        is_virtual: pod.config().mode == Mode::Virtual,
        placement: pod.config().placement.to_string(),
        workers,
        virtual_workers,
        connections,
        borrowers: pod.members().borrowers(),
    }
}

/// The pod now, for `/metrics`.
pub fn reading(pod: &Pod) -> Reading {
    let slots = pod.each_slot(|index, slot| (index, state_word(slot), slot.cpu));
    let count_state = |state| slots.iter().filter(|slot| slot.1 == state).count();
    // What applications have: pipes between members are none of it.
    let carried =
        pod.each_connection(|_, connection| (connection.place, count(&connection.inventory)));
    let total =
        |of: fn(&Carries) -> u64| carried.iter().map(|(_, carries)| of(carries)).sum::<u64>();
    let virtual_workers = carried
        .iter()
        .filter(|(place, _)| matches!(place, Place::Virtual(_)));
    Reading {
        workers: ["starting", "idle", "busy", "member"]
            .map(|state| (state, count_state(state)))
            .to_vec(),
        virtual_workers: virtual_workers.count(),
        borrowers: pod.members().borrowers(),
        lending: pod.members().lending(),
        cpu: slots.iter().map(|slot| (slot.0, slot.2)).collect(),
        carried: vec![
            ("router", total(|carries| carries.routers)),
            ("webrtc_server", total(|carries| carries.web_rtc_servers)),
            ("transport", total(|carries| carries.transports)),
            ("producer", total(|carries| carries.producers)),
            ("consumer", total(|carries| carries.consumers)),
            ("data_producer", total(|carries| carries.data_producers)),
            ("data_consumer", total(|carries| carries.data_consumers)),
            ("rtp_observer", total(|carries| carries.rtp_observers)),
        ],
    }
}
