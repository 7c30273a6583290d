//! Copies of producers on other members.

use super::VirtualWorker;
use crate::messages::Ask;
use crate::recipe::{Recipe, consume_data, produce_data};
use crate::state::{
    Kind, MemberId, Pair, PairKey, Producer, ProducerCopy, Purpose, Readiness, Route,
};
use std::collections::HashSet;

impl Producer {
    /// The members to which the application's own messages are repeated.
    pub fn repeats(&self) -> impl Iterator<Item = MemberId> {
        let repeats = |(member, copy): (&MemberId, &ProducerCopy)| {
            matches!(copy.route, Route::Repeat { .. }).then_some(*member)
        };
        self.copies.iter().filter_map(repeats)
    }

    pub fn is_data(&self) -> bool {
        !matches!(self.recipe, Recipe::Media(_))
    }
}

impl VirtualWorker {
    /// Sees to it that `user` finds the producer on `target`. Says what its answer waits for.
    pub(super) fn use_producer(
        &mut self,
        producer_id: &str,
        target: MemberId,
        user: &str,
    ) -> Option<(PairKey, Readiness)> {
        let thing = self.state.things.get_mut(producer_id)?;
        let source = thing.member;
        if source == target {
            return None;
        }
        let router = thing.router.clone();
        let Kind::Producer(producer) = &mut thing.kind else {
            return None;
        };
        if let Some(copy) = producer.copies.get_mut(&target) {
            copy.users.insert(user.to_owned());
        } else {
            let origin = producer.transport.clone();
            let route = if matches!(producer.recipe, Recipe::Direct(_)) {
                self.open_repeat(&router, &origin, target)?
            } else {
                let key = PairKey {
                    router,
                    source,
                    target,
                };
                self.open_pipe(key, producer_id)?
            };
            self.make_copy(producer_id, target, &route);
            let users = HashSet::from([user.to_owned()]);
            let producer = self.producer_mut(producer_id)?;
            producer
                .copies
                .insert(target, ProducerCopy { route, users });
        }
        let producer = self.producer_mut(producer_id)?;
        match &producer.copies.get(&target)?.route {
            Route::Pipe {
                key, stream: None, ..
            } => Some((key.clone(), Readiness::Rtp)),
            Route::Pipe { key, .. } => Some((key.clone(), Readiness::Sctp)),
            Route::Repeat { .. } => None,
        }
    }

    /// `user` is done with the producer on `target`.
    pub(super) fn leave_producer(&mut self, producer_id: &str, target: MemberId, user: &str) {
        let Some(producer) = self.producer_mut(producer_id) else {
            return;
        };
        let Some(copy) = producer.copies.get_mut(&target) else {
            return;
        };
        copy.users.remove(user);
        if copy.users.is_empty()
            && let Some(copy) = producer.copies.remove(&target)
        {
            let data = producer.is_data();
            self.close_copy(producer_id, target, copy, data, true);
        }
    }

    /// `original`: whether that is still there.
    pub(super) fn close_copy(
        &mut self,
        producer_id: &str,
        target: MemberId,
        copy: ProducerCopy,
        data: bool,
        original: bool,
    ) {
        match copy.route {
            Route::Pipe {
                key,
                consumer,
                stream,
            } => {
                let Some(pair) = self.state.pairs.get_mut(&key) else {
                    return;
                };
                pair.copies -= 1;
                if let Some(stream) = stream {
                    pair.streams.remove(&stream);
                }
                let (near, far) = (pair.source_transport.clone(), pair.target_transport.clone());
                let last = pair.copies == 0;
                let close = Ask::close_producer(&far, producer_id, data);
                self.ask(target, close, Purpose::Internal);
                if original {
                    let close = Ask::close_consumer(&near, &consumer, data);
                    self.ask(key.source, close, Purpose::Internal);
                }
                if last {
                    self.close_pair(&key);
                }
            }
            Route::Repeat { transport } => {
                let thing = self.state.things.get(producer_id);
                if let Some(router) = thing.map(|thing| thing.router.clone()) {
                    let close = Ask::close_transport(&router, &transport);
                    self.ask(target, close, Purpose::Internal);
                    self.leave_router(&router, target);
                }
            }
        }
    }

    fn make_copy(&mut self, producer_id: &str, target: MemberId, route: &Route) {
        let pair = match route {
            Route::Pipe { key, .. } => self.state.pairs.get(key),
            Route::Repeat { .. } => None,
        };
        let ends = pair.map(|p| (p.source_transport.clone(), p.target_transport.clone()));
        let thing = self.state.things.get(producer_id);
        let Some(Kind::Producer(producer)) = thing.map(|thing| &thing.kind) else {
            return;
        };
        let paused = producer.paused;
        let (on_source, on_target) = match (&producer.recipe, route, ends) {
            (Recipe::Media(media), Route::Pipe { key, consumer, .. }, Some((near, far))) => (
                Some((
                    key.source,
                    Ask::consume(&near, media, producer_id, consumer),
                )),
                Ask::produce(&far, media, producer_id, paused),
            ),
            (
                Recipe::Sctp(original),
                Route::Pipe {
                    key,
                    consumer,
                    stream: Some(stream),
                },
                Some((near, far)),
            ) => {
                let consume = consume_data(original, consumer, *stream);
                let produce = produce_data(original, Some(*stream), paused);
                (
                    Some((key.source, Ask::consume_data(&near, consume))),
                    Ask::produce_data(&far, produce),
                )
            }
            (Recipe::Direct(original), Route::Repeat { transport }, _) => {
                let produce = produce_data(original, None, paused);
                (None, Ask::produce_data(transport, produce))
            }
            _ => return,
        };
        self.ask(target, on_target, Purpose::Internal);
        if let Some((source, ask)) = on_source {
            self.ask(source, ask, Purpose::Internal);
        }
    }

    /// A direct transport with the settings of the original's.
    fn open_repeat(&mut self, router: &str, origin: &str, target: MemberId) -> Option<Route> {
        let options = self.transport_mut(origin)?.direct.clone()?;
        self.enter_router(router, target);
        let transport = self.internal_id();
        let ask = Ask::create_direct(router, &transport, options);
        self.ask(target, ask, Purpose::Internal);
        Some(Route::Repeat { transport })
    }

    fn open_pipe(&mut self, key: PairKey, producer_id: &str) -> Option<Route> {
        if !self.state.pairs.contains_key(&key) {
            self.open_pair(&key);
        }
        let consumer = self.internal_id();
        let sctp = self.producer_mut(producer_id)?.is_data();
        let pair = self.state.pairs.get_mut(&key)?;
        let stream = if sctp {
            Some(pair.free_stream()?)
        } else {
            None
        };
        pair.copies += 1;
        Some(Route::Pipe {
            key,
            consumer,
            stream,
        })
    }

    fn open_pair(&mut self, key: &PairKey) {
        let ends = [key.source, key.target].map(|member| {
            self.enter_router(&key.router, member);
            let transport = self.internal_id();
            let ask = Ask::create_pipe(&key.router, &transport, &self.config.pipes.listen_ip);
            self.ask(member, ask, Purpose::PipeCreated(transport.clone()));
            self.state.pair_of.insert(transport.clone(), key.clone());
            transport
        });
        let [source_transport, target_transport] = ends;
        let pair = Pair {
            source_transport,
            target_transport,
            source_address: None,
            target_address: None,
            rtp: false,
            sctp: false,
            since: self.now,
            copies: 0,
            streams: HashSet::new(),
            next_stream: 0,
            waiting: Vec::new(),
        };
        self.state.pairs.insert(key.clone(), pair);
    }

    fn close_pair(&mut self, key: &PairKey) {
        self.release(key);
        let Some(pair) = self.state.pairs.remove(key) else {
            return;
        };
        for (member, transport) in [
            (key.source, &pair.source_transport),
            (key.target, &pair.target_transport),
        ] {
            self.state.pair_of.remove(transport);
            let close = Ask::close_transport(&key.router, transport);
            self.ask(member, close, Purpose::Internal);
            self.leave_router(&key.router, member);
        }
    }
}

impl Pair {
    fn free_stream(&mut self) -> Option<u16> {
        let free = (0..=u16::MAX)
            .map(|offset| self.next_stream.wrapping_add(offset))
            // The last stream id is no stream.
            .find(|stream| *stream != u16::MAX && !self.streams.contains(stream))?;
        self.next_stream = free.wrapping_add(1);
        self.streams.insert(free);
        Some(free)
    }
}
