//! One worker as a member of virtual workers.

use super::routes::{Owners, Requests, VirtualId};
use super::way::Way;
use crate::inventory::Inventory;
use crate::listen_infos::ForWorker;
use crate::translate::Translator;
use bytes::Bytes;
use mafalda_channel::fbs::notification::Event;
use mafalda_channel::{Message, ViewError, messages, view, with_id};
use mafalda_virtual_worker::{Locality, MemberId};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A worker that virtual workers share.
pub struct Member {
    /// What virtual workers call it; no two of a pod have the same.
    pub id: MemberId,
    /// Where it is.
    pub locality: Locality,
    /// Its process; none if another pod lends it.
    pub process: Option<Process>,
    state: Mutex<State>,
    way: Way,
    running: AtomicBool,
}

/// A worker's process in this pod.
#[derive(Clone, Copy, Debug)]
pub struct Process {
    /// The slot that it is in.
    pub slot: usize,
    /// Its id.
    pub pid: u32,
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
        self.way.close();
    }
}

impl Member {
    /// One of this pod: the process's descriptor 3 has the other end of the way.
    pub fn of_process(
        id: MemberId,
        process: Process,
        locality: Locality,
        translator: Translator,
        way: Way,
    ) -> Self {
        Self::new(id, Some(process), locality, translator, way, false)
    }

    /// One that another pod lends, whose listen infos are its own business; `running`: it has said so.
    pub fn of_lender(id: MemberId, locality: Locality, way: Way, running: bool) -> Self {
        let translator = Translator::new(None, Arc::default());
        Self::new(id, None, locality, translator, way, running)
    }

    fn new(
        id: MemberId,
        process: Option<Process>,
        locality: Locality,
        translator: Translator,
        way: Way,
        running: bool,
    ) -> Self {
        Self {
            id,
            locality,
            process,
            state: Mutex::new(State {
                requests: Requests::default(),
                translator,
            }),
            way,
            running: AtomicBool::new(running),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The way to it.
    pub fn way(&self) -> &Way {
        &self.way
    }

    /// Whether this pod has its process.
    pub fn is_here(&self) -> bool {
        self.process.is_some()
    }

    /// Whether its lender wants nothing new on it.
    pub fn is_cordoned(&self) -> bool {
        match &self.way {
            Way::Process(_) => false,
            Way::Lent(lender, _) => lender.is_cordoned(),
        }
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
        if let Way::Lent(lender, _) = &self.way {
            lender.attach(from);
        }
        let mut state = self.state();
        let message = state.requests.enter(from, message)?;
        let mut sent = Sent::default();
        match state.translator.rewrite(&message)? {
            ForWorker::Unchanged => sent.is_full = !self.way.send(message),
            ForWorker::Instead(instead) => {
                for message in instead {
                    sent.is_full = !self.way.send(message);
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
