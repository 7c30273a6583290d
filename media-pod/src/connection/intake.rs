//! The two ends of a channel as a connection's frames use them.

use super::inlet::{Inlet, Passed};
use bytes::{Buf, Bytes};
use mafalda_channel::{Decoder, MAX_MESSAGE};
use mafalda_link::Frame;
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::mpsc;

/// How many bytes of whole messages are taken at once, if the first is not larger by itself.
pub const BATCH: usize = 64 * 1024;

/// Whole messages off a worker's end of the channel.
pub struct Messages {
    socket: Option<UnixStream>,
    decoder: Decoder,
}

impl Messages {
    /// Of the socket, until its end.
    pub fn new(socket: UnixStream) -> Self {
        Self {
            socket: Some(socket),
            decoder: Decoder::new(MAX_MESSAGE),
        }
    }

    /// Whether the end was reached.
    pub fn is_over(&self) -> bool {
        self.socket.is_none()
    }

    /// The next messages; `None` at the end, pending for ever after it.
    pub async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            let batch = self.decoder.next_batch(BATCH).map_err(io::Error::other)?;
            if batch.is_some() {
                return Ok(batch);
            }
            let Some(socket) = &mut self.socket else {
                return std::future::pending().await;
            };
            match socket.read_buf(self.decoder.buffer_mut()).await {
                Ok(0) => {}
                Ok(_) => continue,
                // The process is gone, and a message or two it never read with it.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
                Err(error) => return Err(error),
            }
            self.socket = None;
            return Ok(None);
        }
    }
}

/// Hands an application's messages to its worker. Dropping it tells the worker that its application
/// is gone.
pub struct Intake {
    requests: Option<UnixStream>,
    inlet: Inlet,
    /// What the pod itself says, to whoever makes the frames for the application.
    answers: mpsc::Sender<Frame>,
    pending: Passed,
}

impl Intake {
    /// Into the worker whose descriptor 3 has the other end of `requests`.
    pub fn new(requests: UnixStream, inlet: Inlet, answers: mpsc::Sender<Frame>) -> Self {
        Self {
            requests: Some(requests),
            inlet,
            answers,
            pending: Passed::default(),
        }
    }

    /// Takes messages, after the ones before were flushed.
    pub fn accept(&mut self, batch: &Bytes) {
        self.pending = self.inlet.pass(batch);
    }

    /// Hands on what was accepted. Cancelling it loses nothing.
    pub async fn flush(&mut self) {
        let pending = &mut self.pending;
        while let Some(requests) = &mut self.requests
            && pending.to_worker.has_remaining()
        {
            if requests.write_buf(&mut pending.to_worker).await.is_err() {
                // The worker is gone; its end is on its way to the application.
                self.requests = None;
            }
        }
        while pending.complaint.is_some() || !pending.answers.is_empty() {
            let Ok(permit) = self.answers.reserve().await else {
                return;
            };
            match pending.complaint.take() {
                Some(complaint) => permit.send(complaint),
                None => permit.send(Frame::Channel(std::mem::take(&mut pending.answers))),
            }
        }
    }
}
