//! Writes that never wait: what a socket does not take at once is kept until it does.

use bytes::{Buf, Bytes};
use std::collections::VecDeque;
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::Interest;
use tokio::sync::Notify;

/// What may be kept, in bytes, before those who wait for room do so.
const ROOM: usize = 1024 * 1024;

/// How long a sender waits for room at most; longer and the receiver is stuck.
const PATIENCE: Duration = Duration::from_secs(10);

/// The sending half of a socket, for any thread. Dropped by all, it closes.
#[derive(Clone)]
pub struct Outbox(Arc<Inner>);

struct Inner {
    socket: UnixStream,
    queue: Mutex<Queue>,
    /// The queue has become shorter.
    shorter: Condvar,
    /// As `shorter`, for tasks.
    room: Notify,
    /// There is something to write behind the socket's back.
    work: Notify,
}

#[derive(Default)]
struct Queue {
    messages: VecDeque<Bytes>,
    bytes: usize,
    closed: bool,
    /// When the socket took something last, while it has not taken all.
    since: Option<Instant>,
}

impl Outbox {
    /// Of a socket; must be called within a tokio runtime.
    ///
    /// # Errors
    /// The system gives no descriptor.
    pub fn new(socket: UnixStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let waiting = tokio::net::UnixStream::from_std(socket.try_clone()?)?;
        let outbox = Self(Arc::new(Inner {
            socket,
            queue: Mutex::default(),
            shorter: Condvar::new(),
            room: Notify::new(),
            work: Notify::new(),
        }));
        tokio::spawn(outbox.clone().drain(waiting));
        Ok(outbox)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends after what was sent before. False when much is kept: wait for room before the next.
    ///
    /// A receiver that is gone takes nothing, and says so elsewhere.
    pub fn send(&self, mut message: Bytes) -> bool {
        let mut queue = self.queue();
        if queue.closed {
            return true;
        }
        while queue.messages.is_empty() && message.has_remaining() {
            match (&self.0.socket).write(&message) {
                Ok(count) => message.advance(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => {
                    self.close_locked(&mut queue);
                    return true;
                }
            }
        }
        if message.has_remaining() {
            queue.bytes += message.len();
            queue.messages.push_back(message);
            queue.since.get_or_insert_with(Instant::now);
            self.0.work.notify_one();
        }
        queue.bytes < ROOM
    }

    /// How many bytes are kept.
    pub fn backlog(&self) -> usize {
        self.queue().bytes
    }

    /// Since when the socket has taken nothing of what is kept.
    pub fn stuck_since(&self) -> Option<Instant> {
        self.queue().since
    }

    /// Waits, as a thread, until less than [`ROOM`] is kept; not for ever.
    pub fn wait_for_room(&self) {
        let deadline = Instant::now() + PATIENCE;
        let mut queue = self.queue();
        while queue.bytes >= ROOM && !queue.closed {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let waited = self.0.shorter.wait_timeout(queue, left);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits, as a task, until less than [`ROOM`] is kept; not for ever.
    pub async fn room(&self) {
        self.below(ROOM).await;
    }

    /// Waits until all is sent; not for ever.
    pub async fn flushed(&self) {
        self.below(1).await;
    }

    async fn below(&self, bytes: usize) {
        let waiting = async {
            loop {
                let shorter = self.0.room.notified();
                {
                    let queue = self.queue();
                    if queue.bytes < bytes || queue.closed {
                        return;
                    }
                }
                shorter.await;
            }
        };
        let _ = tokio::time::timeout(PATIENCE, waiting).await;
    }

    /// Ends it: the receiver reads its end, and nothing more is sent.
    pub fn close(&self) {
        self.close_locked(&mut self.queue());
    }

    fn close_locked(&self, queue: &mut Queue) {
        *queue = Queue {
            closed: true,
            ..Queue::default()
        };
        // One whose other end is gone is closed already.
        let _ = self.0.socket.shutdown(std::net::Shutdown::Write);
        self.tell();
        self.0.work.notify_one();
    }

    fn tell(&self) {
        self.0.shorter.notify_all();
        self.0.room.notify_waiters();
    }

    /// Writes what is kept, whenever the socket takes it.
    async fn drain(self, waiting: tokio::net::UnixStream) {
        loop {
            self.0.work.notified().await;
            loop {
                {
                    let queue = self.queue();
                    if queue.closed {
                        return;
                    }
                    if queue.messages.is_empty() {
                        break;
                    }
                }
                if waiting.writable().await.is_err() {
                    return;
                }
                // One that takes no more for now is waited for again.
                let _ = waiting.try_io(Interest::WRITABLE, || self.write_kept());
            }
        }
    }

    /// Writes until nothing is left, or until the socket takes no more ([`io::ErrorKind::WouldBlock`]).
    fn write_kept(&self) -> io::Result<()> {
        let mut guard = self.queue();
        let queue = &mut *guard;
        let result = loop {
            let Some(message) = queue.messages.front_mut() else {
                queue.since = None;
                break Ok(());
            };
            match (&self.0.socket).write(message) {
                Ok(count) => {
                    message.advance(count);
                    if !message.has_remaining() {
                        queue.messages.pop_front();
                    }
                    queue.bytes -= count;
                    queue.since = Some(Instant::now());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Err(error),
                Err(_) => {
                    self.close_locked(queue);
                    break Ok(());
                }
            }
        };
        drop(guard);
        self.tell();
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    /// More than a socket takes at once.
    const LARGE: usize = 3 * ROOM;

    fn pattern(length: usize) -> Vec<u8> {
        (0..length).map(|place| (place % 251) as u8).collect()
    }

    #[tokio::test]
    async fn what_a_slow_receiver_does_not_take_is_kept_in_order() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let outbox = Outbox::new(ours).unwrap();
        let sent = pattern(LARGE);
        for part in sent.chunks(100_000) {
            outbox.send(Bytes::copy_from_slice(part));
        }
        assert!(outbox.backlog() > ROOM && outbox.stuck_since().is_some());
        let reader = tokio::task::spawn_blocking(move || {
            let mut received = vec![0; LARGE];
            theirs
                .read_exact(&mut received)
                .map(|()| (received, theirs))
        });
        outbox.room().await;
        outbox.flushed().await;
        let (received, mut theirs) = reader.await.unwrap().unwrap();
        assert!(received == sent);
        assert_eq!((outbox.backlog(), outbox.stuck_since()), (0, None));
        outbox.close();
        assert_eq!(theirs.read(&mut [0]).unwrap(), 0, "its end");
    }

    #[tokio::test]
    async fn a_thread_waits_until_there_is_room() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let outbox = Outbox::new(ours).unwrap();
        outbox.send(pattern(LARGE).into());
        let waiting = outbox.clone();
        let thread = tokio::task::spawn_blocking(move || {
            waiting.wait_for_room();
            waiting.backlog()
        });
        let reader = tokio::task::spawn_blocking(move || theirs.read_exact(&mut vec![0; LARGE]));
        assert!(thread.await.unwrap() < ROOM);
        reader.await.unwrap().unwrap();
        outbox.close();
    }

    #[tokio::test]
    async fn a_receiver_that_is_gone_takes_nothing() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let outbox = Outbox::new(ours).unwrap();
        outbox.send(pattern(LARGE).into());
        drop(theirs);
        outbox.flushed().await;
        outbox.send(Bytes::from_static(b"late"));
        assert_eq!(outbox.backlog(), 0);
    }
}
