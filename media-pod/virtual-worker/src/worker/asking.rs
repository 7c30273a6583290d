//! Messages to members and to the application.

use super::{Action, VirtualWorker};
use crate::messages::{Ask, refusal};
use crate::refusal::Refusal;
use crate::state::{Fate, INTERNAL, Id, MemberId, Purpose};
use bytes::Bytes;
use mafalda_channel::fbs::response::Response;
use mafalda_channel::{Request, encode_request, encode_response};

impl VirtualWorker {
    /// An id for a thing of ours.
    pub(super) fn internal_id(&mut self) -> Id {
        let serial = self.next_serial();
        format!("{INTERNAL}{}/{serial}", self.config.name).into()
    }

    pub(super) fn answer(&mut self, response: &Response) {
        self.actions
            .push(Action::ToApplication(encode_response(response)));
    }

    pub(super) fn refuse(&mut self, id: u32, reason: Refusal) {
        self.answer(&refusal(id, reason));
    }

    /// Asks in our own name.
    pub(super) fn ask(&mut self, member: MemberId, ask: Ask, purpose: Purpose) {
        let Some(to) = self.state.members.get_mut(&member) else {
            return;
        };
        let id = to.free_id();
        to.pending.insert(id, purpose);
        let message = encode_request(&ask.with_id(id));
        self.actions.push(Action::ToMember(member, message));
    }

    /// Passes a request on, as it is unless its id is taken.
    pub(super) fn pass(&mut self, member: MemberId, id: u32, message: &Bytes, purpose: Purpose) {
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

    /// Passes a request of the application on.
    pub(super) fn forward(
        &mut self,
        member: MemberId,
        request: &Request<'_>,
        message: &Bytes,
        lane: Option<Id>,
        fate: Fate,
    ) {
        let id = request.id;
        self.pass(member, id, message, Purpose::Application { id, lane, fate });
    }

    /// To the member that has the handler, which the application knows.
    pub(super) fn pass_to_handler(&mut self, request: &Request<'_>, message: &Bytes) {
        let Some(thing) = self.state.things.get(request.handler_id) else {
            self.refuse_unknown_handler(request);
            return;
        };
        let (member, lane) = (thing.member, thing.lane().cloned());
        self.forward(member, request, message, lane, Fate::Nothing);
    }

    pub(super) fn refuse_unknown_handler(&mut self, request: &Request<'_>) {
        let reason = Refusal::no_handler(request.handler_id, request.method);
        self.refuse(request.id, reason);
    }

    pub(super) fn refuse_unknown_method(&mut self, request: &Request<'_>) {
        self.refuse(request.id, Refusal::unknown_method(request.method));
    }
}
