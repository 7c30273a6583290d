//! A pod, or a relay, that borrows this pod's workers.

use super::note::Note;
use super::queue::Queue;
use crate::inventory::{Kind, made};
use crate::listen_infos::OWN_WEBRTC_SERVER;
use crate::members::{Member, Members, VirtualId, Way};
use bytes::Bytes;
use mafalda_channel::fbs::notification::Event;
use mafalda_channel::fbs::request::{Body, BodyRef, Method, Request as OwnedRequest};
use mafalda_channel::fbs::response::Response as OwnedResponse;
use mafalda_channel::fbs::worker::{CloseRouterRequest, CloseWebRtcServerRequest};
use mafalda_channel::{
    Message, Request, ViewError, check, encode_request, encode_response, messages, view,
};
use mafalda_link::Exit;
use mafalda_virtual_worker::{Aliases, MemberId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// This pod's own virtual workers, those to come too, are called by numbers as near to the borrower's as
/// this: each process counts on from a random one of 2^48. Nobody else is called so.
const OWN_NUMBERS: u64 = 1 << 20;
/// Ids of mediasoup are UUIDs of 36 bytes; so long may they be.
const MAX_ID_BYTES: usize = 256;
/// So many ids may a borrower have, which is far more than workers can carry.
const MAX_IDS: usize = 1 << 20;

/// The lender's end of one connection: a user of the group's members, as a virtual worker is.
pub struct Borrower {
    id: VirtualId,
    group: Arc<Members>,
    queue: Queue,
    state: Mutex<State>,
    /// Its connection has a socket.
    attached: AtomicBool,
    exit: watch::Sender<Option<Exit>>,
}

#[derive(Default)]
struct State {
    members: BTreeMap<MemberId, Arc<Member>>,
    /// What it has on each that takes all the rest along when it is closed.
    roots: BTreeMap<MemberId, BTreeSet<Root>>,
    /// What goes by another name here.
    aliases: Aliases,
    /// Whose messages come.
    current: Option<MemberId>,
    closed: bool,
}

/// What a worker makes that nothing else of it contains.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Root {
    Router(String),
    WebRtcServer(String),
}

impl Borrower {
    /// Of that group; [`Members::attach`] then lends it members.
    pub fn new(id: VirtualId, group: Arc<Members>) -> Self {
        Self {
            id,
            group,
            queue: Queue::default(),
            state: Mutex::default(),
            attached: AtomicBool::new(true),
            exit: watch::Sender::new(None),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What no other user of the pod's members is called.
    pub fn id(&self) -> VirtualId {
        self.id
    }

    /// What is for it.
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// How it ended, once it has.
    pub fn exit(&self) -> watch::Receiver<Option<Exit>> {
        self.exit.subscribe()
    }

    /// Its connection has a socket now, or waits for one.
    pub fn set_attached(&self, attached: bool) {
        self.attached.store(attached, Ordering::Relaxed);
    }

    /// A member is there for it.
    pub fn on_member_added(&self, member: &Arc<Member>) {
        let mut state = self.state();
        if state.closed || state.members.contains_key(&member.id) {
            return;
        }
        state.members.insert(member.id, member.clone());
        self.queue.note(Note::Added {
            member: member.id.0,
            running: member.is_running(),
        });
    }

    /// Whether it has something on a member.
    pub fn is_in_use(&self) -> bool {
        self.state().roots.values().any(|roots| !roots.is_empty())
    }

    /// The members that it has something on.
    pub fn in_use(&self) -> Vec<MemberId> {
        let state = self.state();
        let roots = state.roots.iter();
        let used = roots.filter(|(_, roots)| !roots.is_empty());
        used.map(|(member, _)| *member).collect()
    }

    /// Whether it was lent the member.
    pub fn has(&self, member: MemberId) -> bool {
        self.state().members.contains_key(&member)
    }

    /// A member's process has ended.
    pub fn on_member_gone(&self, member: MemberId, exit: Exit) {
        let mut state = self.state();
        state.roots.remove(&member);
        if state.members.remove(&member).is_some() {
            self.queue.note(Note::Gone {
                member: member.0,
                exit,
            });
        }
    }

    /// Takes one message of a member.
    pub fn on_member(&self, member: MemberId, message: Bytes) {
        let message = self.state().aliases.inward(message);
        self.queue.send(member.0, message);
        if self.queue.is_stuck() {
            tracing::warn!(borrower = self.id.0, "it reads nothing: it is dropped");
            self.end(Exit::Code(1));
        }
    }

    /// A second has passed, in which members took these shares of a core.
    pub fn on_second(&self, loads: &[(MemberId, f32)]) {
        let loads = loads.iter().map(|(member, share)| (member.0, *share));
        self.queue.note(Note::Load(loads.collect()));
    }

    /// Takes a note.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn on_note(&self, note: &[u8]) -> Result<(), String> {
        let note = serde_json::from_slice(note).map_err(|error| error.to_string())?;
        match note {
            Note::Member(member) => self.state().current = Some(MemberId(member)),
            Note::Attach(virtual_worker) => {
                let is_ours = virtual_worker.abs_diff(self.id.0) < OWN_NUMBERS;
                let virtual_worker = VirtualId(virtual_worker);
                let may = !is_ours
                    && (self.group.name(self.id, virtual_worker) || self.succeeds(virtual_worker));
                if !may {
                    return Err(format!(
                        "somebody else is virtual worker {}",
                        virtual_worker.0
                    ));
                }
            }
            Note::Detach(virtual_worker) => self.group.unname(self.id, VirtualId(virtual_worker)),
            Note::Owns(id) => self.own(&id)?,
            Note::Disowns(id) => {
                let alias = self.state().aliases.remove(&id);
                self.group.disown(self.id, alias.as_deref().unwrap_or(&id));
            }
            Note::Lends { .. }
            | Note::Added { .. }
            | Note::Gone { .. }
            | Note::Load(_)
            | Note::Cordoned(_) => return Err("it says what a lender says".to_owned()),
        }
        Ok(())
    }

    /// Takes a virtual worker over from a borrower without a connection: one that waited for less
    /// long than this pod does gave up, and is back by a new one. What it had here it has no more.
    fn succeeds(&self, virtual_worker: VirtualId) -> bool {
        let before = self.group.borrower_of(virtual_worker);
        match before.filter(|before| !before.attached.load(Ordering::Relaxed)) {
            Some(before) => {
                tracing::info!(borrower = before.id.0, by = self.id.0, "is back");
                before.close();
                self.group.name(self.id, virtual_worker)
            }
            None => false,
        }
    }

    /// An id that another user has goes by another name.
    fn own(&self, id: &str) -> Result<(), String> {
        if id.len() > MAX_ID_BYTES {
            let bytes = id.len();
            return Err(format!("an id has {bytes} bytes: {MAX_ID_BYTES} at most"));
        }
        if self.group.owns(self.id) >= MAX_IDS {
            return Err(format!("it has {MAX_IDS} ids, and no more are taken"));
        }
        if self.group.own(self.id, id) {
            return Ok(());
        }
        let alias = self.state().aliases.add(id, &self.id.name());
        match alias {
            Some(alias) if self.group.own(self.id, &alias) => Ok(()),
            _ => Err(format!(
                "somebody else has the id {id:?}, and it is too short for an alias"
            )),
        }
    }

    /// Takes whole messages for the member that was named last. Returns the ways that must be waited
    /// for before the next ones.
    pub fn on_messages(&self, batch: &Bytes) -> Result<Vec<Way>, ViewError> {
        let mut full = None;
        let mut state = self.state();
        // One that has died meanwhile answers nothing: the borrower is told.
        let member = state.current.and_then(|id| state.members.get(&id).cloned());
        let Some(member) = member.filter(|_| !state.closed) else {
            return Ok(Vec::new());
        };
        for message in messages(batch) {
            let message = message?;
            check(&message)?;
            let message = state.aliases.outward(message);
            if let Err(refusal) = self.may(&mut state, member.id, &message) {
                self.queue.send(member.id.0, refusal);
                continue;
            }
            let sent = member.send(self.id, &message)?;
            if let Some(answer) = sent.answer {
                self.queue.send(member.id.0, state.aliases.inward(answer));
            }
            if sent.is_full {
                full = Some(member.way().clone());
            }
        }
        Ok(full.into_iter().collect())
    }

    /// Members trust what they are told, and others have things there: lets nothing through that is
    /// about those. The refusal is the answer; empty where none is waited for.
    fn may(&self, state: &mut State, member: MemberId, message: &Bytes) -> Result<(), Bytes> {
        let refused = match view(message) {
            Ok(Message::Request(request)) => {
                let may = self.may_ask(state, member, &request);
                if may.unwrap_or(false) {
                    return Ok(());
                }
                Some(request.id)
            }
            Ok(Message::Notification(notification)) => {
                if is_an_applications(notification.event)
                    && self.group.is_owned(self.id, notification.handler_id)
                {
                    return Ok(());
                }
                None
            }
            _ => None,
        };
        Err(refused.map(refusal).unwrap_or_default())
    }

    fn may_ask(
        &self,
        state: &mut State,
        member: MemberId,
        request: &Request<'_>,
    ) -> Result<bool, ViewError> {
        let shared = self.group.are_shared();
        if !self.may_make(state, member, request)? {
            return Ok(false);
        }
        let roots = state.roots.entry(member).or_default();
        let root = |id: &str, root: fn(String) -> Root| {
            let is_owned = self.group.is_owned(self.id, id);
            is_owned.then(|| root(id.to_owned()))
        };
        let (makes, closes) = match request.body()? {
            Some(BodyRef::WorkerCreateRouterRequest(body)) => {
                (Some(root(body.router_id()?, Root::Router)), None)
            }
            Some(BodyRef::WorkerCreateWebRtcServerRequest(body)) => (
                Some(root(body.web_rtc_server_id()?, Root::WebRtcServer)),
                None,
            ),
            Some(BodyRef::WorkerCloseRouterRequest(body)) => {
                (None, Some(root(body.router_id()?, Root::Router)))
            }
            Some(BodyRef::WorkerCloseWebRtcServerRequest(body)) => (
                None,
                Some(root(body.web_rtc_server_id()?, Root::WebRtcServer)),
            ),
            _ => (None, None),
        };
        if let Some(made) = makes {
            let may = made.is_some();
            roots.extend(made);
            return Ok(may);
        }
        if let Some(closed) = closes {
            return Ok(closed.is_some_and(|root| roots.remove(&root)));
        }
        Ok(match request.method {
            Method::WorkerDump | Method::WorkerGetResourceUsage => true,
            Method::WorkerUpdateSettings => !shared,
            // Everybody's transports are on the pod's own.
            Method::WebrtcserverDump => {
                request.handler_id == OWN_WEBRTC_SERVER
                    || self.group.is_owned(self.id, request.handler_id)
            }
            _ => self.group.is_owned(self.id, request.handler_id),
        })
    }

    /// Whether what a request makes, if anything, may be made: by an id that is the borrower's, and that
    /// nothing on the member has. mediasoup 3.27.1 keeps a freed transport or observer whose id it
    /// refuses, and dies of it, with all that others have there.
    fn may_make(
        &self,
        state: &State,
        member: MemberId,
        request: &Request<'_>,
    ) -> Result<bool, ViewError> {
        let Some(body) = request.body()? else {
            return Ok(true);
        };
        let Some((kind, id)) = made(&body)? else {
            return Ok(true);
        };
        if !self.group.is_owned(self.id, id) {
            return Ok(false);
        }
        let must_be_new = matches!(kind, Kind::Transport | Kind::RtpObserver);
        let Some(member) = state.members.get(&member).filter(|_| must_be_new) else {
            return Ok(true);
        };
        let inventory = member.inventory();
        let inventory = inventory.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(!inventory.has(id))
    }

    /// The borrower is gone, or is told to go: closes all that it has on members.
    pub fn close(&self) {
        {
            let mut state = self.state();
            if std::mem::replace(&mut state.closed, true) {
                return;
            }
            let members = std::mem::take(&mut state.members);
            for (id, roots) in std::mem::take(&mut state.roots) {
                for root in roots {
                    if let Some(member) = members.get(&id)
                        && let Err(error) = member.send(self.id, &root.close())
                    {
                        tracing::error!(%error, "something was not closed");
                    }
                }
            }
        }
        self.group.detach(self.id);
        self.end(Exit::Code(0));
    }

    fn end(&self, exit: Exit) {
        self.exit.send_if_modified(|ended| {
            let first = ended.is_none();
            ended.get_or_insert(exit);
            first
        });
    }
}

/// Whether an application sends such an event to its worker. The others a worker sends, but for the one
/// that ends it with all that is on it.
fn is_an_applications(event: Event) -> bool {
    matches!(
        event,
        Event::TransportSendRtcp | Event::ProducerSend | Event::DataproducerSend
    )
}

impl Root {
    /// The request that closes it. Nobody waits for the answer.
    fn close(self) -> Bytes {
        let (method, body) = match self {
            Self::Router(router_id) => (
                Method::WorkerCloseRouter,
                Body::WorkerCloseRouterRequest(Box::new(CloseRouterRequest { router_id })),
            ),
            Self::WebRtcServer(web_rtc_server_id) => (
                Method::WorkerWebrtcserverClose,
                Body::WorkerCloseWebRtcServerRequest(Box::new(CloseWebRtcServerRequest {
                    web_rtc_server_id,
                })),
            ),
        };
        encode_request(&OwnedRequest {
            id: 0,
            method,
            handler_id: String::new(),
            body: Some(body),
        })
    }
}

fn refusal(id: u32) -> Bytes {
    encode_response(&OwnedResponse {
        id,
        accepted: false,
        body: None,
        error: Some("Error".to_owned()),
        reason: Some("this is not the borrower's".to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::members::User;

    /// Protects what is placed on a lender that was cut off for longer than its borrower waits.
    #[test]
    fn who_is_back_after_a_loss_succeeds_itself_and_nobody_else() {
        let group = Arc::new(Members::new(true));
        let borrower = |id| {
            let borrower = Arc::new(Borrower::new(VirtualId(id), group.clone()));
            group.attach(User::Borrower(borrower.clone()));
            borrower
        };
        let attach = |borrower: &Borrower| {
            let note = serde_json::to_vec(&Note::Attach(7 << 32)).unwrap();
            borrower.on_note(&note).is_ok()
        };
        let (first, second) = (borrower(1), borrower(2));
        assert!(attach(&first));
        assert!(!attach(&second), "another has it");
        first.set_attached(false);
        first.set_attached(true);
        assert!(!attach(&second), "and still has a connection");
        first.set_attached(false);
        assert!(attach(&second));
        assert!(first.exit().borrow().is_some(), "it is over");
        assert!(!attach(&borrower(3)));
    }
}
