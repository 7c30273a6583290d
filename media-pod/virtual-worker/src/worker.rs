//! The machine's surface: messages and time in, actions out.

use crate::config::Config;
use crate::ledger::Ledger;
use crate::messages::{Ask, event, refusal};
use crate::placement::{Candidate, place};
use crate::state::{INTERNAL, Id, Kind, Member, MemberId, PairKey, Purpose, Readiness, State};
use crate::topology::Topology;
use bytes::Bytes;
use mafalda_channel::fbs::notification::{BodyRef, Event};
use mafalda_channel::fbs::request;
use mafalda_channel::fbs::response::Response as OwnedResponse;
use mafalda_channel::fbs::sctp_association::SctpState;
use mafalda_channel::{
    Message, Notification, Response, ViewError, encode_notification, encode_request,
    encode_response, view,
};
use std::time::Duration;

mod death;
mod pipes;
mod requests;
mod things;

/// How long an answer waits for a pipe at most.
const HOLD: Duration = Duration::from_secs(2);

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
    /// For all that must differ.
    serial: u64,
    turn: usize,
    /// The application's settings, for members that come later.
    settings: Option<request::Request>,
}

impl VirtualWorker {
    /// Without members: see [`VirtualWorker::on_member_added`].
    pub fn new(config: Config, ledger: Ledger) -> Self {
        Self {
            config,
            ledger,
            state: State::default(),
            actions: Vec::new(),
            now: Duration::ZERO,
            announced: false,
            serial: 0,
            turn: 0,
            settings: None,
        }
    }

    /// A worker was lent, and nothing of ours is on it. `running`: it said already that it runs.
    pub fn on_member_added(&mut self, member: MemberId, running: bool) -> Vec<Action> {
        self.state.members.insert(member, Member::default());
        if running {
            self.announce();
        }
        if let Some(settings) = &self.settings {
            let ask = Ask {
                method: settings.method,
                handler: String::new(),
                body: settings.body.clone(),
            };
            self.ask(member, ask, Purpose::Internal);
        }
        self.take_actions()
    }

    /// A member died or was taken away.
    pub fn on_member_gone(&mut self, member: MemberId) -> Vec<Action> {
        self.bury(member);
        self.take_actions()
    }

    /// Time since any moment, never less than before. Once a second is enough.
    pub fn on_tick(&mut self, now: Duration) -> Vec<Action> {
        self.now = now;
        let late: Vec<PairKey> = self
            .state
            .pairs
            .iter()
            .filter(|(_, pair)| !pair.waiting.is_empty() && pair.since + HOLD <= now)
            .map(|(key, _)| key.clone())
            .collect();
        late.iter().for_each(|key| self.release(key));
        self.take_actions()
    }

    /// One message of the application.
    pub fn on_application(&mut self, message: Bytes) -> Vec<Action> {
        match view(&message) {
            Ok(Message::Request(request)) => {
                if let Err(error) = self.on_request(&request, &message) {
                    self.refuse(
                        request.id,
                        "TypeError",
                        &format!("malformed request: {error}"),
                    );
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
            Ok(Message::Log(_)) => self.actions.push(Action::ToApplication(message)),
            Ok(Message::Request(_)) | Err(_) => {}
        }
        self.take_actions()
    }

    /// The application is gone: closes all that is ours.
    pub fn on_application_gone(&mut self) -> Vec<Action> {
        self.take_actions()
    }

    /// Asks for what crossed the pipes; see [`VirtualWorker::topology`].
    pub fn measure_pipes(&mut self) -> Vec<Action> {
        self.take_actions()
    }

    /// Whether answers about pipes are still to come.
    pub fn is_measuring(&self) -> bool {
        false
    }

    /// Where everything is.
    pub fn topology(&self) -> Topology {
        Topology::default()
    }

    fn announce(&mut self) {
        if !std::mem::replace(&mut self.announced, true) {
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

    /// An id for a thing of ours.
    fn internal_id(&mut self) -> Id {
        format!("{INTERNAL}{}", self.next_serial())
    }

    // To the application.

    fn answer(&mut self, response: &OwnedResponse) {
        self.actions
            .push(Action::ToApplication(encode_response(response)));
    }

    fn refuse(&mut self, id: u32, class: &str, reason: &str) {
        self.answer(&refusal(id, class, reason));
    }

    /// Behind what is held of the same transport.
    fn tell(&mut self, lane: Option<&str>, message: Bytes) {
        if let Some(transport) = lane.and_then(|lane| self.transport_mut(lane))
            && !transport.waits_for.is_empty()
        {
            transport.held.push(message);
        } else {
            self.actions.push(Action::ToApplication(message));
        }
    }

    // To members.

    /// Asks in our own name.
    fn ask(&mut self, member: MemberId, ask: Ask, purpose: Purpose) {
        let Some(to) = self.state.members.get_mut(&member) else {
            return;
        };
        let id = to.free_id();
        to.pending.insert(id, purpose);
        let message = encode_request(&ask.with_id(id));
        self.actions.push(Action::ToMember(member, message));
    }

    /// Passes a request on, as it is unless its id is taken.
    fn pass(&mut self, member: MemberId, id: u32, message: &Bytes, purpose: Purpose) {
        let Some(to) = self.state.members.get_mut(&member) else {
            return;
        };
        let mut message = message.clone();
        let mut member_id = id;
        if to.pending.contains_key(&id)
            && let Ok(mut request) = mafalda_channel::request(&message)
        {
            member_id = to.free_id();
            request.id = member_id;
            message = encode_request(&request);
        }
        to.pending.insert(member_id, purpose);
        self.actions.push(Action::ToMember(member, message));
    }

    fn first_member(&self) -> Option<MemberId> {
        self.state.members.keys().next().copied()
    }

    fn place(&mut self, router: &str) -> Option<MemberId> {
        let real = self.state.routers.get(router).map(|router| &router.real);
        let candidates: Vec<Candidate> = self
            .state
            .members
            .keys()
            .map(|&member| {
                let heat = self.ledger.heat(member, self.now);
                Candidate {
                    member,
                    heat: heat.heat,
                    of_router: real
                        .and_then(|real| real.get(&member))
                        .copied()
                        .unwrap_or(0),
                    carries: heat.carries,
                }
            })
            .collect();
        let turn = self.turn;
        self.turn = self.turn.wrapping_add(1);
        let (placement, watermark) = (self.config.placement, self.config.watermark);
        let chosen = place(placement, watermark, &candidates, turn)?;
        self.ledger.placed(chosen, 0.002, self.now);
        Some(chosen)
    }

    // From the application.

    fn on_application_event(&mut self, notification: &Notification<'_>, message: &Bytes) {
        if notification.event == Event::WorkerClose {
            let members = self.state.members.keys();
            let close = |&member| Action::ToMember(member, message.clone());
            self.actions.extend(members.map(close));
            return;
        }
        let Some(thing) = self.state.things.get(notification.handler_id) else {
            return;
        };
        self.actions
            .push(Action::ToMember(thing.member, message.clone()));
        if notification.event == Event::DataproducerSend
            && let Kind::Producer(producer) = &thing.kind
        {
            let repeats = producer.repeats();
            self.actions
                .extend(repeats.map(|member| Action::ToMember(member, message.clone())));
        }
    }

    // From members.

    fn on_response(&mut self, member: MemberId, response: &Response<'_>, message: &Bytes) {
        let purpose = self
            .state
            .members
            .get_mut(&member)
            .and_then(|member| member.pending.remove(&response.id));
        match purpose {
            None | Some(Purpose::Internal) => {}
            Some(Purpose::Application {
                id,
                lane,
                made,
                ends,
                hold,
            }) => {
                let mut message = message.clone();
                if id != response.id
                    && let Ok(mut owned) = mafalda_channel::response(&message)
                {
                    owned.id = id;
                    message = encode_response(&owned);
                }
                if response.accepted
                    && let Some(lane) = &lane
                    && let Some((key, readiness)) = hold
                {
                    self.hold(lane, key, readiness);
                }
                self.tell(lane.as_deref(), message);
                let gone = if response.accepted {
                    ends
                } else {
                    made.or(ends)
                };
                if let Some((thing, serial)) = gone
                    && self
                        .state
                        .things
                        .get(&thing)
                        .is_some_and(|t| t.serial == serial)
                {
                    self.remove(&thing);
                }
            }
            Some(Purpose::Gather(gather)) => {
                if let Ok(response) = mafalda_channel::response(message) {
                    self.gathered(gather, member, Some(response));
                }
            }
            Some(Purpose::PipeCreated(transport)) => self.pipe_created(&transport, response),
            Some(Purpose::PipeConnected(transport)) => self.pipe_connected(&transport),
        }
    }

    fn gathered(&mut self, gather: u64, member: MemberId, response: Option<OwnedResponse>) {
        let Some(entry) = self.state.gathers.get_mut(&gather) else {
            return;
        };
        entry.missing.remove(&member);
        entry
            .answers
            .extend(response.map(|response| (member, response)));
        if entry.missing.is_empty()
            && let Some(entry) = self.state.gathers.remove(&gather)
        {
            let routers: Vec<Id> = self.state.routers.keys().cloned().collect();
            let response = entry.merged(&routers, self.config.process_id);
            self.answer(&response);
        }
    }

    fn on_member_event(
        &mut self,
        member: MemberId,
        notification: &Notification<'_>,
        message: &Bytes,
    ) {
        let handler = notification.handler_id;
        if notification.event == Event::WorkerRunning {
            self.announce();
            return;
        }
        if handler.starts_with(INTERNAL) {
            if let Ok(Some(BodyRef::TransportSctpStateChangeNotification(body))) =
                notification.body()
                && let Ok(state) = body.sctp_state()
            {
                self.pipe_sctp_state(handler, state);
            }
            return;
        }
        let thing = self.state.things.get(handler);
        let of_producer = matches!(
            notification.event,
            Event::ProducerScore | Event::ProducerTrace | Event::ProducerVideoOrientationChange
        );
        if of_producer && thing.is_none_or(|thing| thing.member != member) {
            // A copy's.
            return;
        }
        let lane = thing
            .and_then(|thing| thing.lane(handler))
            .map(str::to_owned);
        self.tell(lane.as_deref(), message.clone());
        if matches!(
            notification.event,
            Event::ConsumerProducerClose | Event::DataconsumerDataproducerClose
        ) {
            self.remove(handler);
        }
    }

    // Answers that wait.

    fn hold(&mut self, lane: &str, key: PairKey, readiness: Readiness) {
        let Some(pair) = self.state.pairs.get_mut(&key) else {
            return;
        };
        let ready = match readiness {
            Readiness::Rtp => pair.rtp,
            Readiness::Sctp => pair.sctp,
        };
        if ready {
            return;
        }
        pair.waiting.push(lane.to_owned());
        if let Some(transport) = self.transport_mut(lane) {
            transport.waits_for.insert(key);
        }
    }

    /// Lets go what waits for a pipe, ready or not.
    fn release(&mut self, key: &PairKey) {
        let Some(pair) = self.state.pairs.get_mut(key) else {
            return;
        };
        for lane in std::mem::take(&mut pair.waiting) {
            let Some(transport) = self.transport_mut(&lane) else {
                continue;
            };
            transport.waits_for.remove(key);
            if transport.waits_for.is_empty() {
                let held = std::mem::take(&mut transport.held);
                self.actions
                    .extend(held.into_iter().map(Action::ToApplication));
            }
        }
    }

    fn pipe_sctp_state(&mut self, transport: &str, state: SctpState) {
        if !matches!(state, SctpState::New | SctpState::Connecting)
            && let Some(key) = self.state.pair_of.get(transport).cloned()
            && let Some(pair) = self.state.pairs.get_mut(&key)
            && pair.source_transport == transport
        {
            pair.sctp = true;
            self.release(&key);
        }
    }

    fn pipe_created(&mut self, transport: &str, response: &Response<'_>) {
        use mafalda_channel::fbs::response::BodyRef;

        let Some(key) = self.state.pair_of.get(transport).cloned() else {
            return;
        };
        let address = || -> Result<Option<(String, u16)>, ViewError> {
            let Some(BodyRef::PipeTransportDumpResponse(dump)) = response.body()? else {
                return Ok(None);
            };
            let tuple = dump.tuple()?;
            Ok(Some((
                tuple.local_address()?.to_owned(),
                tuple.local_port()?,
            )))
        };
        let Ok(Some(address)) = address() else {
            // Refused: the requests that follow on it are refused as well.
            self.release(&key);
            return;
        };
        let Some(pair) = self.state.pairs.get_mut(&key) else {
            return;
        };
        if pair.source_transport == transport {
            pair.source_address = Some(address);
        } else {
            pair.target_address = Some(address);
        }
        // The target first: what the source sends to one that is not connected is lost.
        if pair.target_address.is_some()
            && let Some((ip, port)) = pair.source_address.clone()
        {
            let target = pair.target_transport.clone();
            let ask = Ask::connect_pipe(&target, ip, port);
            self.ask(key.target, ask, Purpose::PipeConnected(target));
        }
    }

    fn pipe_connected(&mut self, transport: &str) {
        let Some(key) = self.state.pair_of.get(transport).cloned() else {
            return;
        };
        let Some(pair) = self.state.pairs.get_mut(&key) else {
            return;
        };
        if pair.target_transport == transport {
            if let Some((ip, port)) = pair.target_address.clone() {
                let source = pair.source_transport.clone();
                let ask = Ask::connect_pipe(&source, ip, port);
                self.ask(key.source, ask, Purpose::PipeConnected(source));
            }
            return;
        }
        pair.rtp = true;
        // Data on the same pipe needs more.
        if !self.waits_for_sctp(&key) {
            self.release(&key);
        }
    }

    fn waits_for_sctp(&self, key: &PairKey) -> bool {
        let pair = self.state.pairs.get(key);
        pair.is_some_and(|pair| !pair.sctp && !pair.streams.is_empty())
    }
}
