//! One mediasoup worker that spans many.
//!
//! [`VirtualWorker`] speaks mediasoup's channel upward to one application, for which it is *the*
//! worker, and downward to any number of *members*, each a real worker of its own. It is pure: no
//! sockets, no tasks, no clock. Messages and the time come in, [`Action`]s go out.
//!
//! A router of the application is virtual: a real router of the same id appears on a member when
//! something is placed there, and goes with the last thing on it. When something on one member
//! consumes a producer of another, the producer is *piped* there: a copy of it with the same id and
//! the same mapped SSRCs, so that all the application wrote stays true. The pipes to the copies of
//! one producer form a tree: small rooms are stars around the original, and who has many copies to
//! feed lets a copy feed others. A copy ends with its last consumer; the pipe stays for a while.
//!
//! Members may be shared: several virtual workers, of applications that do not trust each other, can
//! have the same ones. A [`Ledger`] is what they have in common: how warm members are, and which ids
//! are taken.
//!
//! # Members of other pods
//! The machine is the same; it is told [where](Locality) each member is. What fits into its own pod
//! stays there, by [`Placement::Pack`]; a stream that somebody in another pod consumes goes there once
//! and is passed on. When no member is cool, the machine [wants more](VirtualWorker::wants_more); a
//! member that is to go is [cordoned](VirtualWorker::on_member_cordoned) until it
//! [carries](VirtualWorker::carries) nothing. A pod's death is that of its members, one by one.
//!
//! # Why nothing waits
//! A member handles its messages in their order, so a copy may be consumed before its pipe is
//! connected: the requests that make the copy and the one that consumes it are sent together. What
//! waits is the *answer*: it is held, with all that follows it on the same transport, until the pipe
//! can carry media. Thus the members see the application's requests in the application's order,
//! and what one request changed is true for the next, as on a single worker.
//!
//! # Guarantees
//! Each request of the application is answered exactly once. What the application does not know
//! (pipe transports, pipe consumers, copies) appears in no dump and no notification, but in the
//! [`Topology`]. No request and no notification reaches a member with a handler, router or
//! WebRtcServer that is not the application's own. [`Action::Owns`] comes once for each id, and
//! [`Action::Disowns`] once, whatever ends the thing. No input makes it panic; messages must have passed [`mafalda_channel::check`] all the same, as members trust
//! what they read.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod aliases;
mod config;
mod ledger;
mod locality;
mod merge;
mod messages;
mod placement;
mod recipe;
mod refusal;
mod state;
mod topology;
mod worker;

pub use aliases::Aliases;
pub use config::{Between, Config, PipeSettings, UnknownBetween};
pub use ledger::Ledger;
pub use locality::{Distance, Locality};
pub use placement::{Placement, UnknownPlacement, WATERMARK};
pub use state::MemberId;
pub use topology::{
    BetweenPods, MemberTopology, ObserverTopology, PipeTopology, RouterTopology, Topology,
    TransportKind, TransportTopology, between_pods,
};
pub use worker::{Action, VirtualWorker};
