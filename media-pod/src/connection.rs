//! One connection: an application's socket on one side, on the other a worker process or a virtual
//! worker.

mod carry;
mod files;
mod greeting;
mod hand_over;
mod inlet;
mod intake;
mod local;
mod outlet;
mod resume;
mod virtual_side;
mod worker_side;

pub use greeting::{Greeting, refuse};
pub use local::Messages;
pub use resume::Resumption;

use crate::inventory::Inventory;
use crate::listen_infos::{OWN_WEBRTC_SERVER, Rewriter};
use crate::members::{Kept, keep};
use crate::pod::{Attendance, Mode, Place, Pod, Reservation, SlotState};
use crate::process::{Orders, WorkerProcess};
use crate::rtc_addresses::{addresses, rtc_port_is_free};
use crate::translate::Translator;
use crate::virtual_worker::Shell;
use crate::{Config, ListenInfos};
use carry::carry;
use files::FilesError;
use mafalda_virtual_worker::PipeSettings;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use tokio::sync::{mpsc, oneshot};
use virtual_side::ANSWERS;

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
    #[error("all worker processes of this pod are in use (--max-workers)")]
    NoProcess,
}

/// An application's wish for a worker.
pub struct Claim {
    /// Its socket and what it said.
    pub greeting: Greeting,
    /// Its right to a worker.
    pub reservation: Reservation,
    /// Its place in a session.
    pub session: Option<Arc<Attendance>>,
}

/// Serves the claim with the process until their connection is over; the process ends with it.
pub async fn serve(pod: &Pod, index: usize, process: WorkerProcess, claim: Claim) {
    let (pid, peer) = (process.pid, claim.greeting.peer);
    if let Err(error) = connect(pod, index, process, claim.greeting, claim.session).await {
        tracing::warn!(worker = index, pid, %peer, %error, "no connection");
    }
    // Before the reservation is given back, so that a slot is free for the next one.
    pod.with_slot(index, |slot| {
        slot.state = SlotState::Starting;
        slot.pid = None;
        slot.cpu = 0.0;
        slot.claimed = false;
    });
    drop(claim.reservation);
}

/// Makes the connection and waits until the process has ended.
async fn connect(
    pod: &Pod,
    index: usize,
    mut process: WorkerProcess,
    mut greeting: Greeting,
    session: Option<Arc<Attendance>>,
) -> Result<(), StartError> {
    let config = pod.config();
    let start = &greeting.start;
    // The files that the arguments name live as long as this.
    let ordered = files::place(start)
        .map_err(StartError::from)
        .and_then(|arguments| {
            process.give_orders(&Orders {
                version: &greeting.mediasoup,
                pid: start.pid,
                args: &arguments.args,
            })?;
            Ok(arguments)
        });
    let _arguments = greeting.or_refuse(ordered).await?;
    let (welcome, ends) = greeting.greet(config).await?;

    let inventory = Arc::new(Mutex::new(Inventory::default()));
    let rewriter = (config.listen_infos == ListenInfos::Pod)
        .then(|| Rewriter::new(addresses(config, index), rtc_port_is_free));
    let translator = Arc::new(Mutex::new(Translator::new(rewriter, inventory.clone())));
    let (exited, exit) = oneshot::channel();
    let (place, pid) = (Place::Worker(index), process.pid);
    let handed_over = ends.is_some();
    let sides = worker_side::split(process, ends, translator, pod.clone(), exited)?;
    let kill = sides.1.kill();
    let stop = move || kill.send(rustix::process::Signal::TERM.as_raw() as u8);
    pod.with_slot(index, |slot| {
        slot.state = SlotState::Busy {
            connection: welcome.connection.clone(),
            inventory: inventory.clone(),
        };
    });
    let peer = greeting.peer;
    let (socket, dial) = greeting.register(pod, welcome, place, handed_over, inventory, session);
    let connection = dial.id();
    tracing::info!(worker = index, pid, connection, %peer, handed_over, "worker given");
    let id = dial.id().to_owned();
    tokio::spawn(carry(pod.clone(), place, socket, dial, sides, stop));
    // The slot is free when the process has ended, also while its application is yet to hear of it.
    let _ = exit.await;
    pod.worker_ended(&id);
    Ok(())
}

/// Serves the claim with a virtual worker until their connection is over.
pub async fn serve_virtual(pod: Pod, claim: Claim) {
    let Claim {
        greeting,
        mut reservation,
        session,
    } = claim;
    let peer = greeting.peer;
    if let Err(error) = connect_virtual(&pod, greeting, &mut reservation, session).await {
        tracing::warn!(%peer, %error, "no connection");
    }
}

async fn connect_virtual(
    pod: &Pod,
    mut greeting: Greeting,
    reservation: &mut Reservation,
    session: Option<Arc<Attendance>>,
) -> Result<(), StartError> {
    let placed = files::place(&greeting.start).map_err(StartError::from);
    let arguments = greeting.or_refuse(placed).await?;
    // A pod of real workers keeps none that virtual ones could share.
    let own = pod.config().mode == Mode::Real
        || !files::are_common(&arguments.args, pod.config().listen_infos);
    let slots = match own {
        true => {
            let count = reservation.take_processes(pod.config().workers);
            let slots = pod.take_slots(count);
            let taken = (!slots.is_empty())
                .then_some(slots)
                .ok_or(StartError::NoProcess);
            greeting.or_refuse(taken).await?
        }
        false => Vec::new(),
    };
    let (welcome, ends) = greeting.greet(pod.config()).await?;

    let group = match own {
        true => pod.add_group(),
        false => pod.members().clone(),
    };
    let id = pod.next_virtual_id();
    let handed_over = ends.is_some();
    let (output, from_pod) = mpsc::channel(ANSWERS);
    let config = virtual_config(pod.config(), id.name(), greeting.start.pid, !own);
    let sides = virtual_side::split(ends, output.clone(), from_pod, |application| {
        Arc::new(Shell::new(
            id,
            pod.clone(),
            group.clone(),
            config,
            application,
        ))
    })?;
    let shell = sides.0.shell().clone();
    for slot in slots {
        let kept = Kept {
            slot,
            version: greeting.mediasoup.clone(),
            args: arguments.args.clone(),
            output: Some(output.clone()),
        };
        let mut ended = shell.exit();
        let stop = async move {
            // The shell lives as long as the connection does.
            let _ = ended.wait_for(Option::is_some).await;
        };
        let (pod, group) = (pod.clone(), group.clone());
        tokio::spawn(async move { keep(&pod, &group, kept, stop).await });
    }
    group.attach(&shell);
    let inventory = shell.inventory();
    let place = Place::Virtual(id);
    let session_name = session.as_ref().map(|session| session.name().to_owned());
    let peer = greeting.peer;
    let (socket, dial) = greeting.register(pod, welcome, place, handed_over, inventory, session);
    let connection = dial.id();
    let session = session_name.as_deref().unwrap_or_default();
    tracing::info!(virtual_worker = id.0, session, own_members = own, connection, %peer, handed_over, "virtual worker given");
    let stop = {
        let shell = shell.clone();
        move || shell.close()
    };
    let (id, mut exit) = (dial.id().to_owned(), shell.exit());
    let ended = async {
        // The shell lives as long as this.
        let _ = exit.wait_for(Option::is_some).await;
        pod.worker_ended(&id);
    };
    tokio::join!(carry(pod.clone(), place, socket, dial, sides, stop), ended);
    Ok(())
}

/// The settings of a virtual worker's machine.
fn virtual_config(
    config: &Config,
    name: String,
    process_id: u32,
    shared: bool,
) -> mafalda_virtual_worker::Config {
    // With the pod's listen infos the rewriter puts the pod's address of this family in place.
    let listen_ip = match config.media_ips().first() {
        Some(ip @ IpAddr::V6(_)) => ip.to_string(),
        Some(_) | None => "127.0.0.1".to_owned(),
    };
    mafalda_virtual_worker::Config {
        process_id,
        name,
        placement: config.placement,
        watermark: config.watermark,
        pipes: PipeSettings {
            listen_ip,
            ..config.pipes.clone()
        },
        member_server: (config.listen_infos == ListenInfos::Pod)
            .then(|| OWN_WEBRTC_SERVER.to_owned()),
        shared,
        locality: mafalda_virtual_worker::Locality::default(),
    }
}
