//! What `GET /v1/status` answers, and what metrics read off the pod.

use crate::inventory::Carries;
use crate::metrics::Reading;
use crate::pod::{Pod, Slot, SlotState};
use mafalda_link::{MEDIASOUP_CRATE, MEDIASOUP_NPM};
use serde::Serialize;
use std::sync::PoisonError;
use std::time::SystemTime;

/// The pod at a moment.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    version: &'static str,
    mediasoup: Versions,
    draining: bool,
    listen_infos: &'static str,
    workers: Vec<WorkerStatus>,
    connections: Connections,
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
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct WorkerStatus {
    index: usize,
    pid: Option<u32>,
    state: &'static str,
    cpu: f64,
    rtc_port: u16,
    connection: Option<ConnectionStatus>,
    carries: Carries,
    restarts: u64,
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
        SlotState::Busy(_) => "busy",
    }
}

fn carries(slot: &Slot) -> Carries {
    match &slot.state {
        SlotState::Busy(busy) => {
            let inventory = busy.inventory.lock();
            inventory.unwrap_or_else(PoisonError::into_inner).carries()
        }
        SlotState::Starting | SlotState::Idle => Carries::default(),
    }
}

fn worker_status(pod: &Pod, index: usize, slot: &Slot) -> WorkerStatus {
    let connection = match &slot.state {
        SlotState::Busy(busy) => Some(ConnectionStatus {
            id: busy.connection.clone(),
            peer: busy.peer.clone(),
            application_pid: busy.application_pid,
            mediasoup: busy.mediasoup.clone(),
            connected: busy.connected,
            handed_over: busy.handed_over,
            since: busy
                .since
                .duration_since(SystemTime::UNIX_EPOCH)
                .map_or(0, |time| time.as_secs()),
        }),
        SlotState::Starting | SlotState::Idle => None,
    };
    WorkerStatus {
        index,
        pid: slot.pid,
        state: state_word(slot),
        cpu: (slot.cpu * 1000.0).round() / 1000.0,
        rtc_port: pod.config().rtc_port.saturating_add(index as u16),
        connection,
        carries: carries(slot),
        restarts: slot.restarts,
    }
}

/// The pod now.
pub fn status(pod: &Pod) -> Status {
    let workers = pod.each_slot(|index, slot| worker_status(pod, index, slot));
    let mut connections = Connections::default();
    for connection in workers
        .iter()
        .filter_map(|worker| worker.connection.as_ref())
    {
        match connection.connected {
            true => connections.attached += 1,
            false => connections.detached += 1,
        }
    }
    Status {
        version: env!("CARGO_PKG_VERSION"),
        mediasoup: Versions {
            npm: MEDIASOUP_NPM,
            rust: MEDIASOUP_CRATE,
        },
        draining: pod.is_draining(),
        listen_infos: pod.config().listen_infos.as_str(),
        workers,
        connections,
    }
}

/// The pod now, for `/metrics`.
pub fn reading(pod: &Pod) -> Reading {
    let slots = pod.each_slot(|index, slot| (index, state_word(slot), slot.cpu, carries(slot)));
    let count = |state| slots.iter().filter(|slot| slot.1 == state).count();
    let total = |of: fn(&Carries) -> u64| slots.iter().map(|slot| of(&slot.3)).sum::<u64>();
    Reading {
        workers: ["starting", "idle", "busy"]
            .map(|state| (state, count(state)))
            .to_vec(),
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
