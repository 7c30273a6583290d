//! Worker processes as members of virtual workers.
//!
//! A group of members is the pod's own workers, shared by all virtual workers of all applications,
//! or the workers of one application that asked for settings of its own. [`keep`] keeps a process
//! alive and replaces it; each process is a [`Member`] with a thread that reads what it says.
//!
//! Locks are taken in this order: a virtual worker's, then the group's or a member's. Nobody waits
//! for a socket while he holds one.

mod keep;
mod member;
mod outbox;
mod routes;

pub use keep::{Kept, keep};
pub use member::Member;
pub use outbox::Outbox;
pub use routes::VirtualId;

use crate::virtual_worker::Shell;
use bytes::Bytes;
use mafalda_channel::{Message, view};
use mafalda_link::Exit;
use mafalda_virtual_worker::{Ledger, MemberId};
use member::Said;
use routes::Owners;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Members and the virtual workers that use them.
pub struct Members {
    /// Whether several applications use them.
    shared: bool,
    ledger: Ledger,
    state: Mutex<State>,
    owners: Mutex<Owners>,
    started: Instant,
}

#[derive(Default)]
struct State {
    members: BTreeMap<MemberId, Arc<Member>>,
    virtual_workers: HashMap<VirtualId, Arc<Shell>>,
    /// How the last process ended.
    exit: Option<Exit>,
}

impl Members {
    /// Without members yet; `shared`: several applications will use them.
    pub fn new(shared: bool) -> Self {
        Self {
            shared,
            ledger: Ledger::default(),
            state: Mutex::default(),
            owners: Mutex::default(),
            started: Instant::now(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn owners(&self) -> MutexGuard<'_, Owners> {
        self.owners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time of all virtual workers here.
    pub fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// A second has passed, in which processes took these shares of a core.
    pub fn on_second(&self, shares: &HashMap<u32, f64>) {
        let now = self.now();
        for member in self.all() {
            let share = shares.get(&member.pid).copied().unwrap_or(0.0);
            self.ledger.on_cpu(member.id, share as f32, now);
        }
        for shell in self.virtual_workers() {
            shell.on_tick(now);
        }
    }

    /// Whether several applications use them.
    pub fn are_shared(&self) -> bool {
        self.shared
    }

    /// What they carry.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// How the last process of the group ended; 0 if none did.
    pub fn exit(&self) -> Exit {
        self.state().exit.unwrap_or(Exit::Code(0))
    }

    /// The members now.
    pub fn all(&self) -> Vec<Arc<Member>> {
        self.state().members.values().cloned().collect()
    }

    /// The virtual workers now, the oldest first.
    pub fn virtual_workers(&self) -> Vec<Arc<Shell>> {
        let mut all: Vec<_> = self.state().virtual_workers.values().cloned().collect();
        all.sort_by_key(|shell| shell.id());
        all
    }

    /// Lends all members to a virtual worker, the later ones too.
    pub fn attach(&self, shell: &Arc<Shell>) {
        let members = {
            let mut state = self.state();
            state.virtual_workers.insert(shell.id(), shell.clone());
            state.members.values().cloned().collect::<Vec<_>>()
        };
        shell.on_tick(self.now());
        // One that comes meanwhile is added twice, which changes nothing.
        for member in members {
            shell.on_member_added(&member);
        }
    }

    /// The virtual worker is over: it has closed what it had.
    pub fn detach(&self, id: VirtualId) {
        let members = {
            let mut state = self.state();
            state.virtual_workers.remove(&id);
            state.members.values().cloned().collect::<Vec<_>>()
        };
        members.iter().for_each(|member| member.forget(id));
        self.owners().forget(id);
    }

    /// A process was started.
    fn add(&self, member: &Arc<Member>) {
        self.state().members.insert(member.id, member.clone());
        for shell in self.virtual_workers() {
            shell.on_member_added(member);
        }
    }

    /// A process has ended, and said all it had to say.
    fn remove(&self, member: &Member, exit: Exit) {
        {
            let mut state = self.state();
            state.members.remove(&member.id);
            state.exit = Some(exit);
        }
        for shell in self.virtual_workers() {
            shell.on_member_gone(member.id);
        }
        self.ledger.forget(member.id);
    }

    /// Events of this handler are the virtual worker's from now on; false if they are another's.
    pub fn own(&self, owner: VirtualId, handler: &str) -> bool {
        self.owners().own(owner, handler)
    }

    /// Events of this handler are nobody's from now on.
    pub fn disown(&self, owner: VirtualId, handler: &str) {
        self.owners().disown(owner, handler);
    }

    /// Takes whole messages of a member's process.
    fn receive(&self, member: &Member, batch: Bytes) -> Result<(), mafalda_channel::ViewError> {
        for said in member.receive(batch, &self.owners)? {
            match said {
                Said::To(owner, message) => {
                    let shell = self.state().virtual_workers.get(&owner).cloned();
                    if let Some(shell) = shell {
                        shell.on_member(member.id, message);
                    }
                }
                Said::Log(message) if self.shared => log(member, &message),
                Said::Running(message) | Said::Log(message) => {
                    for shell in self.virtual_workers() {
                        shell.on_member(member.id, message.clone());
                    }
                }
            }
        }
        Ok(())
    }
}

/// A shared worker's log is the pod's: it may speak of any application.
fn log(member: &Member, message: &Bytes) {
    if let Ok(Message::Log(line)) = view(message) {
        let (worker, pid) = (member.slot, member.pid);
        match line.as_bytes().first() {
            Some(b'E') => tracing::error!(worker, pid, "{}", &line[1..]),
            Some(b'W') => tracing::warn!(worker, pid, "{}", &line[1..]),
            _ => tracing::debug!(worker, pid, "{line}"),
        }
    }
}
