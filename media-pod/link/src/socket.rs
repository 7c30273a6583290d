//! A WebSocket, whichever library it comes from.

use bytes::Bytes;
use futures_util::{Sink, Stream};

/// An error of the library below.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// One WebSocket message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// A binary message: a frame.
    Frame(Bytes),
    /// A text message: a note or part of the handshake.
    Text(String),
    /// A question whether the peer is there; the library below answers it.
    Ping,
    /// The answer.
    Pong,
    /// The peer closes the socket.
    Close {
        /// A WebSocket close code; [`CLOSE_FINAL`] ends the whole connection.
        code: u16,
        /// Why, for people.
        reason: String,
    },
}

/// The close code by which one end gives the connection up: it is not to be resumed.
pub const CLOSE_FINAL: u16 = 4000;

/// A WebSocket: messages in, messages out.
pub trait Socket:
    Stream<Item = Result<Packet, BoxError>> + Sink<Packet, Error = BoxError> + Send + Unpin
{
}

impl<T> Socket for T where
    T: Stream<Item = Result<Packet, BoxError>> + Sink<Packet, Error = BoxError> + Send + Unpin
{
}
