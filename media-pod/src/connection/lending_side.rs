//! A borrower of the pod's workers as the source and sink of a connection's frames.

use super::carry::Worker;
use super::virtual_side::ended;
use crate::lending::{Borrower, Note};
use crate::members::Way;
use crate::pod::Pod;
use bytes::Bytes;
use mafalda_link::{Exit, Frame, Sink, Source};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// The two sides, for [`mafalda_link::drive`].
pub fn split(
    borrower: Arc<Borrower>,
    pod: &Pod,
    from_pod: mpsc::Receiver<Frame>,
) -> (FromMembers, ToMembers) {
    borrower.queue().note(Note::Lends {
        listen_infos: pod.config().listen_infos.as_str().to_owned(),
        place: Some(pod.identity().into()),
    });
    let from_members = FromMembers {
        exit: borrower.exit(),
        changes: pod.changes(),
        pod: pod.clone(),
        cordoned: false,
        from_pod,
        borrower: borrower.clone(),
        told: None,
    };
    let to_members = ToMembers {
        borrower,
        pending: None,
        full: Vec::new(),
    };
    (from_members, to_members)
}

/// What members say, and at last the end.
pub struct FromMembers {
    borrower: Arc<Borrower>,
    pod: Pod,
    changes: watch::Receiver<u64>,
    /// What the borrower knows.
    cordoned: bool,
    exit: watch::Receiver<Option<Exit>>,
    from_pod: mpsc::Receiver<Frame>,
    told: Option<Exit>,
}

impl Source for FromMembers {
    async fn next(&mut self) -> io::Result<Option<Frame>> {
        if self.told.is_some() {
            return Ok(None);
        }
        loop {
            let cordoned = self.pod.is_draining();
            if cordoned != self.cordoned {
                self.cordoned = cordoned;
                return Ok(Some(Note::Cordoned(cordoned).frame()));
            }
            tokio::select! {
                biased;
                Some(frame) = self.from_pod.recv() => return Ok(Some(frame)),
                frame = self.borrower.queue().next() => return Ok(Some(frame)),
                exit = ended(&mut self.exit) => {
                    self.told = Some(exit);
                    return Ok(Some(Frame::Exit(exit)));
                }
                // The pod lives as long as this.
                _ = self.changes.changed() => {}
            }
        }
    }
}

impl Worker for FromMembers {
    fn exit(&self) -> Option<Exit> {
        self.told
    }

    async fn end_within(self, _time: Duration) {
        self.borrower.close();
    }
}

/// Where a borrower's messages go.
pub struct ToMembers {
    borrower: Arc<Borrower>,
    pending: Option<Bytes>,
    /// Members that must be waited for.
    full: Vec<Way>,
}

impl Sink for ToMembers {
    fn accept(&mut self, frame: Frame) -> io::Result<()> {
        let wrong = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
        match frame {
            Frame::Channel(batch) => self.pending = Some(batch),
            Frame::Lending(note) => self.borrower.on_note(&note).map_err(wrong)?,
            Frame::RequestsEnd | Frame::Signal(_) => self.borrower.close(),
            Frame::Stdout(_) | Frame::Stderr(_) | Frame::Exit(_) => {
                return Err(wrong(
                    "a borrower sends a frame that only lenders send".into(),
                ));
            }
        }
        Ok(())
    }

    async fn flush(&mut self) -> io::Result<Option<Exit>> {
        if let Some(batch) = self.pending.take() {
            let taken = self.borrower.on_messages(&batch);
            self.full = taken.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        }
        while let Some(member) = self.full.last() {
            member.room().await;
            self.full.pop();
        }
        Ok(None)
    }
}
