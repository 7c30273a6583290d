//! The shell of a virtual worker: moves messages between its machine, one application and members.
//!
//! Whoever has a message brings it: the thread that reads an application's channel, the task that
//! takes its frames, the thread that reads a member. Under the shell's lock the machine says what is
//! to be done, and it is done before the lock is let go, so that orders of messages hold.

mod application;

pub use application::{Application, FrameQueue};

use crate::inventory::Inventory;
use crate::members::{Member, Members, VirtualId, Way};
use crate::metrics::Direction;
use crate::pod::{Attendance, Pod};
use crate::seats::Seats;
use crate::translate::{Inbound, Translator, join};
use bytes::Bytes;
use mafalda_channel::fbs::notification::Event;
use mafalda_channel::{Message, ViewError, messages, view};
use mafalda_link::{Exit, Frame};
use mafalda_virtual_worker::{Action, Aliases, Config, MemberId, Topology, VirtualWorker};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

/// How often members are asked for figures, at most.
const OFTEN: Duration = Duration::from_secs(1);

/// How often what crosses from pod to pod is counted, though nobody asks.
const COUNTED: Duration = Duration::from_secs(5);

/// How long they may take to answer.
const PATIENCE: Duration = Duration::from_millis(500);

/// One virtual worker of one application.
pub struct Shell {
    id: VirtualId,
    session: Option<String>,
    pod: Pod,
    group: Arc<Members>,
    core: Mutex<Core>,
    application: Application,
    exit: watch::Sender<Option<Exit>>,
    /// All members have said how much goes through the pipes.
    measured: Notify,
}

struct Core {
    machine: VirtualWorker,
    members: BTreeMap<MemberId, Arc<Member>>,
    /// Those of them that are to be given back.
    wanted_back: BTreeSet<MemberId>,
    /// What goes by another name there.
    aliases: Aliases,
    /// Checks and counts what the application says and hears.
    translator: Translator,
    /// The application was told of a malformed message.
    told: bool,
    closed: bool,
    /// When members were asked last how much goes through the pipes.
    asked: Option<Instant>,
}

impl Shell {
    /// For an application, of a session or not; [`Members::attach`] then lends it members.
    pub fn new(
        id: VirtualId,
        session: Option<&Attendance>,
        pod: Pod,
        group: Arc<Members>,
        config: Config,
        application: Application,
    ) -> Self {
        let machine = VirtualWorker::new(config, group.ledger().clone());
        let seats = session.map(|session| Seats::new(session.room()));
        Self {
            id,
            session: session.map(|session| session.name().to_owned()),
            pod,
            group,
            core: Mutex::new(Core {
                machine,
                members: BTreeMap::new(),
                wanted_back: BTreeSet::new(),
                aliases: Aliases::default(),
                translator: Translator::new(None, Arc::default()).with_seats(seats),
                told: false,
                closed: false,
                asked: None,
            }),
            application,
            exit: watch::Sender::new(None),
            measured: Notify::new(),
        }
    }

    /// What no other virtual worker of the pod is called.
    pub fn id(&self) -> VirtualId {
        self.id
    }

    /// The session that it works for.
    pub fn session(&self) -> Option<&str> {
        self.session.as_deref()
    }

    /// The way to the application.
    pub fn application(&self) -> &Application {
        &self.application
    }

    /// The largest message that the application may send, in bytes.
    pub fn max_message(&self) -> usize {
        self.pod.config().max_message
    }

    /// What it carries, as the application sees it.
    pub fn inventory(&self) -> Arc<Mutex<Inventory>> {
        self.core().translator.inventory()
    }

    /// How it ended, once it has.
    pub fn exit(&self) -> watch::Receiver<Option<Exit>> {
        self.exit.subscribe()
    }

    fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes whole messages of the application. Returns what is to be told it beside the channel,
    /// and the members that must be waited for before the next messages.
    pub fn on_application(&self, batch: &Bytes) -> (Option<Frame>, Vec<Way>) {
        let mut core = self.core();
        if core.closed || self.exit.borrow().is_some() {
            return (None, Vec::new());
        }
        let inbound = core.translator.inbound(batch);
        let metrics = self.pod.metrics();
        metrics.count_messages(Direction::ToWorker, inbound.messages, batch.len());
        metrics.malformed.inc_by(inbound.malformed);
        let complaint = self.complaint(&mut core, &inbound);
        self.application.send(join(&inbound.to_application));
        let mut full = BTreeMap::new();
        for part in &inbound.to_worker {
            // They were cut before: each is whole.
            for message in messages(part).flatten() {
                if is_farewell(&message) {
                    drop(core);
                    self.close();
                    return (complaint, Vec::new());
                }
                let actions = core.machine.on_application(message);
                self.act(&mut core, actions, &mut full);
            }
        }
        (complaint, full.into_values().collect())
    }

    /// Once a connection: an application that sends garbage sends much of it.
    fn complaint(&self, core: &mut Core, inbound: &Inbound) -> Option<Frame> {
        let what = inbound.complaint.as_ref()?;
        if std::mem::replace(&mut core.told, true) {
            return None;
        }
        tracing::warn!(
            virtual_worker = self.id.0,
            what,
            "the application sends malformed messages"
        );
        let line = format!("mafalda: a message was not passed on: {what}\n");
        Some(Frame::Stderr(line.into()))
    }

    /// Takes one message of a member.
    pub fn on_member(&self, member: MemberId, message: Bytes) {
        let mut core = self.core();
        if core.closed || self.exit.borrow().is_some() {
            return;
        }
        let measuring = core.machine.is_measuring();
        let message = core.aliases.inward(message);
        let actions = core.machine.on_member(member, message);
        self.act(&mut core, actions, &mut BTreeMap::new());
        if measuring && !core.machine.is_measuring() {
            let crossed = core.machine.take_crossed();
            self.pod.metrics().count_crossed(crossed);
            self.measured.notify_waiters();
        }
    }

    /// A member was lent, or is not wanted back any more.
    pub fn on_member_added(&self, member: &Arc<Member>) {
        let mut core = self.core();
        if core.closed {
            return;
        }
        if core.wanted_back.remove(&member.id) {
            core.machine.on_member_cordoned(member.id, false);
        }
        if core.members.contains_key(&member.id) {
            return;
        }
        core.members.insert(member.id, member.clone());
        let is_running = member.is_running();
        let locality = match member.process {
            // The pod may have learned where it is after it was started.
            Some(_) => self.pod.identity().locality(),
            None => member.locality.clone(),
        };
        let actions = core
            .machine
            .on_member_added(member.id, is_running, locality);
        self.act(&mut core, actions, &mut BTreeMap::new());
    }

    /// A member is to take nothing new, and goes back when it has nothing of ours.
    pub fn on_member_wanted_back(&self, member: MemberId) {
        let mut core = self.core();
        if core.members.contains_key(&member) && core.wanted_back.insert(member) {
            core.machine.on_member_cordoned(member, true);
        }
    }

    /// Gives back what is wanted back and has nothing of ours.
    pub fn give_back(&self) {
        let mut core = self.core();
        let empty = |id: &&MemberId| core.machine.carries(**id) == 0;
        let empty: Vec<MemberId> = core.wanted_back.iter().filter(empty).copied().collect();
        for id in empty {
            // Without any it would be dead.
            if core.members.len() > 1 {
                core.members.remove(&id);
                core.wanted_back.remove(&id);
                let actions = core.machine.on_member_gone(id);
                self.act(&mut core, actions, &mut BTreeMap::new());
            }
        }
    }

    /// Whether it would be well served with more members.
    pub fn wants_more(&self) -> bool {
        self.core().machine.wants_more()
    }

    /// The other pods that something of it is on.
    pub fn pods_in_use(&self) -> BTreeSet<Arc<str>> {
        let core = self.core();
        let lent = core.members.values().filter(|member| !member.is_here());
        let used = lent.filter(|member| core.machine.carries(member.id) > 0);
        used.map(|member| member.locality.pod.clone()).collect()
    }

    /// Whether it was lent the member.
    pub fn has(&self, member: MemberId) -> bool {
        self.core().members.contains_key(&member)
    }

    /// A member has ended.
    pub fn on_member_gone(&self, member: MemberId) {
        {
            let mut core = self.core();
            core.wanted_back.remove(&member);
            if core.members.remove(&member).is_none() {
                return;
            }
        }
        self.step(|machine| machine.on_member_gone(member));
    }

    /// Time passes.
    pub fn on_tick(&self, now: Duration) {
        self.step(|machine| machine.on_tick(now));
    }

    /// The application is gone, or was told to go: closes all it had on members.
    pub fn close(&self) {
        let mut core = self.core();
        if std::mem::replace(&mut core.closed, true) {
            return;
        }
        let actions = core.machine.on_application_gone();
        self.act(&mut core, actions, &mut BTreeMap::new());
        core.translator.leave();
        core.members.clear();
        core.wanted_back.clear();
        drop(core);
        self.group.detach(self.id);
        self.end(Exit::Code(0));
    }

    /// What is where. Asks members first how much goes through the pipes, once a second at most.
    pub async fn topology(&self) -> Topology {
        let measured = self.measured.notified();
        if self.measure(OFTEN) {
            // A member that does not answer has no new figures.
            let _ = timeout(PATIENCE, measured).await;
        }
        self.core().machine.topology()
    }

    /// A second has passed: what crosses from pod to pod is counted now and then.
    pub fn count_crossed(&self) {
        if self.core().machine.spans_pods() {
            self.measure(COUNTED);
        }
    }

    /// Asks members what goes through the pipes, unless they were asked `since` then. True if answers
    /// are to come.
    fn measure(&self, since: Duration) -> bool {
        let mut core = self.core();
        if core.closed || core.asked.is_some_and(|asked| asked.elapsed() < since) {
            return false;
        }
        core.asked = Some(Instant::now());
        let actions = core.machine.measure_pipes();
        self.act(&mut core, actions, &mut BTreeMap::new());
        core.machine.is_measuring()
    }

    fn step(&self, step: impl FnOnce(&mut VirtualWorker) -> Vec<Action>) {
        let mut core = self.core();
        if !core.closed {
            let actions = step(&mut core.machine);
            self.act(&mut core, actions, &mut BTreeMap::new());
        }
    }

    fn end(&self, exit: Exit) {
        self.exit.send_if_modified(|ended| {
            let first = ended.is_none();
            ended.get_or_insert(exit);
            first
        });
    }

    /// Does what the machine says, and notes the members that are `full`.
    fn act(&self, core: &mut Core, actions: Vec<Action>, full: &mut BTreeMap<MemberId, Way>) {
        let mut actions = VecDeque::from(actions);
        let mut to_application = Vec::new();
        while let Some(action) = actions.pop_front() {
            match action {
                Action::ToApplication(message) => to_application.push(message),
                Action::ToMember(id, message) => {
                    let Some(member) = core.members.get(&id) else {
                        continue;
                    };
                    let message = core.aliases.outward(message);
                    match member.send(self.id, &message) {
                        Ok(sent) => {
                            if let Some(answer) = sent.answer {
                                let answer = core.aliases.inward(answer);
                                actions.extend(core.machine.on_member(id, answer));
                            }
                            if sent.is_full {
                                full.insert(id, member.way().clone());
                            }
                        }
                        // It was checked before, or it is the machine's own.
                        Err(error) => tracing::error!(%error, "a message was not passed on"),
                    }
                }
                Action::Owns(id) => {
                    if !self.own(core, &id) {
                        // What follows is about it, and would reach the other's.
                        actions.clear();
                        tracing::warn!(
                            virtual_worker = self.id.0,
                            id,
                            "somebody else has this id, and it is too short for an alias: the application is dropped"
                        );
                        self.end(Exit::Code(1));
                    }
                }
                Action::Disowns(id) => {
                    let alias = core.aliases.remove(&id);
                    self.group.disown(self.id, alias.as_deref().unwrap_or(&id));
                }
                Action::Died => self.end(self.group.exit()),
            }
        }
        if let Err(error) = self.tell(core, &to_application) {
            tracing::error!(%error, "a message for the application is none");
        }
    }

    /// Events of `id` are ours. One that another virtual worker has goes by another name; false if
    /// there is none.
    fn own(&self, core: &mut Core, id: &str) -> bool {
        if self.group.own(self.id, id) {
            return true;
        }
        let alias = core.aliases.add(id, &self.id.name());
        alias.is_some_and(|alias| self.group.own(self.id, &alias))
    }

    fn tell(&self, core: &mut Core, said: &[Bytes]) -> Result<(), ViewError> {
        if said.is_empty() {
            return Ok(());
        }
        let (batch, count) = core.translator.outbound(join(said))?;
        let metrics = self.pod.metrics();
        metrics.count_messages(Direction::ToApplication, count, batch.len());
        if !self.application.send(batch) && self.exit.borrow().is_none() {
            tracing::warn!(
                virtual_worker = self.id.0,
                "the application reads nothing: it is dropped"
            );
            // What waits for it is of no use to anybody. What it has on members is closed by whoever
            // waits for the end, as others' locks may be held here.
            self.application.abandon();
            self.end(Exit::Code(1));
        }
        Ok(())
    }
}

/// Whether the application tells its worker to end.
fn is_farewell(message: &Bytes) -> bool {
    matches!(
        view(message),
        Ok(Message::Notification(notification)) if notification.event == Event::WorkerClose
    )
}

#[cfg(test)]
mod tests;
