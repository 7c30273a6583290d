//! A WebSocket as a connection uses it.

use bytes::Bytes;
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

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
    /// A message that is larger than this end takes, and was not read.
    TooLarge(String),
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

impl Packet {
    /// Closes the whole connection for a reason, of which as much is said as a close frame holds.
    pub fn close_final(reason: &str) -> Self {
        // RFC 6455, section 5.5: 125 bytes, two of them the code.
        let end = reason.floor_char_boundary(123);
        Self::Close {
            code: CLOSE_FINAL,
            reason: reason[..end].to_owned(),
        }
    }
}

/// A WebSocket: messages in, messages out.
pub trait Socket:
    Stream<Item = Result<Packet, BoxError>> + Sink<Packet, Error = BoxError> + Send + Unpin
{
}

impl<T> Socket for T where
    T: Stream<Item = Result<Packet, BoxError>> + Sink<Packet, Error = BoxError> + Send + Unpin
{
}

/// How both ends set up their WebSockets. `max_message` bytes are the largest message taken; what
/// is under way is bounded by the connection's window anyhow.
pub fn websocket_config(max_message: Option<usize>) -> WebSocketConfig {
    WebSocketConfig::default()
        .max_message_size(max_message)
        .max_frame_size(max_message)
        // Each read clears as much: for small messages that is what takes the time.
        .read_buffer_size(8 * 1024)
        // Frames are flushed as they come.
        .write_buffer_size(0)
}

/// tungstenite's messages as ours.
pub fn adapt(
    socket: WebSocketStream<impl AsyncRead + AsyncWrite + Send + Unpin + 'static>,
) -> impl Socket + 'static {
    socket
        .map(|message| match message {
            Ok(Message::Binary(bytes)) => Ok(Packet::Frame(bytes)),
            Ok(Message::Text(text)) => Ok(Packet::Text(text.as_str().to_owned())),
            Ok(Message::Ping(_)) => Ok(Packet::Ping),
            Ok(Message::Pong(_) | Message::Frame(_)) => Ok(Packet::Pong),
            Ok(Message::Close(frame)) => Ok(match frame {
                Some(CloseFrame { code, reason }) => Packet::Close {
                    code: code.into(),
                    reason: reason.as_str().to_owned(),
                },
                None => Packet::Close {
                    code: 1005,
                    reason: String::new(),
                },
            }),
            Err(Error::Capacity(error)) => Ok(Packet::TooLarge(error.to_string())),
            Err(error) => Err(BoxError::from(error)),
        })
        .sink_map_err(BoxError::from)
        .with(|packet| {
            std::future::ready(Ok::<_, BoxError>(match packet {
                Packet::Frame(bytes) => Message::Binary(bytes),
                Packet::Text(text) => Message::Text(text.into()),
                Packet::Ping => Message::Ping(Bytes::new()),
                Packet::Pong | Packet::TooLarge(_) => Message::Pong(Bytes::new()),
                Packet::Close { code, reason } => Message::Close(Some(CloseFrame {
                    code: code.into(),
                    reason: reason.into(),
                })),
            }))
        })
}
