//! What waits for a connection between pods to take it.

use super::note::Note;
use crate::translate::join;
use bytes::Bytes;
use mafalda_link::Frame;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// What may wait, in bytes, before those who have more do so too.
const ROOM: usize = 1024 * 1024;

/// Above this many bytes the other pod is taken for stuck.
const STUCK: usize = 64 * 1024 * 1024;

/// How many bytes of messages go into one frame, if the first is not larger by itself.
const BATCH: usize = 64 * 1024;

/// How long a sender waits for room at most.
const PATIENCE: Duration = Duration::from_secs(10);

/// Notes and messages in their order, from any thread.
#[derive(Default)]
pub struct Queue {
    state: Mutex<State>,
    more: Notify,
    /// The queue has become shorter.
    shorter: Condvar,
    /// As `shorter`, for tasks.
    room: Notify,
}

#[derive(Default)]
struct State {
    items: VecDeque<Item>,
    bytes: usize,
    /// The member that the other side takes messages to be of.
    current: Option<u32>,
    closed: bool,
}

enum Item {
    Note(Note),
    Message(u32, Bytes),
    End,
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a note.
    pub fn note(&self, note: Note) {
        let mut state = self.state();
        if !state.closed {
            state.items.push_back(Item::Note(note));
            self.more.notify_one();
        }
    }

    /// Says that nothing more is wanted of the other side.
    pub fn end(&self) {
        self.state().items.push_back(Item::End);
        self.more.notify_one();
    }

    /// Adds whole messages of a member. False when much waits: wait for room before the next.
    pub fn send(&self, member: u32, messages: Bytes) -> bool {
        let mut state = self.state();
        if state.closed {
            return true;
        }
        state.bytes += messages.len();
        state.items.push_back(Item::Message(member, messages));
        self.more.notify_one();
        state.bytes < ROOM
    }

    /// Whether so much waits that nobody seems to read.
    pub fn is_stuck(&self) -> bool {
        self.state().bytes > STUCK
    }

    /// Drops what waits, and takes nothing more.
    pub fn close(&self) {
        *self.state() = State {
            closed: true,
            ..State::default()
        };
        self.tell();
    }

    fn tell(&self) {
        self.shorter.notify_all();
        self.room.notify_waiters();
    }

    /// Waits until there is room, on a thread; not for ever.
    pub fn wait_for_room(&self) {
        let full = |state: &mut State| state.bytes >= ROOM;
        let waited = self
            .shorter
            .wait_timeout_while(self.state(), PATIENCE, full);
        drop(waited);
    }

    /// Waits until there is room; not for ever.
    pub async fn room(&self) {
        let waiting = async {
            loop {
                let shorter = self.room.notified();
                if self.state().bytes < ROOM {
                    return;
                }
                shorter.await;
            }
        };
        let _ = tokio::time::timeout(PATIENCE, waiting).await;
    }

    /// Waits for the next frame. Cancelling it loses nothing.
    pub async fn next(&self) -> Frame {
        loop {
            let frame = self.state().pop();
            if let Some(frame) = frame {
                self.tell();
                return frame;
            }
            self.more.notified().await;
        }
    }
}

impl State {
    fn pop(&mut self) -> Option<Frame> {
        if let Item::Message(member, _) = self.items.front()? {
            let member = *member;
            if self.current == Some(member) {
                return Some(Frame::Channel(self.pop_messages()));
            }
            self.current = Some(member);
            return Some(Note::Member(member).frame());
        }
        match self.items.pop_front()? {
            Item::Note(note) => Some(note.frame()),
            Item::End => Some(Frame::RequestsEnd),
            Item::Message(..) => None,
        }
    }

    /// The messages in front, of one member, as far as they fit into one frame.
    fn pop_messages(&mut self) -> Bytes {
        let mut parts: Vec<Bytes> = Vec::new();
        let mut bytes = 0;
        while let Some(Item::Message(member, next)) = self.items.front()
            && self.current == Some(*member)
            && (parts.is_empty() || bytes + next.len() <= BATCH)
        {
            bytes += next.len();
            parts.push(next.clone());
            self.items.pop_front();
        }
        self.bytes -= bytes;
        join(&parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(byte: u8) -> Bytes {
        Bytes::from(vec![1, 0, 0, 0, byte])
    }

    #[tokio::test]
    async fn a_member_is_named_once_and_its_messages_share_a_frame() {
        let queue = Queue::default();
        queue.send(1, message(1));
        queue.send(1, message(2));
        queue.send(2, message(3));
        queue.note(Note::Attach(7));
        queue.send(2, message(4));
        let joined = Bytes::from([message(1), message(2)].concat());
        for expected in [
            Note::Member(1).frame(),
            Frame::Channel(joined),
            Note::Member(2).frame(),
            Frame::Channel(message(3)),
            Note::Attach(7).frame(),
            Frame::Channel(message(4)),
        ] {
            assert_eq!(queue.next().await, expected);
        }
    }

    #[tokio::test]
    async fn who_sends_much_waits_until_it_is_taken() {
        let queue = std::sync::Arc::new(Queue::default());
        assert!(queue.send(1, message(0)));
        assert!(!queue.send(1, vec![0; ROOM].into()));
        let waiting = queue.clone();
        let thread = tokio::task::spawn_blocking(move || waiting.wait_for_room());
        while queue.state().bytes > 0 {
            queue.next().await;
        }
        thread.await.unwrap();
        queue.room().await;
        queue.close();
        assert!(
            queue.send(1, vec![0; 2 * ROOM].into()),
            "nobody waits for one that is closed"
        );
    }
}
