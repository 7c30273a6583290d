//! One connection: an application's socket on one side, on the other a worker process or a virtual
//! worker.

mod carry;
mod files;
mod greeting;
mod hand_over;
mod inlet;
mod intake;
mod lending_side;
mod local;
mod outlet;
mod resume;
mod virtual_side;
mod worker_side;

pub use files::are_common;
pub use greeting::{Greeting, refuse};
pub use local::Messages;
pub use resume::Resumption;
pub use virtual_side::FromVirtual;

use crate::ListenInfos;
use crate::inventory::Inventory;
use crate::lending::Borrower;
use crate::listen_infos::{OWN_WEBRTC_SERVER, Rewriter};
use crate::members::{Kept, Members, User, keep};
use crate::pod::{Attendance, Mode, Place, Pod, Reservation, SlotState};
use crate::process::{Orders, WorkerProcess};
use crate::rtc_addresses::{addresses, rtc_port_is_free};
use crate::translate::Translator;
use crate::virtual_worker::{Application, Shell};
use carry::carry;
use files::FilesError;
use hand_over::ApplicationEnds;
use mafalda_link::{Exit, Frame};
use mafalda_virtual_worker::PipeSettings;
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use tokio::sync::{mpsc, oneshot, watch};
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
    #[error("the session has ended here, or is at home on another pod by now")]
    SessionEnded,
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
    let on_range = rewriter.as_ref().map(Rewriter::on_range);
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
            on_range: on_range.unwrap_or_default(),
        };
    });
    let peer = greeting.peer;
    let registered = greeting.register(pod, welcome, place, handed_over, inventory, session);
    let (socket, dial) = registered.await?;
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

/// Lends the pod's workers to whoever claims that, until their connection is over.
pub async fn serve_lending(pod: Pod, claim: Claim) {
    let Claim {
        greeting,
        mut reservation,
        session: _,
    } = claim;
    let peer = greeting.peer;
    if let Err(error) = connect_lending(&pod, greeting, &mut reservation).await {
        tracing::warn!(%peer, %error, "no connection");
    }
}

/// The members that a connection uses.
struct Uses {
    group: Arc<Members>,
    /// The slots of those that are its own.
    own: Vec<usize>,
    /// With the files that the arguments name, which live as long as this.
    arguments: files::Arguments,
}

impl Uses {
    /// Those that suit the arguments of the worker that was asked for.
    async fn choose(
        pod: &Pod,
        greeting: &mut Greeting,
        reservation: &mut Reservation,
    ) -> Result<Self, StartError> {
        let placed = files::place(&greeting.start).map_err(StartError::from);
        let arguments = greeting.or_refuse(placed).await?;
        // A pod of real workers keeps none that virtual ones could share.
        let are_own = pod.config().mode == Mode::Real
            || !files::are_common(&arguments.args, pod.config().listen_infos);
        let own = match are_own {
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
        let group = match are_own {
            true => pod.add_group(),
            false => pod.members().clone(),
        };
        Ok(Self {
            group,
            own,
            arguments,
        })
    }

    /// Keeps those that are its own running until the `exit` of who uses them.
    fn keep_own(
        &self,
        pod: &Pod,
        version: &str,
        output: &mpsc::Sender<Frame>,
        exit: &watch::Receiver<Option<Exit>>,
    ) {
        for slot in &self.own {
            let kept = Kept {
                slot: *slot,
                version: version.to_owned(),
                args: self.arguments.args.clone(),
                output: Some(output.clone()),
            };
            let mut ended = exit.clone();
            let stop = async move {
                // The user lives as long as the connection does.
                let _ = ended.wait_for(Option::is_some).await;
            };
            let (pod, group) = (pod.clone(), self.group.clone());
            tokio::spawn(async move { keep(&pod, &group, kept, stop).await });
        }
    }
}

async fn connect_virtual(
    pod: &Pod,
    mut greeting: Greeting,
    reservation: &mut Reservation,
    session: Option<Arc<Attendance>>,
) -> Result<(), StartError> {
    // Before it is welcome, as far as that is known by now.
    let is_valid = session.as_ref().is_none_or(|session| session.is_valid());
    let valid = is_valid.then_some(()).ok_or(StartError::SessionEnded);
    greeting.or_refuse(valid).await?;
    let uses = Uses::choose(pod, &mut greeting, reservation).await?;
    let (welcome, ends) = greeting.greet(pod.config()).await?;

    let id = pod.next_virtual_id();
    let handed_over = ends.is_some();
    let (output, from_pod) = mpsc::channel(ANSWERS);
    let shared = uses.group.are_shared();
    let pid = greeting.start.pid;
    let listen_infos = pod.config().listen_infos;
    let config = virtual_config(pod, listen_infos, id.name(), pid, shared);
    let attendance = session.as_deref();
    let sides = virtual_side::split(ends, output.clone(), from_pod, |application| {
        Arc::new(Shell::new(
            id,
            attendance,
            pod.clone(),
            uses.group.clone(),
            config,
            application,
        ))
    })?;
    let shell = sides.0.shell().clone();
    uses.keep_own(pod, &greeting.mediasoup, &output, &shell.exit());
    uses.group.attach(User::VirtualWorker(shell.clone()));
    let inventory = shell.inventory();
    let place = Place::Virtual(id);
    let peer = greeting.peer;
    let registered = greeting.register(pod, welcome, place, handed_over, inventory, session);
    let (socket, dial) = match registered.await {
        Ok(both) => both,
        Err(error) => {
            shell.close();
            return Err(error);
        }
    };
    let connection = dial.id();
    let session = shell.session().unwrap_or_default();
    tracing::info!(virtual_worker = id.0, session, own_members = !shared, connection, %peer, handed_over, "virtual worker given");
    let close = {
        let shell = shell.clone();
        move || shell.close()
    };
    let ended = tell_end(pod, dial.id().to_owned(), shell.exit(), close.clone());
    tokio::join!(carry(pod.clone(), place, socket, dial, sides, close), ended);
    Ok(())
}

async fn connect_lending(
    pod: &Pod,
    mut greeting: Greeting,
    reservation: &mut Reservation,
) -> Result<(), StartError> {
    greeting.start.hand_over = false;
    let uses = Uses::choose(pod, &mut greeting, reservation).await?;
    let (welcome, _) = greeting.greet(pod.config()).await?;

    let id = pod.next_virtual_id();
    let borrower = Arc::new(Borrower::new(id, uses.group.clone()));
    let (output, from_pod) = mpsc::channel(ANSWERS);
    let sides = lending_side::split(borrower.clone(), pod, from_pod);
    uses.keep_own(pod, &greeting.mediasoup, &output, &borrower.exit());
    uses.group.attach(User::Borrower(borrower.clone()));
    let place = Place::Lent(id);
    let peer = greeting.peer;
    let registered = greeting.register(pod, welcome, place, false, Arc::default(), None);
    let (socket, dial) = registered.await?;
    tracing::info!(borrower = id.0, connection = dial.id(), %peer, "workers lent");
    let close = {
        let borrower = borrower.clone();
        move || borrower.close()
    };
    let ended = tell_end(pod, dial.id().to_owned(), borrower.exit(), close.clone());
    tokio::join!(carry(pod.clone(), place, socket, dial, sides, close), ended);
    Ok(())
}

/// The pod learns when a worker has ended, while its application is yet to hear of it; one that reads
/// nothing never does. So what it had on members is closed by then (`close`).
async fn tell_end(
    pod: &Pod,
    connection: String,
    mut exit: watch::Receiver<Option<Exit>>,
    close: impl FnOnce(),
) {
    // Whose exit it is lives as long as this.
    let _ = exit.wait_for(Option::is_some).await;
    close();
    pod.worker_ended(&connection);
}

/// A virtual worker whose application is on this host, with its ends of the channel.
///
/// # Errors
/// The system gives no thread or descriptor.
pub fn serve_local(
    (requests, responses): (UnixStream, UnixStream),
    shell: impl FnOnce(Application) -> Arc<Shell>,
) -> std::io::Result<FromVirtual> {
    let (alive, _) = tokio::net::UnixStream::pair()?;
    let ends = ApplicationEnds {
        requests,
        responses,
        alive,
    };
    let (to_link, from_pod) = mpsc::channel(ANSWERS);
    let (from_virtual, _) = virtual_side::split(Some(ends), to_link, from_pod, shell)?;
    Ok(from_virtual)
}

/// The settings of a virtual worker's machine.
pub fn virtual_config(
    pod: &Pod,
    listen_infos: ListenInfos,
    name: String,
    process_id: u32,
    shared: bool,
) -> mafalda_virtual_worker::Config {
    let config = pod.config();
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
        member_server: (listen_infos == ListenInfos::Pod).then(|| OWN_WEBRTC_SERVER.to_owned()),
        shared,
        locality: pod.identity().locality(),
    }
}
