//! One worker process as a member of virtual workers.

use super::outbox::Outbox;
use super::routes::{Owners, Requests, VirtualId};
use crate::inventory::Inventory;
use crate::listen_infos::ForWorker;
use crate::translate::Translator;
use bytes::Bytes;
use mafalda_channel::fbs::notification::Event;
use mafalda_channel::{Message, ViewError, messages, view, with_id};
use mafalda_virtual_worker::MemberId;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A worker process that virtual workers share.
pub struct Member {
    /// What virtual workers call it; no two processes of a pod have the same.
    pub id: MemberId,
    /// The slot that its process is in.
    pub slot: usize,
    /// The process.
    pub pid: u32,
    state: Mutex<State>,
    outbox: Outbox,
    running: AtomicBool,
}

struct State {
    requests: Requests,
    translator: Translator,
}

/// What a member says.
pub enum Said {
    /// To this virtual worker.
    To(VirtualId, Bytes),
    /// That it runs, its first message.
    Running(Bytes),
    /// A line of its log, as a message.
    Log(Bytes),
}

/// What came of a message to a member.
#[derive(Default)]
pub struct Sent {
    /// The pod's own answer, in the member's place.
    pub answer: Option<Bytes>,
    /// Much waits for the member to take it: wait for room before more is sent.
    pub is_full: bool,
}

impl Drop for Member {
    fn drop(&mut self) {
        self.outbox.close();
    }
}

impl Member {
    /// Of a process whose descriptor 3 has the other end of `outbox`.
    pub fn new(
        id: MemberId,
        slot: usize,
        pid: u32,
        translator: Translator,
        outbox: Outbox,
    ) -> Self {
        Self {
            id,
            slot,
            pid,
            state: Mutex::new(State {
                requests: Requests::default(),
                translator,
            }),
            outbox,
            running: AtomicBool::new(false),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The way to it.
    pub fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// Whether it said that it runs.
    pub fn is_running(&self) -> bool {
        self.running.load(Ordering::Acquire)
    }

    /// What its process carries.
    pub fn inventory(&self) -> Arc<Mutex<Inventory>> {
        self.state().translator.inventory()
    }

    /// Takes a message of a virtual worker.
    ///
    /// # Errors
    /// It is not one whole message of the channel.
    pub fn send(&self, from: VirtualId, message: &Bytes) -> Result<Sent, ViewError> {
        let mut state = self.state();
        let message = state.requests.enter(from, message)?;
        let mut sent = Sent::default();
        match state.translator.rewrite(&message)? {
            ForWorker::Unchanged => sent.is_full = !self.outbox.send(message),
            ForWorker::Instead(instead) => {
                for message in instead {
                    sent.is_full = !self.outbox.send(message);
                }
            }
            ForWorker::Answer(answer) => {
                if let Message::Response(response) = view(&answer)?
                    && let Some((_, id)) = state.requests.leave(response.id)
                {
                    sent.answer = Some(with_id(&answer, id)?);
                }
            }
        }
        Ok(sent)
    }

    /// Takes whole messages of the process.
    ///
    /// # Errors
    /// They are none of the channel.
    pub fn receive(&self, batch: Bytes, owners: &Mutex<Owners>) -> Result<Vec<Said>, ViewError> {
        let mut state = self.state();
        let (batch, _) = state.translator.outbound(batch)?;
        let mut said = Vec::new();
        for message in messages(&batch) {
            let message = message?;
            match view(&message)? {
                Message::Response(response) => {
                    if let Some((owner, id)) = state.requests.leave(response.id) {
                        said.push(Said::To(owner, with_id(&message, id)?));
                    }
                }
                Message::Notification(notification)
                    if notification.event == Event::WorkerRunning =>
                {
                    self.running.store(true, Ordering::Release);
                    said.push(Said::Running(message.clone()));
                }
                Message::Notification(notification) => {
                    let owners = owners.lock().unwrap_or_else(PoisonError::into_inner);
                    let owner = owners.of(notification.handler_id);
                    said.extend(owner.map(|owner| Said::To(owner, message.clone())));
                }
                Message::Log(_) => said.push(Said::Log(message.clone())),
                Message::Request(_) => {}
            }
        }
        Ok(said)
    }

    /// The virtual worker is gone; answers to it are nobody's.
    pub fn forget(&self, virtual_worker: VirtualId) {
        self.state().requests.forget(virtual_worker);
    }
}
