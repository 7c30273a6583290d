//! A virtual worker as the source and sink of a connection's frames.

use super::carry::Worker;
use super::hand_over::ApplicationEnds;
use super::local::{Messages, spawn};
use crate::members::{Outbox, Way};
use crate::virtual_worker::{Application, FrameQueue, Shell};
use bytes::Bytes;
use mafalda_link::{Exit, Frame, Sink, Source};
use rustix::process::Signal;
use std::io;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// How many lines of text may wait for the connection.
pub const ANSWERS: usize = 64;

/// The signals by which an application ends a worker in order.
const ENDS: [i32; 2] = [Signal::INT.as_raw(), Signal::TERM.as_raw()];

/// The two sides of a virtual worker, for [`mafalda_link::drive`]. With the application's `ends` the
/// channel's messages go there, past the connection; `shell` makes the virtual worker.
///
/// # Errors
/// The system gives no thread or descriptor.
pub fn split(
    ends: Option<ApplicationEnds>,
    to_link: mpsc::Sender<Frame>,
    from_pod: mpsc::Receiver<Frame>,
    shell: impl FnOnce(Application) -> Arc<Shell>,
) -> io::Result<(FromVirtual, ToVirtual)> {
    let (shell, local) = match ends {
        None => (shell(Application::Frames(FrameQueue::default())), None),
        Some(ends) => {
            let shell = shell(Application::Local(Outbox::new(ends.responses)?));
            ends.requests.set_nonblocking(false)?;
            let local = Local {
                requests: ends.requests.try_clone()?,
                _alive: ends.alive,
            };
            let max_message = shell.max_message();
            let messages = Messages::new(ends.requests, max_message);
            let (carrying, to_link) = (shell.clone(), to_link.clone());
            spawn("application", move || carry(messages, &carrying, &to_link))?;
            (shell, Some(local))
        }
    };
    let from_virtual = FromVirtual {
        exit: shell.exit(),
        shell: shell.clone(),
        from_pod,
        told: None,
        _local: local,
    };
    let to_virtual = ToVirtual {
        shell,
        to_link,
        pending: None,
        full: Vec::new(),
        complaint: None,
    };
    Ok((from_virtual, to_virtual))
}

/// What is held as long as a channel that was handed over is in use.
struct Local {
    /// Where the thread reads: shut down to make it stop.
    requests: UnixStream,
    _alive: tokio::net::UnixStream,
}

impl Drop for Local {
    fn drop(&mut self) {
        // One whose other end is gone has stopped by itself.
        let _ = self.requests.shutdown(Shutdown::Both);
    }
}

/// The way from an application to its virtual worker, past the connection.
fn carry(mut from: Messages, shell: &Shell, to_link: &mpsc::Sender<Frame>) {
    loop {
        match from.next() {
            Ok(Some(batch)) => {
                let (complaint, full) = shell.on_application(&batch);
                if let Some(complaint) = complaint {
                    // One that is gone reads nothing.
                    let _ = to_link.blocking_send(complaint);
                }
                full.iter().for_each(Way::wait_for_room);
            }
            Ok(None) => break,
            Err(error) => {
                tracing::warn!(%error, "the application's channel broke");
                break;
            }
        }
    }
    shell.close();
}

/// What a virtual worker says: its messages, its members' output and at last its end.
pub struct FromVirtual {
    shell: Arc<Shell>,
    exit: watch::Receiver<Option<Exit>>,
    from_pod: mpsc::Receiver<Frame>,
    told: Option<Exit>,
    _local: Option<Local>,
}

impl FromVirtual {
    /// The virtual worker.
    pub fn shell(&self) -> &Arc<Shell> {
        &self.shell
    }
}

impl Source for FromVirtual {
    async fn next(&mut self) -> io::Result<Option<Frame>> {
        if self.told.is_some() {
            return Ok(None);
        }
        tokio::select! {
            // Its end comes after all that it said.
            biased;
            Some(frame) = self.from_pod.recv() => Ok(Some(frame)),
            batch = self.shell.application().next() => Ok(Some(Frame::Channel(batch))),
            exit = ended(&mut self.exit) => {
                // Also of one that was dropped.
                self.shell.close();
                self.shell.application().flushed().await;
                self.told = Some(exit);
                Ok(Some(Frame::Exit(exit)))
            }
        }
    }
}

/// Waits for the end of a user of members.
pub async fn ended(exit: &mut watch::Receiver<Option<Exit>>) -> Exit {
    let exit = exit.wait_for(Option::is_some).await;
    // Whose end it is lives as long as its receiver here.
    exit.ok().and_then(|exit| *exit).unwrap_or(Exit::Code(0))
}

impl Worker for FromVirtual {
    fn exit(&self) -> Option<Exit> {
        self.told
    }

    async fn end_within(self, _time: Duration) {
        self.shell.close();
    }
}

/// Where an application's messages and signals go.
pub struct ToVirtual {
    shell: Arc<Shell>,
    to_link: mpsc::Sender<Frame>,
    pending: Option<Bytes>,
    /// Members that must be waited for.
    full: Vec<Way>,
    complaint: Option<Frame>,
}

impl Sink for ToVirtual {
    fn accept(&mut self, frame: Frame) -> io::Result<()> {
        let wrong = |what| Err(io::Error::new(io::ErrorKind::InvalidData, what));
        match frame {
            Frame::Channel(batch) => self.pending = Some(batch),
            // The worker's way to learn that its application is gone.
            Frame::RequestsEnd => self.shell.close(),
            Frame::Signal(number) => {
                if ENDS.contains(&i32::from(number)) {
                    self.shell.close();
                }
            }
            Frame::Stdout(_) | Frame::Stderr(_) | Frame::Exit(_) | Frame::Lending(_) => {
                return wrong("an application sends a frame that only workers send");
            }
        }
        Ok(())
    }

    async fn flush(&mut self) -> io::Result<Option<Exit>> {
        if let Some(batch) = self.pending.take() {
            let (complaint, full) = self.shell.on_application(&batch);
            self.full = full;
            self.complaint = complaint;
        }
        while let Some(member) = self.full.last() {
            member.room().await;
            self.full.pop();
        }
        if self.complaint.is_some()
            && let Ok(permit) = self.to_link.reserve().await
            && let Some(complaint) = self.complaint.take()
        {
            permit.send(complaint);
        }
        Ok(None)
    }
}
