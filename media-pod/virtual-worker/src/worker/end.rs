//! Ends: of a member, of which the application hears what that carried and nothing else; and of the
//! application, after which nothing of it is left on any member.

use super::{Action, VirtualWorker};
use crate::messages::{Ask, event};
use crate::refusal::Refusal;
use crate::state::{Fate, Id, Kind, MemberId, PairKey, Purpose, State, Thing, Told};
use crate::topology::TransportKind;
use mafalda_channel::encode_notification;
use mafalda_channel::fbs::notification::{Body, Event, Notification};
use mafalda_channel::fbs::web_rtc_transport::{DtlsState, DtlsStateChangeNotification};
use std::collections::HashSet;

impl VirtualWorker {
    /// A member is no more.
    pub(super) fn bury(&mut self, member: MemberId) {
        let Some(dead) = self.state.members.remove(&member) else {
            return;
        };
        for router in self.state.routers.values_mut() {
            if let Some(count) = router.real.remove(&member) {
                self.ledger.left(member, count);
            }
        }
        let observations = self.observations();
        let mut unmade = HashSet::new();
        for purpose in dead.pending.into_values() {
            if let Purpose::Application {
                fate: Fate::Makes(id, _),
                ..
            } = &purpose
            {
                unmade.insert(id.clone());
            }
            self.will_not_answer(member, purpose);
        }
        let mut ends = Vec::new();
        // Consumers first: what they alone used elsewhere ends.
        let (mut consumers, mut others): (Vec<Id>, Vec<Id>) = (Vec::new(), Vec::new());
        let (mut branches, mut observers) = (Vec::new(), Vec::new());
        for (id, thing) in &self.state.things {
            if thing.member == member {
                ends.extend(end(thing));
                match thing.kind {
                    Kind::Consumer(_) => consumers.push(id.clone()),
                    Kind::Observer(_) if !unmade.contains(id) => observers.push(id.clone()),
                    _ => others.push(id.clone()),
                }
            } else if let Kind::Producer(producer) = &thing.kind
                && producer.copies.contains_key(&member)
            {
                branches.push(id.clone());
            }
        }
        for (lane, notification) in ends {
            self.tell(Some(&lane), encode_notification(&notification), None);
        }
        branches.iter().for_each(|id| self.end_branch(id, member));
        consumers.iter().for_each(|id| self.remove(id));
        others.iter().for_each(|id| self.remove(id));
        let servers = self.state.servers.iter();
        let servers = servers.filter(|(_, server)| server.member == Some(member));
        let servers: Vec<Id> = servers.map(|(id, _)| id.clone()).collect();
        servers.iter().for_each(|id| self.remove_server(id));
        let pairs = self.state.pairs.keys();
        let pairs = pairs.filter(|key| key.source == member || key.target == member);
        let pairs: Vec<PairKey> = pairs.cloned().collect();
        pairs.iter().for_each(|key| self.close_pair(key));
        observers.iter().for_each(|id| self.move_observer(id));
        self.observe_again(observations);
        if self.state.members.is_empty() {
            self.actions.push(Action::Died);
        }
    }

    fn will_not_answer(&mut self, member: MemberId, purpose: Purpose) {
        match purpose {
            Purpose::Application { id, .. } => self.refuse(id, Refusal::died()),
            Purpose::Gather(gather) => self.gathered(gather, member, None),
            Purpose::PipeStats(_) => self.measuring -= 1,
            Purpose::PipeCreated(_) | Purpose::PipeConnected(_) | Purpose::Internal => {}
        }
    }

    /// The application is gone: nothing of it stays on members.
    pub(super) fn leave_members(&mut self) {
        if std::mem::replace(&mut self.left, true) {
            return;
        }
        self.measuring = 0;
        for member in self.state.members.values_mut() {
            for purpose in member.pending.values_mut() {
                *purpose = Purpose::Internal;
            }
        }
        let members = std::mem::take(&mut self.state.members);
        let state = std::mem::replace(
            &mut self.state,
            State {
                members,
                ..State::default()
            },
        );
        for (id, router) in state.routers {
            for (member, count) in router.real {
                self.ledger.left(member, count);
                self.ask(member, Ask::close_router(&id), Purpose::Internal);
            }
            self.disown(&id);
        }
        for (id, server) in state.servers {
            if let Some(member) = server.member {
                self.ask(member, Ask::close_server(&id), Purpose::Internal);
            }
            self.disown(&id);
        }
        state.things.keys().for_each(|id| self.disown(id));
    }
}

/// mediasoup's event for the end of such a thing, if it has one.
fn end(thing: &Thing) -> Option<(Id, Notification)> {
    let lane = thing.lane()?.clone();
    let notification = match &thing.kind {
        // Whoever never heard of it hears a refusal.
        Kind::Consumer(consumer)
            if matches!(consumer.told, Told::Nothing(_) | Told::Refused(_)) =>
        {
            return None;
        }
        Kind::Consumer(consumer) if consumer.data => {
            event(&thing.id, Event::DataconsumerDataproducerClose)
        }
        Kind::Consumer(_) => event(&thing.id, Event::ConsumerProducerClose),
        Kind::Transport(transport) if transport.kind == TransportKind::WebRtc => Notification {
            handler_id: thing.id.to_string(),
            event: Event::WebrtctransportDtlsStateChange,
            body: Some(Body::WebRtcTransportDtlsStateChangeNotification(Box::new(
                DtlsStateChangeNotification {
                    dtls_state: DtlsState::Closed,
                    remote_cert: None,
                },
            ))),
        },
        _ => return None,
    };
    Some((lane, notification))
}
