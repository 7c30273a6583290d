//! How messages get to a member.

use super::Outbox;
use crate::lending::Lender;
use bytes::Bytes;
use std::sync::Arc;

/// The way to a member, for any thread.
#[derive(Clone)]
pub enum Way {
    /// The socket of its process.
    Process(Outbox),
    /// The connection to the pod that lends it, and what it is called there.
    Lent(Arc<Lender>, u32),
}

impl Way {
    /// Sends after what was sent before. False when much is kept: wait for room before the next.
    ///
    /// A receiver that is gone takes nothing, and says so elsewhere.
    pub fn send(&self, message: Bytes) -> bool {
        match self {
            Self::Process(outbox) => outbox.send(message),
            Self::Lent(lender, member) => lender.queue().send(*member, message),
        }
    }

    /// Waits until there is room, on a thread; not for ever.
    pub fn wait_for_room(&self) {
        match self {
            Self::Process(outbox) => outbox.wait_for_room(),
            Self::Lent(lender, _) => lender.queue().wait_for_room(),
        }
    }

    /// Waits until there is room; not for ever.
    pub async fn room(&self) {
        match self {
            Self::Process(outbox) => outbox.room().await,
            Self::Lent(lender, _) => lender.queue().room().await,
        }
    }

    /// Ends the way to a process. A lender's is shared with its other members.
    pub fn close(&self) {
        if let Self::Process(outbox) = self {
            outbox.close();
        }
    }
}
