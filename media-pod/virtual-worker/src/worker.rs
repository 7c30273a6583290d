//! The machine's surface: messages and time in, actions out.

use crate::config::Config;
use crate::ledger::Ledger;
use crate::locality::Locality;
use crate::messages::event;
use crate::refusal::Refusal;
use crate::state::{Member, MemberId, State};
use crate::topology::Topology;
use bytes::Bytes;
use mafalda_channel::fbs::notification::Event;
use mafalda_channel::fbs::request;
use mafalda_channel::{Message, encode_notification, view};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

mod answers;
mod asking;
mod consumers;
mod copies;
mod dispatch;
mod end;
mod events;
mod holding;
mod measuring;
mod membership;
mod observers;
mod ownership;
mod pairs;
mod placing;
mod producers;
mod routers;
mod servers;
mod things;
mod transports;
mod tree;
mod whole;

/// What is to be done, in this order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Action {
    /// A whole message, its size before it.
    ToApplication(Bytes),
    /// A whole message, its size before it.
    ToMember(MemberId, Bytes),
    /// Notifications of this handler id are ours from now on. Precedes what makes the thing.
    Owns(String),
    /// They are ours no more.
    Disowns(String),
    /// No member is left: the application's worker is dead.
    Died,
}

/// One worker for the application, many underneath.
#[derive(Debug)]
pub struct VirtualWorker {
    config: Config,
    ledger: Ledger,
    state: State,
    actions: Vec<Action>,
    now: Duration,
    /// The application was told that its worker runs.
    announced: bool,
    /// The application is gone: it is told nothing and asks nothing any more.
    left: bool,
    /// For all that must differ.
    serial: u64,
    /// How often something was placed.
    turn: usize,
    /// How many answers about pipes are to come.
    measuring: usize,
    /// Bytes that were seen to cross from pod to pod, and of which nobody was told yet.
    crossed: BTreeMap<(Arc<str>, Arc<str>), u64>,
    /// The application's settings, for members that come later.
    settings: Option<request::Request>,
}

impl VirtualWorker {
    /// Without members, and without the time: call [`VirtualWorker::on_tick`] first, then
    /// [`VirtualWorker::on_member_added`]. Clones of one ledger are for all virtual workers that
    /// share members.
    pub fn new(config: Config, ledger: Ledger) -> Self {
        Self {
            config,
            ledger,
            state: State::default(),
            actions: Vec::new(),
            now: Duration::ZERO,
            announced: false,
            left: false,
            serial: 0,
            turn: 0,
            measuring: 0,
            crossed: BTreeMap::new(),
            settings: None,
        }
    }

    /// A worker was lent, and nothing of ours is on it. `is_running`: it said already that it runs.
    pub fn on_member_added(
        &mut self,
        member: MemberId,
        is_running: bool,
        locality: Locality,
    ) -> Vec<Action> {
        let lent = Member {
            locality,
            ..Member::default()
        };
        self.state.members.insert(member, lent);
        if is_running {
            self.announce();
        }
        self.repeat_settings(member);
        self.take_actions()
    }

    /// Whether a member is to be given back, or is wanted again: nothing new is placed on a cordoned
    /// one while another can take it. What runs there goes on, and is fed by pipes as before.
    pub fn on_member_cordoned(&mut self, member: MemberId, cordoned: bool) {
        if let Some(member) = self.state.members.get_mut(&member) {
            member.cordoned = cordoned;
        }
    }

    /// A member died or was taken away. Of one that [carries](Self::carries) nothing the application
    /// does not notice it.
    pub fn on_member_gone(&mut self, member: MemberId) -> Vec<Action> {
        self.bury(member);
        self.take_actions()
    }

    /// Time since any moment, never less than before. Once a second is enough.
    pub fn on_tick(&mut self, now: Duration) -> Vec<Action> {
        self.now = now;
        self.release_late();
        self.close_idle_pairs();
        self.take_actions()
    }

    /// One message of the application.
    pub fn on_application(&mut self, message: Bytes) -> Vec<Action> {
        if self.left {
            return Vec::new();
        }
        match view(&message) {
            Ok(Message::Request(request)) => {
                if let Err(error) = self.on_request(&request, &message) {
                    let reason = format!("malformed request: {error}");
                    self.refuse(request.id, Refusal::type_error(reason));
                }
            }
            Ok(Message::Notification(notification)) => {
                self.on_application_event(&notification, &message);
            }
            _ => {}
        }
        self.take_actions()
    }

    /// One message of a member.
    pub fn on_member(&mut self, member: MemberId, message: Bytes) -> Vec<Action> {
        match view(&message) {
            Ok(Message::Response(response)) => self.on_response(member, &response, &message),
            Ok(Message::Notification(notification)) => {
                self.on_member_event(member, &notification, &message);
            }
            // What a worker says of itself may be about others.
            Ok(Message::Log(_)) if self.config.shared || self.left => {}
            Ok(Message::Log(_)) => self.actions.push(Action::ToApplication(message)),
            Ok(Message::Request(_)) | Err(_) => {}
        }
        self.take_actions()
    }

    /// The application is gone: closes all that is ours. Nothing is said to it any more.
    pub fn on_application_gone(&mut self) -> Vec<Action> {
        self.leave_members();
        self.take_actions()
    }

    /// How much of ours a member has: transports, observers, ends of pipes, servers, and requests that
    /// it has not answered. With 0 it can be given back and nobody notices.
    pub fn carries(&self, member: MemberId) -> usize {
        self.carried_by(member)
    }

    /// Whether it would be well served with more members: it has something placed, and no member that
    /// is not cordoned is below the watermark.
    pub fn wants_more(&self) -> bool {
        self.is_in_use() && self.is_hot_everywhere()
    }

    /// Asks for what crossed the pipes; see [`VirtualWorker::topology`]. Does nothing while the
    /// answers of an earlier call are to come.
    pub fn measure_pipes(&mut self) -> Vec<Action> {
        if !self.is_measuring() {
            self.ask_for_stats();
        }
        self.take_actions()
    }

    /// Whether answers about pipes are still to come.
    pub fn is_measuring(&self) -> bool {
        self.measuring > 0
    }

    /// Whether there are pipes from pod to pod.
    pub fn spans_pods(&self) -> bool {
        let mut pairs = self.state.pairs.keys();
        pairs.any(|key| self.way_between_pods(key).is_some())
    }

    /// How many bytes crossed, by source and target pod, between the measurements before the last call
    /// and the last ones. What a pipe carried after its last measurement is not among them.
    pub fn take_crossed(&mut self) -> BTreeMap<(Arc<str>, Arc<str>), u64> {
        std::mem::take(&mut self.crossed)
    }

    /// Where everything is, with what crossed the pipes when they were last measured.
    pub fn topology(&self) -> Topology {
        self.survey()
    }

    fn announce(&mut self) {
        if !self.left && !std::mem::replace(&mut self.announced, true) {
            let running = event(&self.config.process_id.to_string(), Event::WorkerRunning);
            self.actions
                .push(Action::ToApplication(encode_notification(&running)));
        }
    }

    fn take_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }
}

/// What it carries on shared members is no more: another may use the ids.
impl Drop for VirtualWorker {
    fn drop(&mut self) {
        self.leave_members();
    }
}
