//! Carries the channel between a worker and an application on the same host, past the connection.
//!
//! A thread for each direction that blocks in `read`: that is two system calls a message and one
//! wake-up, and half the time that the pod's event loop takes for it.

use super::hand_over::ApplicationEnds;
use super::inlet::Inlet;
use super::intake::BATCH;
use super::outlet::Outlet;
use bytes::{BufMut, Bytes};
use mafalda_channel::{Decoder, MAX_MESSAGE};
use mafalda_link::Frame;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use tokio::sync::{mpsc, oneshot};

/// How much is read at once, in bytes.
const READ: usize = 16 * 1024;

/// The two directions at work; they stop when this is dropped.
pub struct Local {
    /// Resolves when the worker's last message is where it belongs.
    responses: Option<oneshot::Receiver<()>>,
    /// What the threads may wait for: shut down to make them stop.
    sockets: [UnixStream; 3],
    _alive: tokio::net::UnixStream,
}

impl Drop for Local {
    fn drop(&mut self) {
        for socket in &self.sockets {
            // One whose other end is gone has stopped by itself.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

impl Local {
    /// Starts both, with our ends of the worker's descriptors. What is not for the channel goes
    /// `to_link`.
    ///
    /// # Errors
    /// The system gives no thread or descriptor.
    pub fn start(
        ends: ApplicationEnds,
        (requests, responses): (UnixStream, UnixStream),
        inlet: Inlet,
        outlet: Outlet,
        to_link: mpsc::Sender<Frame>,
    ) -> io::Result<Self> {
        for socket in [&ends.requests, &ends.responses, &requests, &responses] {
            socket.set_nonblocking(false)?;
        }
        let sockets = [
            ends.requests.try_clone()?,
            ends.responses.try_clone()?,
            responses.try_clone()?,
        ];
        let application = Arc::new(Mutex::new(ends.responses));
        let inbound = Inbound {
            inlet,
            worker: requests,
            application: application.clone(),
            to_link,
        };
        let from_application = Messages::new(ends.requests, inbound.inlet.max_message());
        spawn("requests", move || inbound.carry(from_application))?;
        let (silent, is_silent) = oneshot::channel();
        let from_worker = Messages::new(responses, MAX_MESSAGE);
        spawn("responses", move || {
            carry_responses(from_worker, &outlet, &application);
            // A connection that is over does not listen.
            let _ = silent.send(());
        })?;
        Ok(Self {
            responses: Some(is_silent),
            sockets,
            _alive: ends.alive,
        })
    }

    /// Waits until the worker's last message is where it belongs; pending for ever after that.
    pub async fn silence(&mut self) {
        match &mut self.responses {
            Some(responses) => {
                let _ = responses.await;
                self.responses = None;
            }
            None => std::future::pending().await,
        }
    }

    /// Whether that is so.
    pub fn is_silent(&self) -> bool {
        self.responses.is_none()
    }
}

/// Starts a thread that carries one direction.
pub fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new()
        .name(name.to_owned())
        .stack_size(256 * 1024)
        .spawn(work)
        .map(drop)
}

/// Whole messages off a socket.
pub struct Messages {
    socket: UnixStream,
    decoder: Decoder,
}

impl Messages {
    /// Of at most `max_message` bytes each.
    pub fn new(socket: UnixStream, max_message: usize) -> Self {
        Self {
            socket,
            decoder: Decoder::new(max_message),
        }
    }

    /// The next messages; `None` at the end.
    pub fn next(&mut self) -> io::Result<Option<Bytes>> {
        let mut room = [0; READ];
        loop {
            let batch = self.decoder.next_batch(BATCH).map_err(io::Error::other)?;
            if batch.is_some() {
                return Ok(batch);
            }
            match self.socket.read(&mut room) {
                Ok(0) => return Ok(None),
                Ok(count) => self.decoder.buffer_mut().put_slice(&room[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The other end is gone, and a message or two it never read with it.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }
}

/// Writes whole messages; both threads write to the application.
fn write(to: &Mutex<UnixStream>, messages: &[u8]) -> io::Result<()> {
    if messages.is_empty() {
        return Ok(());
    }
    let mut to = to.lock().unwrap_or_else(PoisonError::into_inner);
    to.write_all(messages)
}

/// The way from an application to its worker, which learns of the application's end when this is
/// dropped.
struct Inbound {
    inlet: Inlet,
    worker: UnixStream,
    application: Arc<Mutex<UnixStream>>,
    to_link: mpsc::Sender<Frame>,
}

impl Inbound {
    fn carry(mut self, mut from: Messages) {
        loop {
            let batch = match from.next() {
                Ok(Some(batch)) => batch,
                Ok(None) => return,
                Err(error) => {
                    tracing::warn!(%error, "the application's channel broke");
                    return;
                }
            };
            let passed = self.inlet.pass(&batch);
            // Whoever is gone has its end told elsewhere.
            let _ = write(&self.application, &passed.answers);
            if let Some(complaint) = passed.complaint {
                let _ = self.to_link.blocking_send(complaint);
            }
            if self.worker.write_all(&passed.to_worker).is_err() {
                return;
            }
        }
    }
}

fn carry_responses(mut from: Messages, outlet: &Outlet, application: &Mutex<UnixStream>) {
    loop {
        let passed = match from.next() {
            Ok(Some(batch)) => outlet.pass(batch),
            Ok(None) => return,
            Err(error) => Err(error),
        };
        // An application that is gone has its requests ended too, and so the worker will.
        if let Err(error) = passed.and_then(|messages| write(application, &messages)) {
            tracing::debug!(%error, "a worker's responses have nowhere to go");
            return;
        }
    }
}
