//! A worker process as the source and sink of a connection's frames.

use super::carry::Worker;
use super::hand_over::ApplicationEnds;
use super::inlet::Inlet;
use super::intake::{Intake, Messages};
use super::local::Local;
use super::outlet::Outlet;
use crate::pod::Pod;
use crate::process::{WorkerProcess, exit_of, send_signal};
use crate::translate::Translator;
use bytes::{Bytes, BytesMut};
use mafalda_link::{Exit, Frame, Sink, Source};
use rustix::process::Signal;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, ChildStderr, ChildStdout};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// How much of the worker's output goes into one frame, in bytes.
const OUTPUT: usize = 16 * 1024;

/// How many answers of the pod's own may wait for the connection.
const ANSWERS: usize = 64;

/// The signals that an application may send: those that the relay passes on.
const SIGNALS: [i32; 2] = [Signal::INT.as_raw(), Signal::TERM.as_raw()];

/// The two sides of a process, for [`mafalda_link::drive`]. With the application's `ends` the
/// channel's messages go there, past the connection. `exited` is told of the process's end, and
/// dropped when it was made to end.
///
/// # Errors
/// The system gives no thread or descriptor.
pub fn split(
    process: WorkerProcess,
    ends: Option<ApplicationEnds>,
    translator: Arc<Mutex<Translator>>,
    pod: Pod,
    exited: oneshot::Sender<Exit>,
) -> io::Result<(FromWorker, ToWorker)> {
    let (answers, from_pod) = mpsc::channel(ANSWERS);
    let ended = Arc::new(AtomicBool::new(false));
    let pid = process.pid;
    let inlet = Inlet::new(translator.clone(), pod.clone(), pid);
    let outlet = Outlet::new(translator, pod);
    let (requests, responses) = (process.requests, process.responses);
    let (intake, responses) = match ends {
        Some(ends) => {
            let sockets = (requests.into_std()?, responses.into_std()?);
            let local = Local::start(ends, sockets, inlet, outlet, answers)?;
            (None, Responses::Local(local))
        }
        None => {
            let intake = Intake::new(requests, inlet, answers);
            (
                Some(intake),
                Responses::Frames(Messages::new(responses), outlet),
            )
        }
    };
    let to_worker = ToWorker {
        intake,
        kill: Kill {
            pid,
            ended: ended.clone(),
        },
    };
    let from_worker = FromWorker {
        child: process.child,
        responses,
        stdout: Output::new(process.stdout),
        stderr: Output::new(process.stderr),
        from_pod,
        exit: None,
        exited: Some(exited),
        ended,
    };
    Ok((from_worker, to_worker))
}

/// How a worker's messages go to its application.
enum Responses {
    /// In frames of the connection.
    Frames(Messages, Outlet),
    /// By the application's own end of the channel.
    Local(Local),
}

impl Responses {
    /// The next messages for a frame; `None` for nothing, pending for ever after the last.
    async fn next(&mut self) -> io::Result<Option<Frame>> {
        match self {
            Self::Frames(messages, outlet) => {
                let Some(batch) = messages.next().await? else {
                    return Ok(None);
                };
                let messages = outlet.pass(batch)?;
                Ok((!messages.is_empty()).then_some(Frame::Channel(messages)))
            }
            Self::Local(local) => {
                local.silence().await;
                Ok(None)
            }
        }
    }

    fn are_over(&self) -> bool {
        match self {
            Self::Frames(messages, _) => messages.is_over(),
            Self::Local(local) => local.is_silent(),
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

    /// What it wrote; `None` at its end, pending for ever after it.
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        let Some(reader) = &mut self.reader else {
            return std::future::pending().await;
        };
        self.buffer.reserve(OUTPUT);
        let mut limited = reader.take(OUTPUT as u64);
        if limited.read_buf(&mut self.buffer).await? > 0 {
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
    exit: Option<Exit>,
    exited: Option<oneshot::Sender<Exit>>,
    ended: Arc<AtomicBool>,
}

impl Worker for FromWorker {
    fn exit(&self) -> Option<Exit> {
        self.exit
    }

    async fn end_within(mut self, time: Duration) {
        // What it still says goes nowhere, and it learns that its application is gone.
        drop((self.responses, self.stdout, self.stderr));
        if timeout(time, self.child.wait()).await.is_err() {
            // Fails only if it has ended.
            let _ = self.child.kill().await;
        }
    }
}

impl FromWorker {
    fn on_exit(&mut self, exit: Exit) -> Frame {
        self.ended.store(true, Ordering::Relaxed);
        self.exit = Some(exit);
        if let Some(exited) = self.exited.take() {
            // A pod that stops does not listen any more.
            let _ = exited.send(exit);
        }
        Frame::Exit(exit)
    }
}

impl Source for FromWorker {
    async fn next(&mut self) -> io::Result<Option<Frame>> {
        loop {
            if self.exit.is_some() {
                return Ok(None);
            }
            let silent = self.responses.are_over()
                && self.stdout.reader.is_none()
                && self.stderr.reader.is_none();
            let frame = tokio::select! {
                frame = self.responses.next() => frame?,
                Some(frame) = self.from_pod.recv() => Some(frame),
                text = self.stdout.next() => text?.map(Frame::Stdout),
                text = self.stderr.next() => text?.map(Frame::Stderr),
                status = self.child.wait(), if silent => Some(self.on_exit(exit_of(status?))),
            };
            if frame.is_some() {
                return Ok(frame);
            }
        }
    }
}

/// Signals for a process, as long as it is there: one that was waited for has left its id to others.
#[derive(Clone)]
pub struct Kill {
    pid: u32,
    ended: Arc<AtomicBool>,
}

impl Kill {
    /// Sends the signal, if there is somebody to take it.
    pub fn send(&self, number: u8) {
        if !self.ended.load(Ordering::Relaxed) {
            let _ = send_signal(self.pid, number);
        }
    }
}

/// Where an application's messages and signals go.
pub struct ToWorker {
    /// `None` once the application's requests have ended, or when they come by its own end.
    intake: Option<Intake>,
    kill: Kill,
}

impl ToWorker {
    /// The way to signal the process.
    pub fn kill(&self) -> Kill {
        self.kill.clone()
    }
}

impl Sink for ToWorker {
    fn accept(&mut self, frame: Frame) -> io::Result<()> {
        let wrong = |what| Err(io::Error::new(io::ErrorKind::InvalidData, what));
        match frame {
            Frame::Channel(batch) => match &mut self.intake {
                Some(intake) => intake.accept(&batch),
                None => return wrong("a channel frame after the end of the channel"),
            },
            // The worker's way to learn that its application is gone.
            Frame::RequestsEnd => self.intake = None,
            Frame::Signal(number) => {
                if SIGNALS.contains(&i32::from(number)) {
                    self.kill.send(number);
                }
            }
            Frame::Stdout(_) | Frame::Stderr(_) | Frame::Exit(_) | Frame::Lending(_) => {
                return wrong("an application sends a frame that only workers send");
            }
        }
        Ok(())
    }

    async fn flush(&mut self) -> io::Result<Option<Exit>> {
        if let Some(intake) = &mut self.intake {
            intake.flush().await;
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_process_that_was_waited_for_gets_no_signal() {
        let start = || Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let term = Signal::TERM.as_raw() as u8;
        let mut other = start();
        // As if the id were another's by now.
        let mut kill = Kill {
            pid: other.id(),
            ended: Arc::new(AtomicBool::new(true)),
        };
        kill.send(term);
        drop(other.stdin.take());
        assert_eq!(exit_of(other.wait().unwrap()), Exit::Code(0));
        let mut worker = start();
        kill.pid = worker.id();
        kill.ended.store(false, Ordering::Relaxed);
        kill.send(term);
        assert_eq!(exit_of(worker.wait().unwrap()), Exit::Signal(term.into()));
    }
}
