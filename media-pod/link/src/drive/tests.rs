//! Ends and resumes that come at a bad moment, on sockets of packets.

use super::*;
use crate::socket::{adapt, counted};
use futures_util::stream::{self, BoxStream, Stream};
use std::pin::Pin;
use std::task::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;

/// Says what it is given, all of it a moment later, then nothing; takes everything.
struct Script(BoxStream<'static, Result<Packet, BoxError>>);

impl Stream for Script {
    type Item = Result<Packet, BoxError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next_unpin(context)
    }
}

impl futures_util::Sink<Packet> for Script {
    type Error = BoxError;

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn start_send(self: Pin<&mut Self>, _: Packet) -> Result<(), BoxError> {
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }
}

fn socket(packets: impl IntoIterator<Item = Packet>) -> Box<dyn Socket> {
    let packets: Vec<_> = packets.into_iter().map(Ok).collect();
    let said = stream::iter(packets).chain(stream::pending());
    let later = sleep(Duration::from_millis(10)).map(|()| said);
    Box::new(Script(later.flatten_stream().boxed()))
}

/// Sends what it is given, then nothing.
struct Said(VecDeque<Frame>);

impl Source for Said {
    async fn next(&mut self) -> io::Result<Option<Frame>> {
        match self.0.pop_front() {
            Some(frame) => Ok(Some(frame)),
            None => std::future::pending().await,
        }
    }
}

/// An application that takes its time with each frame.
#[derive(Default)]
struct Slow {
    pending: Option<Frame>,
    taken: usize,
}

impl Sink for Slow {
    fn accept(&mut self, frame: Frame) -> io::Result<()> {
        self.pending = Some(frame);
        Ok(())
    }

    async fn flush(&mut self) -> io::Result<Option<Exit>> {
        sleep(Duration::from_millis(1)).await;
        self.taken += 1;
        Ok(match self.pending.take() {
            Some(Frame::Exit(exit)) => Some(exit),
            _ => None,
        })
    }
}

/// Sockets in order, with what the peer says it received; `None` for a refusal.
#[derive(Default)]
struct Sockets(VecDeque<Option<(Box<dyn Socket>, u64)>>);

impl Dial for Sockets {
    type Candidate = (Box<dyn Socket>, u64);

    fn dial(
        &mut self,
        connected: bool,
    ) -> Option<BoxFuture<'static, Result<Self::Candidate, DialError>>> {
        if connected {
            return None;
        }
        let next = self.0.pop_front().expect("no further socket is wanted");
        let next = next.ok_or_else(|| DialError::Refused("no such connection".into()));
        Some(std::future::ready(next).boxed())
    }

    fn attach(
        &mut self,
        (socket, received): Self::Candidate,
        _: u64,
    ) -> BoxFuture<'_, Result<Attachment, DialError>> {
        std::future::ready(Ok(Attachment { socket, received })).boxed()
    }

    fn detached(&mut self, _: &str) {}
}

/// A network without an end.
struct Nowhere;

impl Dial for Nowhere {
    type Candidate = ();

    fn dial(&mut self, connected: bool) -> Option<BoxFuture<'static, Result<(), DialError>>> {
        (!connected).then(|| std::future::pending().boxed())
    }

    fn attach(&mut self, (): (), _: u64) -> BoxFuture<'_, Result<Attachment, DialError>> {
        unreachable!("no socket comes")
    }

    fn detached(&mut self, _: &str) {}
}

const TIMING: Timing = Timing {
    grace: Duration::from_secs(30),
    tick: Duration::from_secs(1),
    silence: Duration::from_secs(6),
};

fn frame(frame: Frame) -> Packet {
    Packet::Frame(frame.encode())
}

fn broken() -> Packet {
    Packet::Close {
        code: 1006,
        reason: String::new(),
    }
}

fn last_words(end: Packet) -> Vec<Packet> {
    let words = (0..20).map(|_| frame(Frame::Stdout("a line".into())));
    words
        .chain([frame(Frame::Exit(Exit::Code(7))), end])
        .collect()
}

/// What a worker said before it ended reaches a slow application, and its own status does, whatever
/// becomes of the socket right after.
#[tokio::test(start_paused = true)]
async fn the_last_words_are_handed_on_though_the_peer_is_gone() {
    let closed = Packet::close_final("the worker has ended");
    for (end, next) in [(closed, vec![]), (broken(), vec![None])] {
        let (mut source, mut sink) = (Said(VecDeque::new()), Slow::default());
        let mut dial = Sockets(next.into());
        let first = socket(last_words(end));
        let result = drive(&mut source, &mut sink, &mut dial, first, 1 << 20, TIMING).await;
        assert_eq!(result.unwrap(), End::Exit(Exit::Code(7)));
        assert_eq!(sink.taken, 21);
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_gives_up_before_its_end_is_an_error() {
    let (mut source, mut sink) = (Said(VecDeque::new()), Slow::default());
    let first = socket([Packet::close_final("why")]);
    let mut dial = Sockets::default();
    let result = drive(&mut source, &mut sink, &mut dial, first, 1 << 20, TIMING).await;
    assert!(matches!(result, Err(LinkError::Closed(why)) if why == "why"));
}

/// The network may hold a resume back until the peer has resumed otherwise and acknowledged more.
#[tokio::test(start_paused = true)]
async fn a_resume_that_comes_late_does_not_end_the_connection() {
    let acknowledge = |count| {
        let note = serde_json::to_string(&Note::Acknowledge(count)).unwrap();
        Packet::Text(note)
    };
    let mut source = Said((0..2).map(|_| Frame::Signal(15)).collect());
    let mut sink = Slow::default();
    let mut dial = Sockets::default();
    dial.0
        .push_back(Some((socket([acknowledge(2), broken()]), 0)));
    dial.0.push_back(Some((socket([]), 1)));
    let exit = frame(Frame::Exit(Exit::Code(0)));
    dial.0.push_back(Some((socket([exit]), 2)));
    let first = socket([broken()]);
    let result = drive(&mut source, &mut sink, &mut dial, first, 1 << 20, TIMING).await;
    assert_eq!(result.unwrap(), End::Exit(Exit::Code(0)));
}

/// Protects hosts from relays whose application is gone, and calls from being given up early.
#[tokio::test(start_paused = true)]
async fn who_leaves_does_not_wait_for_a_peer_that_is_away() {
    for (said, grace) in [
        (vec![], TIMING.grace),
        (vec![Frame::RequestsEnd], LEAVE),
        (vec![Frame::Signal(15)], LEAVE),
    ] {
        let begun = Instant::now();
        let (mut source, mut sink) = (Said(said.into()), Slow::default());
        let first = socket([broken()]);
        let result = drive(&mut source, &mut sink, &mut Nowhere, first, 1 << 20, TIMING).await;
        assert!(matches!(result, Err(LinkError::Lost { .. })));
        let took = begun.elapsed();
        assert!(took >= grace && took < grace + TIMING.tick, "{took:?}");
    }
}

/// Settings and peers name the grace time; the clock ends before some of them.
#[tokio::test(start_paused = true)]
async fn any_grace_time_is_possible() {
    let (mut source, mut sink) = (Said(VecDeque::new()), Slow::default());
    let first = socket([frame(Frame::Exit(Exit::Code(0)))]);
    let timing = Timing::with_grace(Duration::from_secs(u64::MAX));
    let mut dial = Sockets::default();
    let result = drive(&mut source, &mut sink, &mut dial, first, 1 << 20, timing).await;
    assert_eq!(result.unwrap(), End::Exit(Exit::Code(0)));
}

/// Carries what comes, so many bytes a second.
async fn carry(
    mut from: tokio::io::ReadHalf<DuplexStream>,
    mut to: tokio::io::WriteHalf<DuplexStream>,
    a_second: usize,
) {
    let mut bytes = vec![0; a_second / 10];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        sleep(Duration::from_millis(100)).await;
        if to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}

/// Joins two ends, both ways.
async fn slow_line(one: DuplexStream, other: DuplexStream, a_second: usize) {
    let ((from_one, to_one), (from_other, to_other)) =
        (tokio::io::split(one), tokio::io::split(other));
    tokio::join!(
        carry(from_one, to_other, a_second),
        carry(from_other, to_one, a_second)
    );
}

async fn end_of_line(io: DuplexStream, role: Role) -> Box<dyn Socket> {
    let (io, came) = counted(io);
    Box::new(adapt(
        WebSocketStream::from_raw_socket(io, role, None).await,
        came,
    ))
}

/// 8 MiB under 11 Mbit/s: a message that takes longer than a silence may last. The socket is the only
/// one that there is.
#[tokio::test(start_paused = true)]
async fn a_long_message_on_a_slow_line_is_no_silence() {
    for (size, a_second) in [(2 << 20, 100 << 10), (64 << 10, 2 << 10)] {
        let (near, line_near) = duplex(4096);
        let (line_far, far) = duplex(4096);
        tokio::spawn(slow_line(line_near, line_far, a_second));
        let near = end_of_line(near, Role::Client).await;
        let far = end_of_line(far, Role::Server).await;
        let begun = Instant::now();
        let sender = async {
            let long = Frame::Stdout(vec![b'x'; size].into());
            let mut source = Said([long, Frame::Exit(Exit::Code(7))].into());
            let mut sink = Slow::default();
            drive(&mut source, &mut sink, &mut Nowhere, near, 1 << 20, TIMING).await
        };
        let receiver = async {
            let (mut source, mut sink) = (Said(VecDeque::new()), Slow::default());
            drive(&mut source, &mut sink, &mut Nowhere, far, 1 << 20, TIMING).await
        };
        let result = tokio::select! {
            result = receiver => result,
            result = sender => panic!("the sender gave up: {result:?}"),
        };
        assert_eq!(result.unwrap(), End::Exit(Exit::Code(7)));
        assert!(
            begun.elapsed() > TIMING.silence * 3,
            "{:?}",
            begun.elapsed()
        );
    }
}

/// The other side of it: a socket on which no byte comes is given up in time.
#[tokio::test(start_paused = true)]
async fn a_line_that_is_cut_amid_a_message_is_silent() {
    let (near, mut far) = duplex(1 << 20);
    // The head of a frame of 1 MiB (RFC 6455, section 5.2), and not all of the frame.
    far.write_all(&[0x82, 127, 0, 0, 0, 0, 0, 0x10, 0, 0, 1, 2, 3])
        .await
        .unwrap();
    let first = end_of_line(near, Role::Client).await;
    let (mut source, mut sink) = (Said(VecDeque::new()), Slow::default());
    let begun = Instant::now();
    let result = drive(&mut source, &mut sink, &mut Nowhere, first, 1 << 20, TIMING).await;
    assert!(matches!(result, Err(LinkError::Lost { .. })));
    let took = begun.elapsed();
    let limit = TIMING.silence + TIMING.grace;
    assert!(took >= limit && took < limit + TIMING.tick * 3, "{took:?}");
}
