//! A WebSocket as a connection uses it.

use bytes::Bytes;
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;
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
    /// The answer, or another sign of life: a part of a message came.
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

/// How often at most a message that is still coming counts as a sign of life.
const SIGN_OF_LIFE: Duration = Duration::from_secs(1);

/// What a socket's bytes go through, so that it is known that some came.
#[derive(Debug)]
pub struct Counted<S> {
    below: S,
    came: Came,
}

/// How many bytes came through a [`Counted`].
#[derive(Clone, Debug, Default)]
pub struct Came(Arc<AtomicU64>);

impl Came {
    fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counts what comes through `below`. [`adapt`] wants to know.
pub fn counted<S>(below: S) -> (Counted<S>, Came) {
    let came = Came::default();
    let counted = Counted {
        below,
        came: came.clone(),
    };
    (counted, came)
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.below).poll_read(context, buffer);
        let came = buffer.filled().len() - before;
        self.came.0.fetch_add(came as u64, Ordering::Relaxed);
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.below).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.below).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.below.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.below).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.below).poll_shutdown(context)
    }
}

/// tungstenite's messages as ours. `came` is of the [`counted`] bytes below the socket: while a message
/// takes long to come, a [`Packet::Pong`] a second says that it does.
pub fn adapt(
    socket: WebSocketStream<impl AsyncRead + AsyncWrite + Send + Unpin + 'static>,
    came: Came,
) -> impl Socket + 'static {
    Living {
        messages: messages(socket),
        known: came.bytes(),
        came,
        said: Instant::now(),
    }
}

/// A socket that also tells of messages of which only a part is there.
struct Living<S> {
    messages: S,
    came: Came,
    /// The bytes that were there when something was said last.
    known: u64,
    said: Instant,
}

impl<S: Socket> Stream for Living<S> {
    type Item = Result<Packet, BoxError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut polled = self.messages.poll_next_unpin(context);
        let bytes = self.came.bytes();
        if polled.is_pending() {
            if bytes == self.known || self.said.elapsed() < SIGN_OF_LIFE {
                return polled;
            }
            // Whoever takes it asks again, so that the waker that was left below is not missed.
            polled = Poll::Ready(Some(Ok(Packet::Pong)));
        }
        self.known = bytes;
        self.said = Instant::now();
        polled
    }
}

impl<S: Socket> Sink<Packet> for Living<S> {
    type Error = BoxError;

    fn poll_ready(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), BoxError>> {
        self.messages.poll_ready_unpin(context)
    }

    fn start_send(mut self: Pin<&mut Self>, packet: Packet) -> Result<(), BoxError> {
        self.messages.start_send_unpin(packet)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), BoxError>> {
        self.messages.poll_flush_unpin(context)
    }

    fn poll_close(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), BoxError>> {
        self.messages.poll_close_unpin(context)
    }
}

fn messages(
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
