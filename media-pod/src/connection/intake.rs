//! What an application's messages go through on their way into its worker.

use crate::metrics::Direction;
use crate::pod::Pod;
use crate::translate::{Translator, join};
use bytes::{Buf, Bytes};
use mafalda_channel::Decoder;
use mafalda_link::Frame;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::mpsc;

/// How many bytes of whole messages are taken at once, if the first is not larger by itself.
pub const BATCH: usize = 64 * 1024;

/// Whole messages off one end of a channel.
pub struct Messages {
    socket: Option<UnixStream>,
    decoder: Decoder,
}

impl Messages {
    /// Of the socket, until its end. `max_message` bytes are the largest message taken.
    pub fn new(socket: UnixStream, max_message: usize) -> Self {
        Self {
            socket: Some(socket),
            decoder: Decoder::new(max_message),
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

/// The way into a worker. Dropping it tells the worker that its application is gone.
pub struct Intake {
    requests: Option<UnixStream>,
    translator: Arc<Mutex<Translator>>,
    /// What the pod itself answers, to whoever writes to the application.
    answers: mpsc::Sender<Frame>,
    pod: Pod,
    pid: u32,
    /// Messages on their way into the worker.
    pending: Bytes,
    answer: Vec<Frame>,
    /// Whether the application was told of a malformed message.
    told: bool,
}

impl Intake {
    /// The way into the worker `pid`, whose descriptor 3 has the other end of `requests`.
    pub fn new(
        requests: UnixStream,
        translator: Arc<Mutex<Translator>>,
        answers: mpsc::Sender<Frame>,
        pod: Pod,
        pid: u32,
    ) -> Self {
        Self {
            requests: Some(requests),
            translator,
            answers,
            pod,
            pid,
            pending: Bytes::new(),
            answer: Vec::new(),
            told: false,
        }
    }

    /// The largest message that an application may send, in bytes.
    pub fn max_message(&self) -> usize {
        self.pod.config().max_message
    }

    /// The worker's process id, for logs.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Takes messages, after the ones before were flushed.
    pub fn accept(&mut self, batch: &Bytes) {
        let mut translator = self
            .translator
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let inbound = translator.inbound(batch);
        drop(translator);
        let metrics = self.pod.metrics();
        metrics.count_messages(Direction::ToWorker, inbound.messages, batch.len());
        metrics.malformed.inc_by(inbound.malformed.len() as u64);
        if let (Some(what), false) = (inbound.malformed.first(), self.told) {
            // Once a connection: an application that sends garbage sends much of it.
            self.told = true;
            tracing::warn!(
                pid = self.pid,
                what,
                "the application sends malformed messages"
            );
            let line = format!("mafalda: a message was not passed on: {what}\n");
            self.answer.push(Frame::Stderr(line.into()));
        }
        self.pending = join(&inbound.to_worker);
        if !inbound.to_application.is_empty() {
            self.answer
                .push(Frame::Channel(join(&inbound.to_application)));
        }
    }

    /// Hands on what was accepted. Cancelling it loses nothing.
    pub async fn flush(&mut self) {
        while let Some(requests) = &mut self.requests
            && self.pending.has_remaining()
        {
            if requests.write_buf(&mut self.pending).await.is_err() {
                // The worker is gone; its end is on its way to the application.
                self.requests = None;
            }
        }
        while !self.answer.is_empty() {
            match self.answers.reserve().await {
                Ok(permit) => permit.send(self.answer.remove(0)),
                Err(_) => self.answer.clear(),
            }
        }
    }
}
