//! A worker process as the source and sink of a connection's frames.

use crate::metrics::Direction;
use crate::pod::Pod;
use crate::process::{WorkerProcess, exit_of, send_signal};
use crate::translate::{Translator, join};
use bytes::{Buf, Bytes, BytesMut};
use mafalda_channel::{Decoder, MAX_MESSAGE};
use mafalda_link::{Exit, Frame, Sink, Source};
use rustix::process::Signal;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::process::{Child, ChildStderr, ChildStdout};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// How many bytes of whole messages go into one frame, if the first is not larger by itself.
const BATCH: usize = 64 * 1024;

/// How much of the worker's output goes into one frame, in bytes.
const OUTPUT: usize = 16 * 1024;

/// How many answers of the pod's own may wait for the connection.
const ANSWERS: usize = 64;

/// The signals that an application may send: those that the relay passes on.
const SIGNALS: [i32; 2] = [Signal::INT.as_raw(), Signal::TERM.as_raw()];

/// The two sides of a process, for [`mafalda_link::drive`]. `exited` is told of its end, and dropped
/// when it was made to end.
pub fn split(
    process: WorkerProcess,
    translator: Arc<Mutex<Translator>>,
    pod: Pod,
    exited: oneshot::Sender<Exit>,
) -> (FromWorker, ToWorker) {
    let (answers, from_pod) = mpsc::channel(ANSWERS);
    let ended = Arc::new(AtomicBool::new(false));
    let to_worker = ToWorker {
        requests: Some(process.requests),
        pid: process.pid,
        ended: ended.clone(),
        translator: translator.clone(),
        answers,
        pod: pod.clone(),
        pending: Bytes::new(),
        answer: Vec::new(),
        told: false,
    };
    let from_worker = FromWorker {
        child: process.child,
        responses: Responses {
            socket: Some(process.responses),
            decoder: Decoder::new(MAX_MESSAGE),
        },
        stdout: Output::new(process.stdout),
        stderr: Output::new(process.stderr),
        from_pod,
        translator,
        pod,
        exit: None,
        exited: Some(exited),
        ended,
    };
    (from_worker, to_worker)
}

/// Whole messages off a worker's descriptor 4.
struct Responses {
    socket: Option<UnixStream>,
    decoder: Decoder,
}

impl Responses {
    /// The next messages; pending for ever after the last.
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
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

/// A worker's standard output or error.
struct Output<R> {
    reader: Option<R>,
    buffer: BytesMut,
}

impl<R: AsyncRead + Unpin> Output<R> {
    fn new(reader: R) -> Self {
        Self {
            reader: Some(reader),
            buffer: BytesMut::new(),
        }
    }

    /// What it wrote; pending for ever after its end.
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        let Some(reader) = &mut self.reader else {
            return std::future::pending().await;
        };
        self.buffer.reserve(OUTPUT);
        if (&mut *reader)
            .take(OUTPUT as u64)
            .read_buf(&mut self.buffer)
            .await?
            > 0
        {
            return Ok(Some(self.buffer.split().freeze()));
        }
        self.reader = None;
        Ok(None)
    }
}

/// What a worker says: its messages, its output and at last its end.
pub struct FromWorker {
    child: Child,
    responses: Responses,
    stdout: Output<ChildStdout>,
    stderr: Output<ChildStderr>,
    from_pod: mpsc::Receiver<Frame>,
    translator: Arc<Mutex<Translator>>,
    pod: Pod,
    exit: Option<Exit>,
    exited: Option<oneshot::Sender<Exit>>,
    ended: Arc<AtomicBool>,
}

impl FromWorker {
    /// How the process ended, if it has.
    pub fn exit(&self) -> Option<Exit> {
        self.exit
    }

    /// Gives the process this long to end by itself, then kills it.
    pub async fn end_within(mut self, time: Duration) {
        // What it still says goes nowhere.
        drop((self.responses, self.stdout, self.stderr));
        if timeout(time, self.child.wait()).await.is_err() {
            // Fails only if it has ended.
            let _ = self.child.kill().await;
        }
    }

    fn outbound(&self, batch: Bytes) -> io::Result<Bytes> {
        let length = batch.len();
        let mut translator = self
            .translator
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let (batch, count) = translator.outbound(batch).map_err(io::Error::other)?;
        self.pod
            .metrics()
            .count_messages(Direction::ToApplication, count, length);
        Ok(batch)
    }
}

impl Source for FromWorker {
    async fn next(&mut self) -> io::Result<Option<Frame>> {
        loop {
            if self.exit.is_some() {
                return Ok(None);
            }
            let silent = self.responses.socket.is_none()
                && self.stdout.reader.is_none()
                && self.stderr.reader.is_none();
            tokio::select! {
                batch = self.responses.next() => {
                    if let Some(batch) = batch? {
                        let batch = self.outbound(batch)?;
                        if !batch.is_empty() {
                            return Ok(Some(Frame::Channel(batch)));
                        }
                    }
                }
                Some(frame) = self.from_pod.recv() => return Ok(Some(frame)),
                text = self.stdout.next() => {
                    if let Some(text) = text? {
                        return Ok(Some(Frame::Stdout(text)));
                    }
                }
                text = self.stderr.next() => {
                    if let Some(text) = text? {
                        return Ok(Some(Frame::Stderr(text)));
                    }
                }
                status = self.child.wait(), if silent => {
                    let exit = exit_of(status?);
                    self.ended.store(true, Ordering::Relaxed);
                    self.exit = Some(exit);
                    if let Some(exited) = self.exited.take() {
                        // A pod that stops does not listen any more.
                        let _ = exited.send(exit);
                    }
                    return Ok(Some(Frame::Exit(exit)));
                }
            }
        }
    }
}

/// Where an application's messages and signals go.
pub struct ToWorker {
    requests: Option<UnixStream>,
    pid: u32,
    ended: Arc<AtomicBool>,
    translator: Arc<Mutex<Translator>>,
    answers: mpsc::Sender<Frame>,
    pod: Pod,
    /// Messages on their way into the worker.
    pending: Bytes,
    /// What the pod itself answers.
    answer: Vec<Frame>,
    /// Whether the application was told of a malformed message.
    told: bool,
}

impl ToWorker {
    fn on_messages(&mut self, batch: &Bytes) {
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
}

impl Sink for ToWorker {
    fn accept(&mut self, frame: Frame) -> io::Result<()> {
        match frame {
            Frame::Channel(batch) => self.on_messages(&batch),
            // The worker's way to learn that its application is gone.
            Frame::RequestsEnd => self.requests = None,
            Frame::Signal(number) => {
                // A worker that has ended needs none, and its id may be another's.
                let is_there = !self.ended.load(Ordering::Relaxed);
                if is_there && SIGNALS.contains(&i32::from(number)) {
                    let _ = send_signal(self.pid, number);
                }
            }
            Frame::Stdout(_) | Frame::Stderr(_) | Frame::Exit(_) => {
                let error = "an application sends a frame that only workers send";
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
        }
        Ok(())
    }

    async fn flush(&mut self) -> io::Result<Option<Exit>> {
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
        Ok(None)
    }
}
