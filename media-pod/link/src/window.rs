//! The pure state of one end of a connection: which frames are under way, which came.

use bytes::Bytes;
use std::collections::VecDeque;

/// The peer said something that cannot be.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    /// It counts a frame that was never sent, or one it had acknowledged before.
    #[error("the peer counts {said} frames; between {acknowledged} and {sent} are possible")]
    Count {
        /// What it said.
        said: u64,
        /// What it acknowledged before.
        acknowledged: u64,
        /// How many were sent.
        sent: u64,
    },
    /// It sent more than the window allows without waiting for acknowledgement.
    #[error("the peer has {held} bytes unacknowledged; its window is {window}")]
    Overrun {
        /// Bytes received and not yet acknowledged.
        held: usize,
        /// The bound, in bytes.
        window: usize,
    },
}

/// One end of a connection. State only: it neither sends nor waits.
///
/// # Guarantees
/// - A frame is kept until the peer acknowledges it, and sent again after each resume that the peer
///   did not receive it before: with one [`Window`] at each end, frames arrive once and in order.
/// - Both directions hold at most `window` bytes and one frame more.
#[derive(Debug)]
pub struct Window {
    /// The bound on unacknowledged bytes in either direction.
    window: usize,
    /// Sent, not acknowledged; the front has number `acknowledged + 1`.
    unacknowledged: VecDeque<Bytes>,
    unacknowledged_bytes: usize,
    acknowledged: u64,
    /// Frames received, and those of them handed on.
    received: u64,
    received_bytes: usize,
    /// Sizes of frames received and not handed on yet.
    waiting: VecDeque<usize>,
    /// The count in the last acknowledgement made, and bytes handed on since.
    acknowledgement: u64,
    handed_on_bytes: usize,
}

impl Window {
    /// A new end that holds at most `window` bytes, in each direction.
    pub fn new(window: usize) -> Self {
        Self {
            window,
            unacknowledged: VecDeque::new(),
            unacknowledged_bytes: 0,
            acknowledged: 0,
            received: 0,
            received_bytes: 0,
            waiting: VecDeque::new(),
            acknowledgement: 0,
            handed_on_bytes: 0,
        }
    }

    /// Whether nothing may be sent until the peer acknowledges something.
    pub fn is_full(&self) -> bool {
        self.unacknowledged_bytes >= self.window
    }

    /// Whether the peer has acknowledged all that was sent.
    pub fn is_settled(&self) -> bool {
        self.unacknowledged.is_empty()
    }

    /// Bytes sent and not acknowledged.
    pub fn unacknowledged_bytes(&self) -> usize {
        self.unacknowledged_bytes
    }

    /// Numbers and keeps a frame that is being sent.
    pub fn send(&mut self, frame: Bytes) {
        self.unacknowledged_bytes += frame.len();
        self.unacknowledged.push_back(frame);
    }

    fn sent(&self) -> u64 {
        self.acknowledged + self.unacknowledged.len() as u64
    }

    /// The peer has handed on all frames up to number `count`.
    pub fn on_acknowledgement(&mut self, count: u64) -> Result<(), WindowError> {
        let acknowledged = self.acknowledged;
        if count < acknowledged || count > self.sent() {
            return Err(WindowError::Count {
                said: count,
                acknowledged,
                sent: self.sent(),
            });
        }
        for frame in self.unacknowledged.drain(..(count - acknowledged) as usize) {
            self.unacknowledged_bytes -= frame.len();
        }
        self.acknowledged = count;
        Ok(())
    }

    /// A frame of `length` bytes came; it waits to be handed on.
    pub fn on_frame(&mut self, length: usize) -> Result<(), WindowError> {
        // What is handed on counts until the peer knows of it.
        let held = self.received_bytes + self.handed_on_bytes;
        if held >= self.window {
            return Err(WindowError::Overrun {
                held,
                window: self.window,
            });
        }
        self.received += 1;
        self.received_bytes += length;
        self.waiting.push_back(length);
        Ok(())
    }

    /// The oldest waiting frame was handed on.
    pub fn on_handed_on(&mut self) {
        if let Some(length) = self.waiting.pop_front() {
            self.received_bytes -= length;
            self.handed_on_bytes += length;
        }
    }

    /// How many frames came, which a resume tells the peer.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// The count to acknowledge now, when so much was handed on that the peer may wait for it.
    pub fn due_acknowledgement(&mut self) -> Option<u64> {
        (self.handed_on_bytes >= self.window / 8)
            .then(|| self.acknowledgement())
            .flatten()
    }

    /// The count to acknowledge, when it is a new one.
    pub fn acknowledgement(&mut self) -> Option<u64> {
        let handed_on = self.received - self.waiting.len() as u64;
        if handed_on == self.acknowledgement {
            return None;
        }
        self.acknowledgement = handed_on;
        self.handed_on_bytes = 0;
        Some(handed_on)
    }

    /// The socket is a new one and the peer has received `count` frames: what to send again.
    ///
    /// The last acknowledgement may be lost too, so the next one is made anew.
    pub fn resume(&mut self, count: u64) -> Result<impl Iterator<Item = Bytes>, WindowError> {
        let (acknowledged, sent) = (self.acknowledged, self.sent());
        if count < acknowledged || count > sent {
            return Err(WindowError::Count {
                said: count,
                acknowledged,
                sent,
            });
        }
        self.acknowledgement = 0;
        let again = self
            .unacknowledged
            .iter()
            .skip((count - acknowledged) as usize);
        Ok(again.cloned().collect::<Vec<_>>().into_iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(number: u64) -> Bytes {
        Bytes::from(number.to_le_bytes().to_vec())
    }

    #[test]
    fn a_full_window_opens_with_an_acknowledgement() {
        let mut end = Window::new(16);
        end.send(frame(1));
        assert!(!end.is_full());
        end.send(frame(2));
        assert!(end.is_full());
        end.on_acknowledgement(1).unwrap();
        assert!(!end.is_full());
        assert_eq!(end.unacknowledged_bytes(), 8);
    }

    #[test]
    fn impossible_counts_are_refused() {
        let mut end = Window::new(16);
        end.send(frame(1));
        end.send(frame(2));
        end.on_acknowledgement(1).unwrap();
        for said in [0, 3, u64::MAX] {
            assert!(end.on_acknowledgement(said).is_err());
            assert!(end.resume(said).is_err());
        }
    }

    #[test]
    fn a_peer_that_ignores_the_window_is_refused() {
        let mut end = Window::new(16);
        end.on_frame(8).unwrap();
        end.on_frame(80).unwrap(); // one may go over
        assert_eq!(
            end.on_frame(1),
            Err(WindowError::Overrun {
                held: 88,
                window: 16
            })
        );
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Send,
        Carry,
        HandOn,
        Acknowledge,
        Break,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => Just(Step::Send),
            4 => Just(Step::Carry),
            4 => Just(Step::HandOn),
            1 => Just(Step::Acknowledge),
            1 => Just(Step::Break),
        ]
    }

    proptest! {
        /// One direction under any interleaving of sending, delivery, acknowledgement and breaks:
        /// every frame arrives once, in order, and neither end holds more than its bound.
        #[test]
        fn frames_arrive_once_and_in_order(steps in prop::collection::vec(step(), 1..400)) {
            const WINDOW: usize = 64;
            let (mut sender, mut receiver) = (Window::new(WINDOW), Window::new(WINDOW));
            let mut wire: VecDeque<Bytes> = VecDeque::new();
            let mut notes: VecDeque<u64> = VecDeque::new();
            let (mut next, mut queue, mut seen) = (0, VecDeque::new(), Vec::new());
            for step in steps.into_iter().chain([Step::Break]) {
                match step {
                    Step::Send if !sender.is_full() => {
                        next += 1;
                        sender.send(frame(next));
                        wire.push_back(frame(next));
                    }
                    Step::Carry => {
                        if let Some(frame) = wire.pop_front() {
                            receiver.on_frame(frame.len()).unwrap();
                            queue.push_back(frame);
                        }
                        if let Some(count) = notes.pop_front() {
                            sender.on_acknowledgement(count).unwrap();
                        }
                    }
                    Step::HandOn => {
                        if let Some(frame) = queue.pop_front() {
                            seen.push(frame);
                            receiver.on_handed_on();
                            notes.extend(receiver.due_acknowledgement());
                        }
                    }
                    Step::Acknowledge => notes.extend(receiver.acknowledgement()),
                    Step::Break => {
                        wire.clear();
                        notes.clear();
                        wire.extend(sender.resume(receiver.received()).unwrap());
                        prop_assert_eq!(receiver.resume(0).unwrap().count(), 0);
                    }
                    Step::Send => {}
                }
                prop_assert!(sender.unacknowledged_bytes() <= WINDOW + 8);
            }
            while let Some(frame) = wire.pop_front() {
                receiver.on_frame(frame.len()).unwrap();
                queue.push_back(frame);
                seen.extend(queue.drain(..).inspect(|_| receiver.on_handed_on()));
            }
            seen.extend(queue);
            prop_assert_eq!(seen, (1..=next).map(frame).collect::<Vec<_>>());
        }
    }
}
