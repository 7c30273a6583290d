//! Answers of members.

use super::VirtualWorker;
use crate::messages::refusal;
use crate::refusal::Refusal;
use crate::state::{Fate, Id, MemberId, Purpose, Told};
use bytes::Bytes;
use mafalda_channel::fbs::response::Response as OwnedResponse;
use mafalda_channel::{Response, encode_response, with_id};

impl VirtualWorker {
    pub(super) fn on_response(
        &mut self,
        member: MemberId,
        response: &Response<'_>,
        message: &Bytes,
    ) {
        let from = self.state.members.get_mut(&member);
        let purpose = from.and_then(|member| member.pending.remove(&response.id));
        match purpose {
            None | Some(Purpose::Internal) => {}
            Some(Purpose::Application { id, lane, fate }) => {
                // The same id but for those that were taken.
                let message = with_id(message, id).unwrap_or_else(|_| message.clone());
                self.answered(id, lane, fate, response.accepted, message);
            }
            Some(Purpose::Gather(gather)) => {
                if let Ok(response) = mafalda_channel::response(message) {
                    self.gathered(gather, member, Some(response));
                }
            }
            Some(Purpose::PipeCreated(transport)) => self.pipe_created(&transport, response),
            Some(Purpose::PipeConnected(transport)) => self.pipe_connected(&transport, response),
            Some(Purpose::PipeStats(transport)) => self.measured(&transport, response),
        }
    }

    fn answered(&mut self, id: u32, lane: Option<Id>, fate: Fate, accepted: bool, message: Bytes) {
        match fate {
            Fate::Nothing => self.tell(lane.as_deref(), message, None),
            Fate::Ends(thing, serial) => {
                self.tell(lane.as_deref(), message, None);
                if accepted {
                    self.remove_exactly(&thing, serial);
                }
            }
            Fate::Makes(thing, serial) if !accepted => {
                self.tell(lane.as_deref(), message, None);
                self.remove_exactly(&thing, serial);
            }
            Fate::Makes(thing, serial) => self.made(id, lane, &thing, serial, message),
        }
    }

    fn made(&mut self, id: u32, lane: Option<Id>, thing: &Id, serial: u64, message: Bytes) {
        let known = self
            .state
            .things
            .get(thing)
            .is_some_and(|t| t.serial == serial);
        if let Some(producer) = self.state.producer(thing).filter(|_| known) {
            producer.made = true;
        }
        let consumer = self.state.consumer(thing).filter(|_| known);
        match consumer.map(|consumer| (&consumer.told, consumer.data)) {
            None => self.tell(lane.as_deref(), message, None),
            Some((Told::Refused(producer), data)) => {
                let reason = Refusal::no_producer(producer, data);
                let message = encode_response(&refusal(id, reason));
                self.tell(lane.as_deref(), message, None);
            }
            Some(_) => self.consumer_accepted(thing, id, message),
        }
    }

    pub(super) fn gathered(
        &mut self,
        gather: u64,
        member: MemberId,
        response: Option<OwnedResponse>,
    ) {
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
            self.answer(&entry.merged());
        }
    }
}
