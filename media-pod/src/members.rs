//! Worker processes as members of virtual workers.
//!
//! A group of members is the pod's own workers, shared by all virtual workers of all applications,
//! or the workers of one application that asked for settings of its own. [`keep`] keeps a process
//! alive and replaces it; each process is a [`Member`] with a thread that reads what it says. Members
//! of another kind are lent by other pods ([`crate::lending`]), to whom this group may lend its own.
//!
//! Locks are taken in this order: a virtual worker's, then the group's or a member's. Nobody waits
//! for a socket while he holds one.

mod keep;
mod member;
mod outbox;
mod routes;
mod users;
mod way;

pub use keep::{Kept, keep};
pub use member::{Member, Process};
pub use outbox::Outbox;
pub use routes::VirtualId;
pub use users::User;
pub use way::Way;

use crate::ListenInfos;
use crate::clock::since_1970;
use crate::lending::{Borrower, Grant, Lender, Peers};
use crate::virtual_worker::Shell;
use bytes::Bytes;
use mafalda_channel::{Message, view};
use mafalda_link::Exit;
use mafalda_virtual_worker::{Ledger, MemberId};
use member::Said;
use routes::Owners;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

/// Members and the virtual workers that use them.
pub struct Members {
    /// Whether several applications use them.
    shared: bool,
    ledger: Ledger,
    state: Mutex<State>,
    owners: Mutex<Owners>,
    /// Which pods lend to whom.
    peers: Peers,
    /// Whose listen infos all of them get, once that is known.
    listen_infos: watch::Sender<Option<ListenInfos>>,
    /// A pod that lent is let go of.
    returned: Notify,
    started: Instant,
}

/// How it stands with members of one pod in another.
#[derive(Clone, Copy, Debug)]
pub struct Lending {
    /// Connections to pods that lend.
    pub lenders: usize,
    /// Members that are lent to this pod.
    pub borrowed: usize,
    /// Members of its own that other pods have something on.
    pub lent: usize,
}

#[derive(Default)]
struct State {
    members: BTreeMap<MemberId, Arc<Member>>,
    users: HashMap<VirtualId, User>,
    lenders: Vec<Arc<Lender>>,
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
            peers: Peers::default(),
            listen_infos: watch::Sender::new(None),
            returned: Notify::new(),
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
        let mut loads = Vec::new();
        for member in self.all() {
            if let Some(process) = member.process {
                let share = shares.get(&process.pid).copied().unwrap_or(0.0) as f32;
                self.ledger.on_cpu(member.id, share, now);
                loads.push((member.id, share));
            }
        }
        for user in self.users() {
            user.on_second(now, &loads);
        }
        for session in self.peers.sessions() {
            let shells = self.of_session(&session);
            let used = shells.iter().flat_map(|shell| shell.pods_in_use());
            let wants_more = shells.iter().any(|shell| shell.wants_more());
            let (used, now) = (used.collect(), since_1970());
            self.peers.note_use(&session, &used, wants_more, now);
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

    fn users(&self) -> Vec<User> {
        self.state().users.values().cloned().collect()
    }

    /// How many other pods, and relays, have something on them.
    pub fn borrowers(&self) -> usize {
        self.users().iter().filter(|user| user.borrows()).count()
    }

    /// How it stands with members of one pod in another.
    pub fn lending(&self) -> Lending {
        let lent: BTreeSet<MemberId> = self.users().iter().flat_map(User::lent).collect();
        let state = self.state();
        let borrowed = state.members.values().filter(|member| !member.is_here());
        Lending {
            lenders: state.lenders.len(),
            borrowed: borrowed.count(),
            lent: lent.len(),
        }
    }

    /// The sessions that would be well served with more members.
    pub fn wanting(&self) -> BTreeSet<String> {
        let shells = self.users().into_iter().filter_map(User::virtual_worker);
        let wanting = shells.filter(|shell| shell.wants_more());
        wanting
            .filter_map(|shell| shell.session().map(str::to_owned))
            .collect()
    }

    /// The virtual workers of a session.
    pub fn of_session(&self, session: &str) -> Vec<Arc<Shell>> {
        let users = self.users().into_iter();
        let users = users.filter(|user| user.session() == Some(session));
        users.filter_map(User::virtual_worker).collect()
    }

    /// The virtual workers now, the oldest first.
    pub fn virtual_workers(&self) -> Vec<Arc<Shell>> {
        let users = self.users().into_iter();
        let mut all: Vec<_> = users.filter_map(User::virtual_worker).collect();
        all.sort_by_key(|shell| shell.id());
        all
    }

    /// Which pods lend to whom.
    pub fn peers(&self) -> &Peers {
        &self.peers
    }

    /// Whose listen infos all members get: the first that says so decides.
    pub fn agree(&self, listen_infos: ListenInfos) -> ListenInfos {
        let mut agreed = listen_infos;
        self.listen_infos
            .send_modify(|known| agreed = *known.get_or_insert(listen_infos));
        agreed
    }

    /// Waits until that is known.
    pub async fn agreed(&self) -> ListenInfos {
        let mut known = self.listen_infos.subscribe();
        // The sender lives as long as this.
        let agreed = known.wait_for(Option::is_some).await;
        agreed
            .ok()
            .and_then(|agreed| *agreed)
            .unwrap_or(ListenInfos::Pod)
    }

    /// Lends members to a user, the later ones too.
    pub fn attach(&self, user: User) {
        let members = {
            let mut state = self.state();
            state.users.insert(user.id(), user.clone());
            state.members.values().cloned().collect::<Vec<_>>()
        };
        user.on_tick(self.now());
        // One that comes meanwhile is added twice, which changes nothing.
        for member in members {
            self.offer(&user, &member);
        }
    }

    /// The user is over: it has closed what it had.
    pub fn detach(&self, id: VirtualId) {
        let (members, lenders) = {
            let mut state = self.state();
            state.users.remove(&id);
            let members: Vec<_> = state.members.values().cloned().collect();
            (members, state.lenders.clone())
        };
        members.iter().for_each(|member| member.forget(id));
        lenders.iter().for_each(|lender| lender.detach(id));
        self.owners().forget(id);
    }

    /// Lends the user a member that it may have, or wants it back.
    fn offer(&self, user: &User, member: &Arc<Member>) {
        let may = member.is_here()
            || !member.is_cordoned() && self.peers.lends(&member.locality.pod, user.session());
        match may {
            true => user.on_member_added(member),
            false => user.on_member_wanted_back(member),
        }
    }

    /// Which pods lend to whom has changed.
    pub fn offer_all(&self) {
        let members = self.all();
        for user in self.users() {
            for member in members.iter().filter(|member| !member.is_here()) {
                self.offer(&user, member);
            }
        }
    }

    /// Whether a user has the member.
    pub fn is_used(&self, member: MemberId) -> bool {
        self.users().iter().any(|user| user.has(member))
    }

    /// A pod is there that lends.
    pub fn add_lender(&self, lender: &Arc<Lender>) {
        self.state().lenders.push(lender.clone());
    }

    /// It is no more.
    pub fn remove_lender(&self, lender: &Arc<Lender>) {
        let mut state = self.state();
        state.lenders.retain(|other| !Arc::ptr_eq(other, lender));
        self.returned.notify_one();
    }

    /// Lets go of all pods that lend, in order; not for ever.
    pub async fn return_all(&self, patience: Duration) {
        self.peers.lend_to_all(Grant::default());
        for lender in self.lenders() {
            lender.queue().end();
        }
        let returned = async {
            while !self.lenders().is_empty() {
                self.returned.notified().await;
            }
        };
        // One that does not answer learns it by the connection's end.
        let _ = timeout(patience, returned).await;
    }

    /// A worker is there.
    pub fn add(&self, member: &Arc<Member>) {
        self.state().members.insert(member.id, member.clone());
        for user in self.users() {
            self.offer(&user, member);
        }
    }

    /// A worker has ended, and said all it had to say.
    pub fn remove(&self, member: &Member, exit: Exit) {
        {
            let mut state = self.state();
            state.members.remove(&member.id);
            state.exit = Some(exit);
        }
        for user in self.users() {
            user.on_member_gone(member.id, exit);
        }
        self.ledger.forget(member.id);
    }

    /// Events of this handler are the virtual worker's from now on; false if they are another's.
    pub fn own(&self, owner: VirtualId, handler: &str) -> bool {
        let is_own = self.owners().own(owner, handler);
        if is_own {
            for lender in self.lenders() {
                lender.own(owner, handler);
            }
        }
        is_own
    }

    /// Events of this handler are nobody's from now on.
    pub fn disown(&self, owner: VirtualId, handler: &str) {
        self.owners().disown(owner, handler);
        for lender in self.lenders() {
            lender.disown(owner, handler);
        }
    }

    /// Whether events of this handler are the user's.
    pub fn is_owned(&self, owner: VirtualId, handler: &str) -> bool {
        self.owners().of(handler) == Some(owner)
    }

    /// How many ids a user has.
    pub fn owns(&self, owner: VirtualId) -> usize {
        self.owners().count(owner)
    }

    /// All ids that a virtual worker gave.
    pub fn owned_by(&self, owner: VirtualId) -> Vec<String> {
        self.owners().owned_by(owner)
    }

    /// A borrower speaks for a virtual worker; false if another does.
    pub fn name(&self, borrower: VirtualId, virtual_worker: VirtualId) -> bool {
        !self.state().users.contains_key(&virtual_worker)
            && self.owners().name(borrower, virtual_worker)
    }

    /// The borrower that speaks for a virtual worker.
    pub fn borrower_of(&self, virtual_worker: VirtualId) -> Option<Arc<Borrower>> {
        let id = self.owners().borrower_of(virtual_worker)?;
        self.borrower(id)
    }

    /// The borrower of that id.
    pub fn borrower(&self, id: VirtualId) -> Option<Arc<Borrower>> {
        self.state().users.get(&id).cloned()?.borrower()
    }

    /// … and now no more.
    pub fn unname(&self, borrower: VirtualId, virtual_worker: VirtualId) {
        self.owners().unname(borrower, virtual_worker);
    }

    fn lenders(&self) -> Vec<Arc<Lender>> {
        self.state().lenders.clone()
    }

    /// Takes whole messages of a member.
    ///
    /// # Errors
    /// They are none of the channel.
    pub fn receive(&self, member: &Member, batch: Bytes) -> Result<(), mafalda_channel::ViewError> {
        for said in member.receive(batch, &self.owners)? {
            match said {
                Said::To(owner, message) => {
                    let user = self.state().users.get(&owner).cloned();
                    if let Some(user) = user {
                        user.on_member(member.id, message);
                    }
                }
                Said::Log(message) if self.shared => log(member, &message),
                Said::Running(message) | Said::Log(message) => {
                    for user in self.users().iter().filter(|user| user.has(member.id)) {
                        user.on_member(member.id, message.clone());
                    }
                }
            }
        }
        Ok(())
    }
}

/// What no other member of this process is called.
pub fn next_member_id() -> MemberId {
    static LAST: AtomicU32 = AtomicU32::new(0);

    MemberId(LAST.fetch_add(1, Ordering::Relaxed))
}

/// A shared worker's log is the pod's: it may speak of any application.
fn log(member: &Member, message: &Bytes) {
    if let Ok(Message::Log(line)) = view(message) {
        let (worker, pid) = member
            .process
            .map(|process| (process.slot, process.pid))
            .unzip();
        match line.as_bytes().first() {
            Some(b'E') => tracing::error!(worker, pid, "{}", &line[1..]),
            Some(b'W') => tracing::warn!(worker, pid, "{}", &line[1..]),
            _ => tracing::debug!(worker, pid, "{line}"),
        }
    }
}
