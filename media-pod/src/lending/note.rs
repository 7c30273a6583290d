//! What pods say of lent members.

use mafalda_link::{Exit, Frame};
use serde::{Deserialize, Serialize};

/// What is said beside the channel's messages. It is in order with them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Note {
    /// Lender, first of all: whose listen infos its workers get, and its members follow.
    Lends {
        /// As `listenInfos` in its status.
        listen_infos: String,
    },
    /// Lender: a member is there.
    Added {
        /// What it is called on this connection.
        member: u32,
        /// Whether it has said that it runs.
        running: bool,
    },
    /// Lender: a member is no more.
    Gone {
        /// What it was called.
        member: u32,
        /// How its process ended.
        exit: Exit,
    },
    /// Lender, each second: which share of a core each member takes.
    Load(Vec<(u32, f32)>),
    /// Lender: it wants nothing new, or does again.
    Cordoned(bool),
    /// Either: the channel messages that follow are of this member.
    Member(u32),
    /// Borrower: a virtual worker begins to use the lender's members.
    Attach(u64),
    /// Borrower: a virtual worker is over.
    Detach(u64),
    /// Borrower: an id that one of its virtual workers gives to something.
    Owns(String),
    /// Borrower: that thing is no more.
    Disowns(String),
}

impl Note {
    /// As it goes over the connection.
    pub fn frame(&self) -> Frame {
        // Numbers and texts have a form in JSON, always.
        Frame::Lending(serde_json::to_vec(self).unwrap_or_default().into())
    }
}
