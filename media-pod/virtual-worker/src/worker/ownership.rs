//! Which ids are the application's. Two virtual workers on the same members may have the same one, as
//! two workers of one application do after `pipeToRouter()`: members learn of it by another name then,
//! which is the business of whoever moves the messages.

use super::{Action, VirtualWorker};
use crate::refusal::Refusal;
use crate::state::INTERNAL;

impl VirtualWorker {
    /// Makes an id the application's. A server's is refused here: mediasoup 3.27.1 keeps a freed
    /// observer or transport whose id it refuses, and dies of it, with all that others have there.
    pub(super) fn own(&mut self, id: &str) -> Result<(), Refusal> {
        let state = &self.state;
        let is_taken = state.things.contains_key(id)
            || state.routers.contains_key(id)
            || state.servers.contains_key(id)
            || self.config.member_server.as_deref() == Some(id);
        if is_taken || id.starts_with(INTERNAL) {
            return Err(Refusal::handler_exists(id));
        }
        self.actions.push(Action::Owns(id.to_owned()));
        Ok(())
    }

    /// The id of something that is no more.
    pub(super) fn disown(&mut self, id: &str) {
        self.actions.push(Action::Disowns(id.to_owned()));
    }
}
