//! What an application's messages go through on their way to its worker.

use crate::metrics::Direction;
use crate::pod::Pod;
use crate::translate::{Translator, join};
use bytes::Bytes;
use mafalda_link::Frame;
use std::sync::{Arc, Mutex, PoisonError};

/// The way into a worker.
pub struct Inlet {
    translator: Arc<Mutex<Translator>>,
    pod: Pod,
    pid: u32,
    /// Whether the application was told of a malformed message.
    told: bool,
}

/// What came of a batch of messages.
#[derive(Default)]
pub struct Passed {
    /// Whole messages for the worker.
    pub to_worker: Bytes,
    /// Whole messages for the application, answers of the pod itself.
    pub answers: Bytes,
    /// A line for the application's log.
    pub complaint: Option<Frame>,
}

impl Inlet {
    /// Into the worker `pid`, which the translator stands before.
    pub fn new(translator: Arc<Mutex<Translator>>, pod: Pod, pid: u32) -> Self {
        Self {
            translator,
            pod,
            pid,
            told: false,
        }
    }

    /// The largest message that an application may send, in bytes.
    pub fn max_message(&self) -> usize {
        self.pod.config().max_message
    }

    /// Takes whole messages of the application.
    pub fn pass(&mut self, batch: &Bytes) -> Passed {
        let mut translator = self
            .translator
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let inbound = translator.inbound(batch);
        drop(translator);
        let metrics = self.pod.metrics();
        metrics.count_messages(Direction::ToWorker, inbound.messages, batch.len());
        metrics.malformed.inc_by(inbound.malformed);
        let mut complaint = None;
        if let (Some(what), false) = (&inbound.complaint, self.told) {
            // Once a connection: an application that sends garbage sends much of it.
            self.told = true;
            let pid = self.pid;
            tracing::warn!(pid, what, "the application sends malformed messages");
            let line = format!("mafalda: a message was not passed on: {what}\n");
            complaint = Some(Frame::Stderr(line.into()));
        }
        Passed {
            to_worker: join(&inbound.to_worker),
            answers: join(&inbound.to_application),
            complaint,
        }
    }
}
