//! The connection between a mediasoup application's *relay* and a *media pod*, one for each worker
//! of the application. It carries the worker's channel and survives a broken socket: nothing is
//! lost, nothing arrives twice, and neither end of the channel notices.
//!
//! # The protocol, version 1
//!
//! A WebSocket at `/v1/worker`. The request's headers say who asks ([`header`]): a token, the
//! application's mediasoup version, the protocol's version and, to resume, the connection's id.
//! A refusal is an HTTP status with a JSON body ([`Refusal`]).
//!
//! 1. The client sends a text message: [`Hello`], either `start` or `resume`.
//! 2. The pod answers with a text message: [`Welcome`].
//! 3. Both send *frames*, which are binary messages, and *notes* ([`Note`]), which are text.
//!
//! **Frames are numbered** by their place, from 1, in each direction, over all sockets of the
//! connection. The sender keeps a frame until the receiver *acknowledges* it (a note), which it does
//! once the frame is handed on. A sender with `window` bytes unacknowledged stops taking in more:
//! that is the connection's back-pressure, and it bounds what both sides ever hold. When the socket
//! breaks, the client opens another and each side says how many frames it *received*; the other
//! sends again what came after. Past the grace time the connection is lost for good.
//!
//! **On one host** the relay's step can be left out: a pod that is asked on loopback offers a Unix
//! socket in its [`Welcome`], and the relay passes its ends of the channel through it
//! ([`hand_over`]). Channel messages then go between application and pod directly; the worker's
//! output, signals and end stay on the connection.
//!
//! What a frame is its first four bytes say, a little-endian number: up to
//! [`frame::MAX_CHANNEL_SIZE`] they are the size prefix of the first of one or more whole channel
//! messages, carried as mediasoup wrote them; above it they mark one of the other [`Frame`]s.
//!
//! # Layout
//!
//! [`Window`] is the pure state of one end; [`drive`] runs it over sockets, an application's or a
//! worker's [`Source`] and [`Sink`], and whatever opens the next socket ([`Dial`]).

#[cfg(feature = "client")]
pub mod client;
mod drive;
pub mod frame;
pub mod hand_over;
mod handshake;
mod socket;
#[cfg(feature = "client")]
mod tls;
mod window;

pub use drive::{Attachment, Dial, DialError, End, LinkError, Sink, Source, Timing, drive};
pub use frame::{Exit, Frame};
pub use futures_util::{SinkExt, StreamExt};
pub use handshake::{
    FILE_ARGUMENTS, HandedOver, Hello, Note, Refusal, RefusalBody, Resume, Start, Welcome, header,
};
pub use socket::{
    BoxError, CLOSE_FINAL, Came, Counted, Packet, Socket, adapt, counted, websocket_config,
};
pub use window::{Window, WindowError};

/// The version of this protocol.
pub const PROTOCOL: &str = "1";

/// The version of npm `mediasoup` whose channel this build carries.
pub const MEDIASOUP_NPM: &str = "3.27.1";

/// The version of the crate `mediasoup` whose channel this build carries: the same schema.
pub const MEDIASOUP_CRATE: &str = "0.28.1";
