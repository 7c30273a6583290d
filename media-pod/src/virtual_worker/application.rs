//! The way to an application: never waits, and never keeps more than it may.

use crate::members::Outbox;
use bytes::{Bytes, BytesMut};
use mafalda_channel::fbs::notification::Event;
use mafalda_channel::{Message, messages, view};
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Above this many bytes media on direct transports is dropped, as a network would.
const DROP_MEDIA: usize = 8 * 1024 * 1024;

/// Above this many bytes the application is taken for stuck.
const STUCK: usize = 64 * 1024 * 1024;

/// How many bytes of messages go into one frame, if the first is not larger by itself.
const BATCH: usize = 64 * 1024;

/// Where an application's messages go.
pub enum Application {
    /// Into frames of its connection.
    Frames(FrameQueue),
    /// To its own end of the channel.
    Local(Outbox),
}

impl Drop for Application {
    fn drop(&mut self) {
        if let Self::Local(outbox) = self {
            outbox.close();
        }
    }
}

impl Application {
    /// Sends whole messages. False when the application has not read for so long that it must go.
    pub fn send(&self, mut batch: Bytes) -> bool {
        if batch.is_empty() {
            return true;
        }
        let backlog = self.backlog();
        if backlog > STUCK {
            return false;
        }
        if backlog > DROP_MEDIA {
            batch = without_media(&batch);
        }
        match self {
            Self::Frames(queue) => queue.push(batch),
            Self::Local(outbox) => {
                outbox.send(batch);
            }
        }
        true
    }

    /// Lets go of what waits, and takes nothing any more.
    pub fn abandon(&self) {
        match self {
            Self::Frames(queue) => queue.abandon(),
            Self::Local(outbox) => outbox.close(),
        }
    }

    /// The next messages for a frame; pending for ever where they do not go by frames.
    pub async fn next(&self) -> Bytes {
        match self {
            Self::Frames(queue) => queue.next().await,
            Self::Local(_) => std::future::pending().await,
        }
    }

    /// Waits until all that does not go by frames was taken; not for ever.
    pub async fn flushed(&self) {
        if let Self::Local(outbox) = self {
            outbox.flushed().await;
        }
    }

    fn backlog(&self) -> usize {
        match self {
            Self::Frames(queue) => queue.queue().bytes,
            Self::Local(outbox) => outbox.backlog(),
        }
    }
}

/// Messages that wait for a connection to take them.
#[derive(Default)]
pub struct FrameQueue {
    queue: Mutex<Queue>,
    more: Notify,
}

#[derive(Default)]
struct Queue {
    /// Whole messages each.
    batches: VecDeque<Bytes>,
    /// Of all batches.
    bytes: usize,
    /// Nothing is taken any more.
    abandoned: bool,
}

impl FrameQueue {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, batch: Bytes) {
        let mut queue = self.queue();
        if queue.abandoned {
            return;
        }
        queue.bytes += batch.len();
        queue.batches.push_back(batch);
        self.more.notify_one();
    }

    fn abandon(&self) {
        *self.queue() = Queue {
            abandoned: true,
            ..Queue::default()
        };
    }

    /// What waits, as far as it fits into one frame.
    fn pop(&self) -> Option<Bytes> {
        let mut queue = self.queue();
        let first = queue.batches.pop_front()?;
        queue.bytes -= first.len();
        if queue.batches.is_empty() {
            return Some(first);
        }
        let mut joined = BytesMut::from(first);
        while let Some(next) = queue.batches.front()
            && joined.len() + next.len() <= BATCH
        {
            joined.extend_from_slice(next);
            queue.bytes -= next.len();
            queue.batches.pop_front();
        }
        Some(joined.freeze())
    }

    /// Waits for the next messages. Cancelling it loses nothing.
    async fn next(&self) -> Bytes {
        loop {
            if let Some(batch) = self.pop() {
                return batch;
            }
            self.more.notified().await;
        }
    }
}

/// The batch without packets of media.
fn without_media(batch: &Bytes) -> Bytes {
    let is_media = |message: &Bytes| {
        matches!(
            view(message),
            Ok(Message::Notification(notification)) if matches!(
                notification.event,
                Event::ConsumerRtp | Event::DirecttransportRtcp
            )
        )
    };
    let kept: Vec<Bytes> = messages(batch)
        .flatten()
        .filter(|message| !is_media(message))
        .collect();
    crate::translate::join(&kept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mafalda_channel::encode_notification;
    use mafalda_channel::fbs::notification::Notification;

    fn event(event: Event) -> Bytes {
        encode_notification(&Notification {
            handler_id: "consumer".to_owned(),
            event,
            body: None,
        })
    }

    fn events(batch: &Bytes) -> Vec<Event> {
        let event = |message: Bytes| match view(&message) {
            Ok(Message::Notification(notification)) => notification.event,
            other => panic!("{other:?}"),
        };
        messages(batch).flatten().map(event).collect()
    }

    #[test]
    fn an_application_that_is_late_misses_media_and_nothing_else() {
        let application = Application::Frames(FrameQueue::default());
        let Application::Frames(queue) = &application else {
            panic!()
        };
        let both =
            crate::translate::join(&[event(Event::ConsumerRtp), event(Event::ConsumerScore)]);
        assert!(application.send(both.clone()));
        assert_eq!(events(&queue.pop().unwrap()).len(), 2);
        queue.push(vec![0; DROP_MEDIA + 1].into());
        assert!(application.send(both));
        queue.pop();
        assert_eq!(events(&queue.pop().unwrap()), [Event::ConsumerScore]);
    }

    #[test]
    fn one_that_reads_nothing_must_go() {
        let queue = FrameQueue::default();
        queue.push(vec![0; STUCK + 1].into());
        let application = Application::Frames(queue);
        assert!(!application.send(event(Event::ConsumerScore)));
        // Protects the pod's memory from those that stay and read nothing.
        application.abandon();
        assert_eq!(application.backlog(), 0);
        assert!(application.send(event(Event::ConsumerScore)));
        assert_eq!(application.backlog(), 0);
    }

    #[tokio::test]
    async fn small_batches_share_a_frame() {
        let queue = FrameQueue::default();
        let message = event(Event::ConsumerScore);
        (0..3).for_each(|_| queue.push(message.clone()));
        assert_eq!(events(&queue.next().await).len(), 3);
        assert_eq!(queue.pop(), None);
    }
}
