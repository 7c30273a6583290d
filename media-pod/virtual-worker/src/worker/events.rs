//! Notifications, both ways.

use super::{Action, VirtualWorker};
use crate::state::{INTERNAL, Kind, MemberId, Told};
use bytes::Bytes;
use mafalda_channel::Notification;
use mafalda_channel::fbs::notification::{BodyRef, Event};

impl VirtualWorker {
    pub(super) fn on_application_event(
        &mut self,
        notification: &Notification<'_>,
        message: &Bytes,
    ) {
        if notification.event == Event::WorkerClose {
            self.leave_members();
            if !self.config.shared {
                let members = self.state.members.keys();
                let close = |&member| Action::ToMember(member, message.clone());
                self.actions.extend(members.map(close));
            }
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

    pub(super) fn on_member_event(
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
        // What a copy says is not the application's, nor what is said of something that is no more.
        let Some(thing) = self
            .state
            .things
            .get(handler)
            .filter(|t| t.member == member)
        else {
            return;
        };
        if matches!(&thing.kind, Kind::Producer(producer) if !producer.made) {
            return;
        }
        let (id, lane) = (thing.id.clone(), thing.lane().cloned());
        let consumer = match &thing.kind {
            Kind::Consumer(consumer) => Some(consumer),
            _ => None,
        };
        if !consumer.is_some_and(|consumer| matches!(consumer.told, Told::Refused(_))) {
            let about = consumer.map(|_| (id.clone(), None));
            self.tell(lane.as_deref(), message.clone(), about);
        }
        if matches!(
            notification.event,
            Event::ConsumerProducerClose | Event::DataconsumerDataproducerClose
        ) {
            self.remove(&id);
        }
    }
}
