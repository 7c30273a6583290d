//! One connection: an application's socket on one side, a worker process on the other.

mod files;
mod hand_over;
mod inlet;
mod intake;
mod local;
mod outlet;
mod resume;
mod worker_side;

pub use resume::Resumption;

use crate::inventory::Inventory;
use crate::listen_infos::{Address, Addresses, Rewriter};
use crate::pod::{Busy, Pod, Resumable, SlotState};
use crate::process::{Orders, WorkerProcess};
use crate::slot::Claim;
use crate::translate::Translator;
use crate::{Config, ListenInfos};
use files::{Arguments, FilesError};
use hand_over::Offer;
use mafalda_link::{End, Exit, LinkError, Packet, SinkExt, Socket, Start, Timing, Welcome, drive};
use resume::Sockets;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use worker_side::{FromWorker, Kill, ToWorker};

/// How long a worker may take to end by itself once its connection is over.
const END: Duration = Duration::from_secs(2);

/// Why a claim did not become a connection.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error(transparent)]
    Files(#[from] FilesError),
    #[error("no randomness")]
    Randomness,
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("the application went away: {0}")]
    Socket(mafalda_link::BoxError),
}

/// Serves the claim with the process until their connection is over; the process ends with it.
pub async fn serve(pod: &Pod, index: usize, process: WorkerProcess, claim: Claim) {
    let Claim {
        socket,
        start,
        mediasoup,
        peer,
        reservation,
    } = claim;
    let pid = process.pid;
    if let Err(error) = connect(pod, index, process, socket, start, mediasoup, peer).await {
        tracing::warn!(worker = index, pid, %peer, %error, "no connection");
    }
    // Before the reservation is given back, so that a slot is free for the next one.
    pod.with_slot(index, |slot| {
        slot.state = SlotState::Starting;
        slot.pid = None;
        slot.cpu = 0.0;
        slot.claimed = false;
    });
    drop(reservation);
}

/// Makes the connection and waits until the process has ended.
async fn connect(
    pod: &Pod,
    index: usize,
    mut process: WorkerProcess,
    mut socket: Box<dyn Socket>,
    start: Start,
    mediasoup: String,
    peer: SocketAddr,
) -> Result<(), StartError> {
    let config = pod.config();
    // The files that the arguments name live as long as this.
    let (_arguments, mut welcome) = match prepare(config, &mut process, &start, &mediasoup) {
        Ok(prepared) => prepared,
        Err(error) => {
            refuse(&mut socket, &error.to_string()).await;
            return Err(error);
        }
    };
    let is_local = start.hand_over && peer.ip().is_loopback();
    // Without a socket for it there is no offer, and frames carry the channel.
    let offer = is_local
        .then(|| Offer::open(&welcome.connection).ok())
        .flatten();
    welcome.hand_over = offer.as_ref().map(|offer| offer.name().to_owned());
    greet(&mut socket, &welcome).await?;
    let ends = match offer {
        Some(offer) => offer.answer(&mut socket, &welcome).await?,
        None => None,
    };
    welcome.hand_over = None;
    let handed_over = ends.is_some();
    let (id, key) = (welcome.connection.clone(), welcome.key.clone());

    let inventory = Arc::new(Mutex::new(Inventory::default()));
    let pid = process.pid;
    let rewriter = (config.listen_infos == ListenInfos::Pod)
        .then(|| Rewriter::new(addresses(config, index), rtc_port_is_free));
    let translator = Arc::new(Mutex::new(Translator::new(rewriter, inventory.clone())));
    let (exited, exit) = oneshot::channel();
    let sides = worker_side::split(process, ends, translator, pod.clone(), exited)?;
    let (sockets, receiver) = mpsc::channel(1);
    pod.add_connection(&id, Resumable { key, sockets });
    pod.with_slot(index, |slot| {
        slot.state = SlotState::Busy(Busy {
            connection: id.clone(),
            peer: peer.to_string(),
            application_pid: start.pid,
            mediasoup,
            connected: true,
            handed_over,
            since: SystemTime::now(),
            inventory,
        });
    });
    tracing::info!(worker = index, pid, connection = id, %peer, handed_over, "worker given");

    let dial = Sockets::new(pod.clone(), index, welcome, receiver);
    tokio::spawn(carry(pod.clone(), index, pid, id, socket, dial, sides));
    // The slot is free when the process has ended, also while its application is yet to hear of it.
    let _ = exit.await;
    Ok(())
}

/// Carries the connection to its end, and the process too.
async fn carry(
    pod: Pod,
    slot: usize,
    pid: u32,
    id: String,
    socket: Box<dyn Socket>,
    mut dial: Sockets,
    (mut from_worker, mut to_worker): (FromWorker, ToWorker),
) {
    let kill = to_worker.kill();
    let (window, timing) = (pod.config().window, Timing::with_grace(pod.config().grace));
    let connection = drive(
        &mut from_worker,
        &mut to_worker,
        &mut dial,
        socket,
        window,
        timing,
    );
    let result = until_stopped(&pod, &kill, connection).await;
    pod.remove_connection(&id);
    report(&pod, slot, pid, &id, &result, from_worker.exit());
    // A worker whose requests end closes what it carries, and itself.
    drop(to_worker);
    from_worker.end_within(END).await;
}

/// Gives the process its orders and makes the connection's names.
fn prepare(
    config: &Config,
    process: &mut WorkerProcess,
    start: &Start,
    mediasoup: &str,
) -> Result<(Arguments, Welcome), StartError> {
    let arguments = files::place(start)?;
    process.give_orders(&Orders {
        version: mediasoup,
        pid: start.pid,
        args: &arguments.args,
    })?;
    let welcome = Welcome {
        connection: random_hex::<6>()?,
        key: random_hex::<16>()?,
        grace_seconds: config.grace.as_secs(),
        window: config.window,
        max_frame: config.max_message,
        received: 0,
        hand_over: None,
    };
    Ok((arguments, welcome))
}

/// Runs the connection; once the pod stops, the worker is told to end and soon after made to.
async fn until_stopped(
    pod: &Pod,
    worker: &Kill,
    connection: impl Future<Output = Result<End, LinkError>>,
) -> Result<End, LinkError> {
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        result = &mut connection => return result,
        () = pod.stopped() => {}
    }
    worker.send(rustix::process::Signal::TERM.as_raw() as u8);
    match timeout(END, connection).await {
        Ok(result) => result,
        Err(_) => Err(LinkError::Closed("the pod stops".into())),
    }
}

fn report(
    pod: &Pod,
    index: usize,
    pid: u32,
    connection: &str,
    result: &Result<End, LinkError>,
    exit: Option<Exit>,
) {
    match (exit, result) {
        (Some(Exit::Code(code)), _) => {
            tracing::info!(worker = index, pid, connection, code, "worker ended");
        }
        (Some(Exit::Signal(signal)), _) => {
            tracing::warn!(worker = index, pid, connection, signal, "worker died");
            pod.metrics().worker_deaths.inc();
            pod.with_slot(index, |slot| slot.restarts += 1);
        }
        (None, Err(error @ LinkError::Lost { .. })) => {
            tracing::warn!(worker = index, pid, connection, %error, "connection lost");
            pod.metrics().lost.inc();
        }
        // Its application took its leave, or the pod does.
        (None, Err(LinkError::Closed(reason))) => {
            tracing::info!(worker = index, pid, connection, reason, "connection closed");
        }
        (None, Err(error)) => {
            tracing::warn!(worker = index, pid, connection, %error, "connection ended");
        }
        (None, Ok(_)) => {}
    }
}

async fn greet(socket: &mut Box<dyn Socket>, welcome: &Welcome) -> Result<(), StartError> {
    let text = serde_json::to_string(welcome).map_err(std::io::Error::from)?;
    socket
        .send(Packet::Text(text))
        .await
        .map_err(StartError::Socket)
}

/// Closes a socket for good, saying why.
pub async fn refuse(socket: &mut Box<dyn Socket>, reason: &str) {
    let close = socket.send(Packet::close_final(reason));
    let _ = timeout(Duration::from_secs(1), close).await;
}

fn random_hex<const BYTES: usize>() -> Result<String, StartError> {
    let mut bytes = [0; BYTES];
    let random = ring::rand::SystemRandom::new();
    ring::rand::SecureRandom::fill(&random, &mut bytes).map_err(|_| StartError::Randomness)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Whether the worker's own port can be had: on Linux also an outgoing connection may have it.
fn rtc_port_is_free(addresses: &Addresses) -> bool {
    addresses.listen.iter().all(|address| {
        let at = (address.bind, addresses.rtc_port);
        match UdpSocket::bind(at).and_then(|_| TcpListener::bind(at)) {
            Ok(_) => true,
            Err(error) => {
                let (ip, port) = at;
                tracing::warn!(%ip, port, %error, "a worker's port is taken: it uses the range");
                false
            }
        }
    })
}

/// The addresses of worker `index`.
fn addresses(config: &Config, index: usize) -> Addresses {
    let family = |ip: &IpAddr, v6| ip.is_ipv6() == v6;
    let listen = config.media_ips().into_iter().map(|bind| {
        let v6 = bind.is_ipv6();
        let announced = config
            .announced
            .iter()
            .find(|address| match address.parse() {
                Ok(ip) => family(&ip, v6),
                Err(_) => !v6, // a host name
            });
        let pipe = config.pipe_addresses.iter().find(|ip| family(ip, v6));
        Address {
            bind,
            announced: announced.cloned(),
            pipe: pipe.map(IpAddr::to_string),
        }
    });
    Addresses {
        listen: listen.collect(),
        // `Config::check` has made sure that it exists.
        rtc_port: config.rtc_port.saturating_add(index as u16),
        range: config.rtc_port_range.clone(),
    }
}
