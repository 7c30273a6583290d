//! A member dies: the application hears of what it carried, and of nothing else.

use super::{Action, VirtualWorker};
use crate::messages::event;
use crate::state::{Id, Kind, MemberId, Purpose, Thing};
use mafalda_channel::encode_notification;
use mafalda_channel::fbs::notification::{Body, Event, Notification};
use mafalda_channel::fbs::web_rtc_transport::{DtlsState, DtlsStateChangeNotification};

impl VirtualWorker {
    pub(super) fn bury(&mut self, member: MemberId) {
        let Some(dead) = self.state.members.remove(&member) else {
            return;
        };
        for router in self.state.routers.values_mut() {
            router.real.remove(&member);
        }
        for purpose in dead.pending.into_values() {
            match purpose {
                Purpose::Application { id, .. } => {
                    self.refuse(id, "Error", "the worker that was asked has died");
                }
                Purpose::Gather(gather) => self.gathered(gather, member, None),
                Purpose::PipeCreated(_) | Purpose::PipeConnected(_) | Purpose::Internal => {}
            }
        }
        let things = self.state.things.iter();
        let mut ends = Vec::new();
        let mut lost: Vec<(Id, bool)> = Vec::new();
        for (id, thing) in things.filter(|(_, thing)| thing.member == member) {
            ends.extend(end(id, thing));
            lost.push((id.clone(), matches!(thing.kind, Kind::Consumer(_))));
        }
        for (lane, notification) in ends {
            self.tell(Some(&lane), encode_notification(&notification));
        }
        // Consumers first: what they alone used elsewhere ends.
        lost.sort_by_key(|(_, consumer)| !consumer);
        lost.iter().for_each(|(id, _)| self.remove(id));
        if self.state.members.is_empty() {
            self.actions.push(Action::Died);
        }
    }
}

/// mediasoup's event for the end of such a thing, if it has one.
fn end(id: &str, thing: &Thing) -> Option<(Id, Notification)> {
    let lane = thing.lane(id)?.to_owned();
    let notification = match &thing.kind {
        Kind::Consumer(consumer) if consumer.data => {
            event(id, Event::DataconsumerDataproducerClose)
        }
        Kind::Consumer(_) => event(id, Event::ConsumerProducerClose),
        Kind::Transport(transport) if transport.dtls => Notification {
            handler_id: id.to_owned(),
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
