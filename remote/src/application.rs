//! The application's side of a connection: what it says to its worker, and what it hears.

use crate::border::Requests;
use crate::workers::{self, Running};
use bytes::{BufMut, Bytes, BytesMut};
use mafalda_link::{Exit, Frame, Sink, Source, frame};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

/// How many bytes of whole messages go into one frame, if the first is not larger by itself.
const BATCH: usize = 64 * 1024;

/// Bytes of the size before a message.
const PREFIX: usize = 4;

/// The application's messages as frames.
pub struct FromApplication {
    requests: Requests,
    running: Arc<Running>,
    /// The largest message, with its size.
    largest: usize,
    batch: usize,
    /// A message that did not fit into the last frame.
    held: BytesMut,
}

impl FromApplication {
    /// `max_frame` is the largest frame the pod takes, in bytes.
    pub fn new(requests: Requests, running: Arc<Running>, max_frame: usize) -> Self {
        Self {
            requests,
            running,
            largest: max_frame.min(PREFIX + frame::MAX_CHANNEL_SIZE as usize),
            batch: BATCH.min(max_frame),
            held: BytesMut::new(),
        }
    }

    /// What the application has to say now. The crate's messages have no size before them, a
    /// frame's have: this is the one time that they are copied.
    fn next_batch(&mut self) -> io::Result<Option<Bytes>> {
        let mut batch = std::mem::take(&mut self.held);
        let (largest, limit, held) = (self.largest, self.batch, &mut self.held);
        while batch.len() < limit {
            let taken = self.requests.next(self.running.id(), |message| {
                let size = PREFIX + message.len();
                if size > largest {
                    return Err(too_large(size, largest));
                }
                let fits = batch.is_empty() || batch.len() + size <= limit;
                let buffer = if fits { &mut batch } else { &mut *held };
                buffer.reserve(size);
                buffer.put_u32_le(message.len() as u32);
                buffer.put_slice(message);
                Ok(fits)
            });
            match taken.transpose()? {
                Some(true) => {}
                Some(false) | None => break,
            }
        }
        Ok((!batch.is_empty()).then(|| batch.freeze()))
    }

    /// Waits until the application has something to say. Cancelling it loses nothing.
    ///
    /// # Errors
    /// The program ends, or it says what the pod would not take.
    pub async fn batch(&mut self) -> io::Result<Bytes> {
        loop {
            if let Some(batch) = self.next_batch()? {
                return Ok(batch);
            }
            if workers::program_ends() {
                return Err(io::Error::other("the application has ended"));
            }
            self.running.woken().await;
        }
    }
}

fn too_large(size: usize, largest: usize) -> io::Error {
    io::Error::other(format!(
        "the application sends a message of {size} bytes; the pod takes at most {largest}"
    ))
}

impl Source for FromApplication {
    async fn next(&mut self) -> io::Result<Option<Frame>> {
        Ok(Some(Frame::Channel(self.batch().await?)))
    }
}

/// What the worker says, on its way out of the runtime.
#[derive(Clone, Default)]
pub struct Outbox(Arc<Mutex<VecDeque<Frame>>>);

impl Outbox {
    fn frames(&self) -> MutexGuard<'_, VecDeque<Frame>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn put(&self, frame: Frame) {
        self.frames().push_back(frame);
    }

    pub fn take(&self) -> Option<Frame> {
        self.frames().pop_front()
    }

    /// Waits until all that was put was taken. Who takes it polls us again.
    pub async fn emptied(&self) {
        poll_fn(|_| match self.frames().is_empty() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
    }
}

/// The worker's words, for whoever empties the outbox.
pub struct ToApplication {
    outbox: Outbox,
    exit: Option<Exit>,
}

impl ToApplication {
    pub fn new(outbox: Outbox) -> Self {
        Self { outbox, exit: None }
    }
}

impl Sink for ToApplication {
    fn accept(&mut self, frame: Frame) -> io::Result<()> {
        match &frame {
            Frame::Exit(exit) => self.exit = Some(*exit),
            Frame::Channel(batch) => check_messages(batch)?,
            Frame::Stdout(_) | Frame::Stderr(_) => {}
            Frame::Signal(_) | Frame::RequestsEnd | Frame::Lending(_) => {
                return Err(invalid("the pod sends a frame that only applications send"));
            }
        }
        self.outbox.put(frame);
        Ok(())
    }

    async fn flush(&mut self) -> io::Result<Option<Exit>> {
        self.outbox.emptied().await;
        Ok(self.exit)
    }
}

/// The messages of a frame, each with its size before it, up to what is no whole message.
pub fn messages(mut batch: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let size = u32::from_le_bytes(*batch.first_chunk()?) as usize;
        let message = batch.get(..PREFIX.checked_add(size)?)?;
        batch = &batch[message.len()..];
        (size > 0).then_some(message)
    })
}

/// How many bytes of whole messages there are at the beginning.
pub fn whole(bytes: &[u8]) -> usize {
    messages(bytes).map(<[u8]>::len).sum()
}

fn check_messages(batch: &[u8]) -> io::Result<()> {
    match whole(batch) == batch.len() {
        true => Ok(()),
        false => Err(invalid("the pod sends bytes that are not whole messages")),
    }
}

fn invalid(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::border::tests::{Queue, requests};

    fn sized(message: &[u8]) -> Vec<u8> {
        [&(message.len() as u32).to_le_bytes(), message].concat()
    }

    /// What one call after the other makes of the messages, for a pod that takes `max_frame` bytes.
    fn batches(messages: &[Vec<u8>], max_frame: usize) -> io::Result<Vec<Bytes>> {
        let mut queue = Queue::default();
        queue.messages.extend(messages.iter().cloned());
        let running = Arc::new(Running::new());
        let mut source = FromApplication::new(requests(&mut queue), running, max_frame);
        std::iter::from_fn(|| source.next_batch().transpose()).collect()
    }

    #[test]
    fn messages_go_together_as_far_as_they_fit() {
        let messages = [vec![1; 6], vec![2; 5], vec![3; 12], vec![4; 16], vec![5]];
        let [a, b, c, d, e] = messages.each_ref().map(|message| sized(message));
        let batches = batches(&messages, 20).unwrap();
        assert_eq!(batches, [[a, b].concat(), c, d, e]);
    }

    #[test]
    fn a_message_that_the_pod_would_not_take_is_an_error() {
        assert!(batches(&[vec![0; 16]], 20).is_ok());
        let error = batches(&[vec![0; 17]], 20).unwrap_err();
        assert!(error.to_string().contains("21 bytes"), "{error}");
    }

    #[test]
    fn messages_keep_their_sizes() {
        let batch = [1, 0, 0, 0, 7, 2, 0, 0, 0, 8, 9];
        assert!(check_messages(&batch).is_ok());
        let found: Vec<_> = messages(&batch).collect();
        assert_eq!(found, [&[1, 0, 0, 0, 7][..], &[2, 0, 0, 0, 8, 9]]);
    }

    #[test]
    fn bytes_that_are_not_whole_messages_are_an_error() {
        for bytes in [&[1][..], &[0, 0, 0, 0], &[2, 0, 0, 0, 1], &[255; 9]] {
            assert!(check_messages(bytes).is_err());
            assert_eq!(messages(bytes).count(), 0);
        }
    }
}
