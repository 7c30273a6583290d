//! Whose an id is. Members know one thing of an id, whoever made it, so no two virtual workers that
//! share members may have the same.

use super::{Action, VirtualWorker};
use crate::refusal::Refusal;
use crate::state::INTERNAL;

impl VirtualWorker {
    /// Makes an id the application's.
    pub(super) fn own(&mut self, id: &str) -> Result<(), Refusal> {
        if id.starts_with(INTERNAL) || !self.ledger.claim(id) {
            return Err(Refusal::handler_exists(id));
        }
        self.actions.push(Action::Owns(id.to_owned()));
        Ok(())
    }

    /// The id of something that is no more.
    pub(super) fn disown(&mut self, id: &str) {
        self.ledger.release(id);
        self.actions.push(Action::Disowns(id.to_owned()));
    }
}
