//! Runs one end of a connection: a [`Window`] between an application or a worker on one side and
//! one socket after another on the other.

use crate::frame::{Exit, Frame, UnknownFrame};
use crate::handshake::Note;
use crate::socket::{BoxError, CLOSE_FINAL, Packet, Socket};
use crate::window::{Window, WindowError};
use bytes::Bytes;
use futures_util::{FutureExt, SinkExt, StreamExt, future::BoxFuture};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::task::{Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

/// Where frames for the peer come from.
pub trait Source: Send {
    /// The next frame; `None` when no more will come. Cancelling it loses nothing.
    fn next(&mut self) -> impl Future<Output = io::Result<Option<Frame>>> + Send;
}

/// Where the peer's frames go.
pub trait Sink: Send {
    /// Takes one frame, after the one before was flushed.
    fn accept(&mut self, frame: Frame) -> io::Result<()>;

    /// Hands on what was accepted. The worker's end is returned once that is handed on, and is the
    /// last. Cancelling it loses nothing.
    fn flush(&mut self) -> impl Future<Output = io::Result<Option<Exit>>> + Send;
}

/// Where the next socket comes from.
pub trait Dial: Send {
    /// A socket that is not part of the connection yet.
    type Candidate: Send;

    /// Starts to get the next socket; `None` when none is wanted while `connected`.
    fn dial(
        &mut self,
        connected: bool,
    ) -> Option<BoxFuture<'static, Result<Self::Candidate, DialError>>>;

    /// Makes the socket the connection's, telling the peer that `received` frames came.
    fn attach(
        &mut self,
        candidate: Self::Candidate,
        received: u64,
    ) -> BoxFuture<'_, Result<Attachment, DialError>>;

    /// The connection has a socket again.
    fn attached(&mut self) {}

    /// The connection's socket is gone; `reason` is for logs.
    fn detached(&mut self, reason: &str);
}

/// A socket and where its peer stands.
pub struct Attachment {
    /// The socket, past the handshake.
    pub socket: Box<dyn Socket>,
    /// How many frames the peer has received.
    pub received: u64,
}

/// Why there is no next socket.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// It may work another time.
    #[error("{0}")]
    Retry(String),
    /// Not now, as no process listens there: one that is started anew knows no connection.
    #[error("{0}")]
    NobodyThere(String),
    /// The peer refuses for good.
    #[error("{0}")]
    Refused(String),
}

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// A connection without a socket is given up after this.
    pub grace: Duration,
    /// Acknowledgements and heartbeats are sent this often at most.
    pub tick: Duration,
    /// A socket on which nothing comes for this long, no part of a message either, is taken for broken.
    pub silence: Duration,
}

impl Timing {
    /// What both ends use by default, with a grace time of their own.
    pub fn with_grace(grace: Duration) -> Self {
        Self {
            grace,
            tick: Duration::from_secs(1),
            silence: Duration::from_secs(6),
        }
    }
}

/// How long a handshake on a new socket may take.
const ATTACH: Duration = Duration::from_secs(5);

/// How long the next socket is tried for once the application wants its worker's end: the peer ends it
/// too, after the grace time.
const LEAVE: Duration = Duration::from_secs(3);

/// How long the peer may take to acknowledge the last frame while it has a socket.
const SETTLE: Duration = Duration::from_secs(5);

/// The orderly end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The peer's last frame was handed on: the worker's end.
    Exit(Exit),
    /// The source's last frame was acknowledged.
    Settled,
}

/// The other ends of a connection.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// No socket for longer than the grace time.
    #[error("no connection for {} s; the last one ended by: {reason}", grace.as_secs())]
    Lost {
        /// The grace time.
        grace: Duration,
        /// How the last socket ended.
        reason: String,
    },
    /// The peer refuses to resume.
    #[error("refused: {0}")]
    Refused(String),
    /// The peer gave the connection up.
    #[error("the peer closed the connection: {0}")]
    Closed(String),
    /// The peer sent what protocol 1 does not have.
    #[error("protocol error: {0}")]
    Protocol(String),
    /// The application's or the worker's side failed.
    #[error(transparent)]
    Local(#[from] io::Error),
}

impl From<UnknownFrame> for LinkError {
    fn from(error: UnknownFrame) -> Self {
        Self::Protocol(error.to_string())
    }
}

impl From<WindowError> for LinkError {
    fn from(error: WindowError) -> Self {
        Self::Protocol(error.to_string())
    }
}

/// The socket of the moment and what is on its way into it.
struct Wire {
    socket: Box<dyn Socket>,
    outbox: VecDeque<Packet>,
    flushed: bool,
    /// When the peer was heard last, and when it heard of us.
    heard: Instant,
    said: Instant,
}

impl Wire {
    fn new(socket: Box<dyn Socket>) -> Self {
        Self {
            socket,
            outbox: VecDeque::new(),
            flushed: true,
            heard: Instant::now(),
            said: Instant::now(),
        }
    }

    fn send(&mut self, packet: Packet) {
        self.said = Instant::now();
        self.outbox.push_back(packet);
        self.flushed = false;
    }

    /// Writes out what was sent. Cancelling it loses nothing.
    async fn write_out(&mut self) -> Result<(), BoxError> {
        poll_fn(|context| {
            while !self.outbox.is_empty() {
                ready!(self.socket.poll_ready_unpin(context))?;
                if let Some(packet) = self.outbox.pop_front() {
                    self.socket.start_send_unpin(packet)?;
                }
            }
            ready!(self.socket.poll_flush_unpin(context))?;
            self.flushed = true;
            Poll::Ready(Ok(()))
        })
        .await
    }
}

/// What the loop woke up for.
enum Wake<C> {
    Candidate(Result<C, DialError>),
    Came(Option<Result<Packet, BoxError>>),
    WrittenOut(Result<(), BoxError>),
    Outgoing(io::Result<Option<Frame>>),
    HandedOn(io::Result<Option<Exit>>),
    Tick,
    GraceOver,
}

async fn when<T>(condition: bool, future: impl Future<Output = T>) -> T {
    if condition {
        future.await
    } else {
        std::future::pending().await
    }
}

/// One end of a connection at work.
struct Driver<'a, D: Dial> {
    dial: &'a mut D,
    timing: Timing,
    window: Window,
    wire: Option<Wire>,
    dialling: Option<BoxFuture<'static, Result<D::Candidate, DialError>>>,
    /// Received, not handed on yet.
    queue: VecDeque<Frame>,
    detached_at: Instant,
    reason: String,
    /// The peer's last frame came: nothing more is wanted of it.
    heard_all: bool,
    /// When the last frame was sent, or sent again.
    settling: Option<Instant>,
}

/// Runs one end of a connection until its orderly end or an error.
///
/// `first` is the socket that the handshake was made on.
pub async fn drive<D: Dial>(
    source: &mut impl Source,
    sink: &mut impl Sink,
    dial: &mut D,
    first: Box<dyn Socket>,
    window: usize,
    timing: Timing,
) -> Result<End, LinkError> {
    let mut driver = Driver {
        dialling: dial.dial(true),
        dial,
        timing,
        window: Window::new(window),
        wire: Some(Wire::new(first)),
        queue: VecDeque::new(),
        detached_at: Instant::now(),
        reason: String::new(),
        heard_all: false,
        settling: None,
    };
    let result = driver.run(source, sink).await;
    driver.close(&result).await;
    result
}

impl<D: Dial> Driver<'_, D> {
    async fn run(
        &mut self,
        source: &mut impl Source,
        sink: &mut impl Sink,
    ) -> Result<End, LinkError> {
        let mut ticks = interval(self.timing.tick);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut flushing = false;
        loop {
            if !flushing && let Some(frame) = self.queue.pop_front() {
                sink.accept(frame)?;
                flushing = true;
            }
            let more = self.settling.is_none();
            match self.wake(source, sink, more, flushing, &mut ticks).await {
                Wake::Outgoing(frame) => match frame? {
                    Some(frame) => {
                        if frame.is_leave() {
                            self.leave();
                        }
                        self.send(frame.encode());
                    }
                    None => self.settling = Some(Instant::now()),
                },
                Wake::HandedOn(exit) => {
                    flushing = false;
                    self.window.on_handed_on();
                    if let Some(exit) = exit? {
                        return Ok(End::Exit(exit));
                    }
                    let due = self.window.due_acknowledgement();
                    self.acknowledge(due);
                }
                Wake::Came(Some(Ok(packet))) => self.on_packet(packet)?,
                Wake::Came(Some(Err(error))) => self.detach(error.to_string()),
                Wake::Came(None) => self.detach("the socket was closed".into()),
                Wake::WrittenOut(Ok(())) => {}
                Wake::WrittenOut(Err(error)) => self.detach(error.to_string()),
                Wake::Candidate(candidate) => self.on_candidate(candidate).await?,
                Wake::Tick => self.on_tick(),
                Wake::GraceOver => {
                    return Err(LinkError::Lost {
                        grace: self.timing.grace,
                        reason: std::mem::take(&mut self.reason),
                    });
                }
            }
            if let Some(since) = self.settling
                && (self.window.is_settled() || self.wire.is_some() && since.elapsed() > SETTLE)
            {
                return Ok(End::Settled);
            }
        }
    }

    async fn wake(
        &mut self,
        source: &mut impl Source,
        sink: &mut impl Sink,
        more: bool,
        flushing: bool,
        ticks: &mut tokio::time::Interval,
    ) -> Wake<D::Candidate> {
        let room = !self.window.is_full();
        let connected = self.wire.is_some();
        let grace_left = self.timing.grace.saturating_sub(self.detached_at.elapsed());
        let dialling = async {
            match &mut self.dialling {
                Some(dialling) => dialling.await,
                None => std::future::pending().await,
            }
        };
        let traffic = async {
            let Some(wire) = &mut self.wire else {
                return std::future::pending().await;
            };
            if !wire.flushed
                && let Some(result) = wire.write_out().now_or_never()
            {
                return Wake::WrittenOut(result);
            }
            if wire.flushed {
                return Wake::Came(wire.socket.next().await);
            }
            // Reading goes on while the socket takes no more.
            poll_fn(|context| {
                if let Poll::Ready(packet) = wire.socket.poll_next_unpin(context) {
                    return Poll::Ready(Wake::Came(packet));
                }
                std::pin::pin!(wire.write_out())
                    .poll(context)
                    .map(Wake::WrittenOut)
            })
            .await
        };
        tokio::select! {
            wake = traffic => wake,
            exit = when(flushing, sink.flush()) => Wake::HandedOn(exit),
            frame = when(room && more, source.next()) => Wake::Outgoing(frame),
            candidate = dialling => Wake::Candidate(candidate),
            _ = when(connected, ticks.tick()) => Wake::Tick,
            () = when(!connected, sleep(grace_left)) => Wake::GraceOver,
        }
    }

    /// The application is leaving: it is not to wait for a peer that is away.
    fn leave(&mut self) {
        let away = match self.wire {
            Some(_) => Duration::ZERO,
            None => self.detached_at.elapsed(),
        };
        self.timing.grace = self.timing.grace.min(away + LEAVE);
    }

    fn send(&mut self, frame: Bytes) {
        self.window.send(frame.clone());
        if let Some(wire) = &mut self.wire {
            wire.send(Packet::Frame(frame));
        }
    }

    fn acknowledge(&mut self, count: Option<u64>) {
        if let (Some(count), Some(wire)) = (count, &mut self.wire)
            && let Ok(note) = serde_json::to_string(&Note::Acknowledge(count))
        {
            wire.send(Packet::Text(note));
        }
    }

    fn on_packet(&mut self, packet: Packet) -> Result<(), LinkError> {
        if let Some(wire) = &mut self.wire {
            wire.heard = Instant::now();
        }
        match packet {
            Packet::Frame(frame) => {
                self.window.on_frame(frame.len())?;
                let frame = Frame::decode(frame)?;
                self.heard_all |= matches!(frame, Frame::Exit(_));
                self.queue.push_back(frame);
            }
            Packet::Text(text) => {
                let note = serde_json::from_str(&text)
                    .map_err(|error| LinkError::Protocol(format!("a text message: {error}")))?;
                match note {
                    Note::Acknowledge(count) => self.window.on_acknowledgement(count)?,
                }
            }
            Packet::Ping => {
                // The library below answers.
                if let Some(wire) = &mut self.wire {
                    wire.said = Instant::now();
                }
            }
            Packet::Pong => {}
            Packet::TooLarge(what) => return Err(LinkError::Protocol(what)),
            Packet::Close { code, reason } if code == CLOSE_FINAL => {
                return self.give_up(LinkError::Closed(reason));
            }
            Packet::Close { code, reason } => {
                self.detach(format!("the peer closed the socket: {code} {reason}"));
            }
        }
        Ok(())
    }

    fn on_tick(&mut self) {
        let acknowledgement = self.window.acknowledgement();
        self.acknowledge(acknowledgement);
        let Some(wire) = &mut self.wire else { return };
        let silence = wire.heard.elapsed();
        let is_long = |time: Duration| time >= self.timing.silence / 3;
        if silence >= self.timing.silence {
            self.detach(format!("nothing came for {} s", silence.as_secs()));
        } else if is_long(silence) || is_long(wire.said.elapsed()) {
            // A peer whose long message is still coming hears nothing of us otherwise.
            wire.send(Packet::Ping);
        }
    }

    fn detach(&mut self, reason: String) {
        if self.wire.take().is_some() {
            self.dial.detached(&reason);
            self.reason = reason;
            self.detached_at = Instant::now();
        }
        if self.dialling.is_none() {
            self.dialling = self.dial.dial(false);
        }
    }

    async fn on_candidate(
        &mut self,
        candidate: Result<D::Candidate, DialError>,
    ) -> Result<(), LinkError> {
        self.dialling = None;
        // A socket that comes while there is one replaces it: the peer knows better.
        self.detach_for_candidate();
        let attachment = match candidate {
            Ok(candidate) => {
                let attach = self.dial.attach(candidate, self.window.received());
                match timeout(ATTACH, attach).await {
                    Ok(result) => result,
                    Err(_) => Err(DialError::Retry("the handshake took too long".into())),
                }
            }
            Err(error) => Err(error),
        };
        match attachment {
            Ok(attachment) => {
                self.attach(attachment)?;
            }
            Err(DialError::Refused(reason)) => return self.give_up(LinkError::Refused(reason)),
            Err(DialError::Retry(reason) | DialError::NobodyThere(reason)) => self.reason = reason,
        }
        self.dialling = self.dial.dial(self.wire.is_some());
        Ok(())
    }

    fn attach(&mut self, attachment: Attachment) -> Result<(), LinkError> {
        let again = match self.window.resume(attachment.received) {
            Ok(again) => again,
            // What the network held back: the peer has had another socket since, and has none now.
            Err(WindowError::Count {
                said, acknowledged, ..
            }) if said < acknowledged => {
                self.reason = "a socket that came too late".to_owned();
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let mut wire = Wire::new(attachment.socket);
        for frame in again {
            wire.send(Packet::Frame(frame));
        }
        self.wire = Some(wire);
        self.settling = self.settling.map(|_| Instant::now());
        let acknowledgement = self.window.acknowledgement();
        self.acknowledge(acknowledgement);
        self.dial.attached();
        Ok(())
    }

    /// The peer is gone for good. What it said to its end is handed on first, which may take a slow
    /// application the grace time.
    fn give_up(&mut self, error: LinkError) -> Result<(), LinkError> {
        if !self.heard_all {
            return Err(error);
        }
        self.wire = None;
        self.dialling = None;
        self.detached_at = Instant::now();
        self.reason = error.to_string();
        Ok(())
    }

    fn detach_for_candidate(&mut self) {
        if self.wire.take().is_some() {
            self.dial.detached("another socket takes its place");
            self.detached_at = Instant::now();
        }
    }

    /// Says goodbye, if there is somebody to say it to.
    async fn close(&mut self, result: &Result<End, LinkError>) {
        let acknowledgement = self.window.acknowledgement();
        self.acknowledge(acknowledgement);
        let Some(mut wire) = self.wire.take() else {
            return;
        };
        let reason = match result {
            Ok(_) => "the worker has ended".to_owned(),
            Err(error) => error.to_string(),
        };
        wire.send(Packet::close_final(&reason));
        let goodbye = async {
            wire.write_out().await?;
            wire.socket.close().await
        };
        let _ = timeout(Duration::from_secs(1), goodbye).await;
    }
}

#[cfg(test)]
mod tests;
