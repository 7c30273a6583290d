//! Answers that wait until a pipe can carry what they promise, and all that follows them on the same
//! transport.

use super::{Action, VirtualWorker};
use crate::messages::refusal;
use crate::refusal::Refusal;
use crate::state::{Held, Id, PairKey, Readiness, Told, Wait};
use bytes::Bytes;
use mafalda_channel::encode_response;
use std::time::Duration;

/// How long an answer waits for a pipe at most.
const HOLD: Duration = Duration::from_secs(2);

impl VirtualWorker {
    /// Behind what is held of the same transport.
    pub(super) fn tell(
        &mut self,
        lane: Option<&str>,
        message: Bytes,
        about: Option<(Id, Option<u32>)>,
    ) {
        if let Some(transport) = lane.and_then(|lane| self.state.transport(lane))
            && !transport.waits.is_empty()
        {
            transport.held.push(Held { message, about });
        } else {
            self.actions.push(Action::ToApplication(message));
        }
    }

    /// A member made the consumer.
    pub(super) fn consumer_accepted(&mut self, id: &Id, request: u32, message: Bytes) {
        let Some(consumer) = self.state.consumer(id) else {
            self.tell(None, message, None);
            return;
        };
        let lane = consumer.transport.clone();
        // Without its producer it has nothing to wait for: that pipe may never carry anything.
        let is_fed = consumer.producer.is_some();
        if let Told::Nothing(waits) = std::mem::replace(&mut consumer.told, Told::Held)
            && is_fed
        {
            waits.into_iter().for_each(|wait| self.hold(&lane, wait));
        }
        let transport = self.state.transport(&lane);
        let waits = transport.is_some_and(|transport| !transport.waits.is_empty());
        if !waits && let Some(consumer) = self.state.consumer(id) {
            consumer.told = Told::Accepted;
        }
        self.tell(Some(&lane), message, Some((id.clone(), Some(request))));
    }

    fn hold(&mut self, lane: &Id, wait: Wait) {
        let Some(pair) = self.state.pairs.get_mut(&wait.key) else {
            return;
        };
        if pair.is_ready(wait.readiness) {
            return;
        }
        pair.waiting.push(lane.clone());
        if let Some(transport) = self.state.transport(lane) {
            transport.waits.insert(wait);
        }
    }

    /// Lets go what waits for what a pipe can do now.
    pub(super) fn release_ready(&mut self, key: &PairKey) {
        let Some(pair) = self.state.pairs.get(key) else {
            return;
        };
        let (rtp, sctp) = (pair.rtp, pair.sctp);
        self.release_if(key, |readiness| match readiness {
            Readiness::Rtp => rtp,
            Readiness::Sctp => sctp,
        });
    }

    /// Lets go what waits for a pipe, ready or not.
    pub(super) fn release(&mut self, key: &PairKey) {
        self.release_if(key, |_| true);
    }

    fn release_if(&mut self, key: &PairKey, over: impl Fn(Readiness) -> bool) {
        let Some(pair) = self.state.pairs.get_mut(key) else {
            return;
        };
        let mut still = Vec::new();
        for lane in std::mem::take(&mut pair.waiting) {
            let Some(transport) = self.state.transport(&lane) else {
                continue;
            };
            transport
                .waits
                .retain(|w| w.key != *key || !over(w.readiness));
            if transport.waits.iter().any(|wait| wait.key == *key) {
                still.push(lane);
            } else if transport.waits.is_empty() {
                self.flush(&lane);
            }
        }
        if let Some(pair) = self.state.pairs.get_mut(key) {
            pair.waiting.extend(still);
        }
    }

    /// Lets go what waits too long.
    pub(super) fn release_late(&mut self) {
        let now = self.now;
        let pairs = self.state.pairs.iter();
        let late = pairs.filter(|(_, p)| !p.waiting.is_empty() && p.since + HOLD <= now);
        let late: Vec<PairKey> = late.map(|(key, _)| key.clone()).collect();
        late.iter().for_each(|key| self.release(key));
    }

    /// Lets go what is held of a transport.
    pub(super) fn flush(&mut self, transport: &str) {
        let Some(transport) = self.state.transport(transport) else {
            return;
        };
        transport.waits.clear();
        for held in std::mem::take(&mut transport.held) {
            if let Some((consumer, Some(_))) = &held.about
                && let Some(consumer) = self.state.consumer(consumer)
                && matches!(consumer.told, Told::Held)
            {
                consumer.told = Told::Accepted;
            }
            self.actions.push(Action::ToApplication(held.message));
        }
    }

    /// Media has no way to a consumer that the application has not heard of: it hears a refusal, and
    /// of nothing that the member said.
    pub(super) fn refuse_consumer(&mut self, id: &Id, producer: &Id) {
        let Some(consumer) = self.state.consumer(id) else {
            return;
        };
        let (lane, data) = (consumer.transport.clone(), consumer.data);
        let held = matches!(consumer.told, Told::Held);
        consumer.told = Told::Refused(producer.clone());
        if !held {
            return;
        }
        let Some(transport) = self.state.transport(&lane) else {
            return;
        };
        let reason = Refusal::no_producer(producer, data);
        transport.held.retain_mut(|held| match &held.about {
            Some((about, request)) if about == id => {
                if let Some(request) = request {
                    held.message = encode_response(&refusal(*request, reason.clone()));
                }
                request.is_some()
            }
            _ => true,
        });
    }
}
