//! Workers lent from pod to pod: members of virtual workers that run elsewhere.
//!
//! A pod that *borrows* opens one resumable connection to the pod that *lends*, whatever number of
//! virtual workers use it. To a virtual worker a lent worker is a [`Member`](crate::members::Member)
//! like the others; to the lending pod the borrower is one more user of its own members. Both sides
//! say on the connection what the two would say to each other in one process ([`Note`]), and channel
//! messages go in between as they are.
//!
//! Which pods lend to whom is not decided here: [`Peers`] holds what a gateway, an operator or the
//! user of a relay says.

mod borrower;
mod borrowing;
mod kept;
mod lender;
mod note;
mod peers;
mod queue;

pub use borrower::Borrower;
pub use borrowing::{Borrows, keep_borrowing};
pub use lender::Lender;
pub use note::Note;
pub use peers::{Grant, LenderState, Peer, Peers};
