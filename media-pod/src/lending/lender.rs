//! A pod that lends us its workers.

use super::note::Note;
use super::queue::Queue;
use crate::ListenInfos;
use crate::members::{Member, Members, VirtualId, Way, next_member_id};
use bytes::Bytes;
use mafalda_link::Exit;
use mafalda_virtual_worker::Locality;
use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What an application's worker ends with when all its members were on pods that are gone.
const GONE: Exit = Exit::Code(50);

/// The borrower's end of one connection.
pub struct Lender {
    /// The lending pod's name.
    pod: Arc<str>,
    group: Arc<Members>,
    queue: Queue,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Where it is: as others say, then as it says itself.
    locality: Locality,
    /// By what they are called on the connection.
    members: BTreeMap<u32, Arc<Member>>,
    /// Which of our virtual workers it knows.
    attached: HashSet<VirtualId>,
    cordoned: bool,
    /// Its members are given back, and no others are taken.
    retired: bool,
    /// Whose messages come.
    current: Option<Arc<Member>>,
}

impl Lender {
    /// Its members become some of the group. `locality` is where it is, as far as others say.
    pub fn new(locality: Locality, group: Arc<Members>) -> Self {
        Self {
            pod: locality.pod.clone(),
            group,
            queue: Queue::default(),
            state: Mutex::new(State {
                locality,
                ..State::default()
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lending pod's name.
    pub fn pod(&self) -> &str {
        &self.pod
    }

    /// What is for it.
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Whether it wants nothing new.
    pub fn is_cordoned(&self) -> bool {
        self.state().cordoned
    }

    /// A virtual worker is about to use a member: the lender must know whose things are whose.
    pub fn attach(&self, virtual_worker: VirtualId) {
        if self.state().attached.insert(virtual_worker) {
            self.queue.note(Note::Attach(virtual_worker.0));
            for id in self.group.owned_by(virtual_worker) {
                self.queue.note(Note::Owns(id));
            }
        }
    }

    /// The virtual worker is over.
    pub fn detach(&self, virtual_worker: VirtualId) {
        if self.state().attached.remove(&virtual_worker) {
            // The lender does not know which of the connection's virtual workers has what.
            for id in self.group.owned_by(virtual_worker) {
                self.queue.note(Note::Disowns(id));
            }
            self.queue.note(Note::Detach(virtual_worker.0));
        }
    }

    /// An id is a virtual worker's from now on.
    pub fn own(&self, owner: VirtualId, id: &str) {
        if self.state().attached.contains(&owner) {
            self.queue.note(Note::Owns(id.to_owned()));
        }
    }

    /// … and now no more.
    pub fn disown(&self, owner: VirtualId, id: &str) {
        if self.state().attached.contains(&owner) {
            self.queue.note(Note::Disowns(id.to_owned()));
        }
    }

    /// Takes whole messages of the member that was named last.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn on_messages(&self, batch: Bytes) -> Result<(), String> {
        // One that has died since says nothing any more.
        let Some(member) = self.state().current.clone() else {
            return Ok(());
        };
        let received = self.group.receive(&member, batch);
        received.map_err(|error| error.to_string())
    }

    /// Takes a note.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn on_note(self: &Arc<Self>, note: &[u8]) -> Result<(), String> {
        let note = serde_json::from_slice(note).map_err(|error| error.to_string())?;
        match note {
            Note::Lends {
                listen_infos,
                place,
            } => {
                let its = ListenInfos::from_word(&listen_infos)
                    .ok_or_else(|| format!("--listen-infos {listen_infos:?} are not known here"))?;
                let ours = self.group.agree(its);
                if its != ours {
                    return Err(format!(
                        "its --listen-infos are {}, those here {}: they must be equal",
                        its.as_str(),
                        ours.as_str()
                    ));
                }
                if let Some(place) = place {
                    let mut state = self.state();
                    state.locality = place.of(&state.locality);
                }
            }
            Note::Added { member, running } => self.add(member, running),
            Note::Gone { member, exit } => self.remove(member, exit),
            Note::Load(loads) => self.load(&loads),
            Note::Cordoned(cordoned) => {
                self.state().cordoned = cordoned;
                self.group.offer_all();
            }
            Note::Member(member) => {
                let mut state = self.state();
                state.current = state.members.get(&member).cloned();
            }
            Note::Attach(_) | Note::Detach(_) | Note::Owns(_) | Note::Disowns(_) => {
                return Err("it says what a borrower says".to_owned());
            }
        }
        Ok(())
    }

    fn add(self: &Arc<Self>, number: u32, running: bool) {
        let way = Way::Lent(self.clone(), number);
        let locality = self.state().locality.clone();
        let member = Member::of_lender(next_member_id(), locality, way, running);
        let member = Arc::new(member);
        let before = {
            let mut state = self.state();
            if state.retired {
                return;
            }
            state.members.insert(number, member.clone())
        };
        if let Some(before) = before {
            self.group.remove(&before, GONE);
        }
        self.group.add(&member);
    }

    fn remove(&self, number: u32, exit: Exit) {
        let member = {
            let mut state = self.state();
            let member = state.members.remove(&number);
            if let (Some(gone), Some(current)) = (&member, &state.current)
                && gone.id == current.id
            {
                state.current = None;
            }
            member
        };
        if let Some(member) = member {
            self.group.remove(&member, exit);
        }
    }

    fn load(&self, loads: &[(u32, f32)]) {
        let now = self.group.now();
        let state = self.state();
        for (number, share) in loads {
            if let Some(member) = state.members.get(number) {
                let share = if share.is_finite() { *share } else { 0.0 };
                self.group.ledger().on_cpu(member.id, share, now);
            }
        }
    }

    /// Nobody has use for it: its members are no more, and it is told that the connection ends.
    pub fn retire(&self) {
        self.remove_all();
        self.queue.end();
    }

    /// The connection is over: its members are no more.
    pub fn end(&self) {
        self.queue.close();
        self.remove_all();
    }

    fn remove_all(&self) {
        self.state().retired = true;
        let numbers: Vec<u32> = self.state().members.keys().copied().collect();
        for number in numbers {
            self.remove(number, GONE);
        }
    }

    /// Whether no virtual worker has one of its members.
    pub fn is_unused(&self) -> bool {
        // Who uses them is asked without the lock: they may be about to ask for it.
        let members: Vec<_> = self.state().members.values().cloned().collect();
        !members.iter().any(|member| self.group.is_used(member.id))
    }
}
