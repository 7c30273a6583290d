//! Copies of producers on other members. The pipes to the copies of one producer form a tree, whose
//! root is the original.

use super::VirtualWorker;
use super::tree::{Feeder, feeder};
use crate::locality::Distance;
use crate::messages::Ask;
use crate::recipe::{Media, Recipe, consume_data, produce_data};
use crate::state::{
    Id, Kind, MemberId, PairKey, Producer, ProducerCopy, Purpose, Readiness, Route, Wait,
};
use std::collections::{BTreeSet, HashSet};

impl Producer {
    /// The members to which the application's own messages are repeated.
    pub fn repeats(&self) -> impl Iterator<Item = MemberId> {
        let repeats = |(member, copy): (&MemberId, &ProducerCopy)| {
            matches!(copy.route, Route::Repeat { .. }).then_some(*member)
        };
        self.copies.iter().filter_map(repeats)
    }

    /// The members whose copies a member feeds.
    fn children_of(
        &mut self,
        member: MemberId,
        origin: MemberId,
    ) -> Option<&mut BTreeSet<MemberId>> {
        if member == origin {
            Some(&mut self.children)
        } else {
            self.copies.get_mut(&member).map(|copy| &mut copy.children)
        }
    }
}

impl VirtualWorker {
    /// Sees to it that `user` finds the producer on `target`. Says what its answer waits for.
    pub(super) fn use_producer(&mut self, id: &Id, target: MemberId, user: &Id) -> Vec<Wait> {
        let Some(thing) = self.state.things.get_mut(id) else {
            return Vec::new();
        };
        let origin = thing.member;
        let Kind::Producer(producer) = &mut thing.kind else {
            return Vec::new();
        };
        if origin == target {
            return Vec::new();
        }
        if let Some(copy) = producer.copies.get_mut(&target) {
            copy.users.insert(user.clone());
        } else {
            let router = thing.router.clone();
            let direct = matches!(producer.recipe, Recipe::Direct(_));
            let made = match direct {
                true => self.repeat_to(id, &router, target),
                false => self.pipe_to(id, router, target),
            };
            let Some(mut copy) = made else {
                return Vec::new();
            };
            copy.users.insert(user.clone());
            if let Some(producer) = self.state.producer(id) {
                producer.copies.insert(target, copy);
            }
        }
        self.waits(id, target)
    }

    /// The pipes on the way to a copy that cannot carry yet what it is for.
    fn waits(&self, id: &str, target: MemberId) -> Vec<Wait> {
        let mut waits = Vec::new();
        let Some(Kind::Producer(producer)) = self.state.things.get(id).map(|thing| &thing.kind)
        else {
            return waits;
        };
        let mut member = target;
        while let Some(ProducerCopy {
            route: Route::Pipe { key, stream, .. },
            ..
        }) = producer.copies.get(&member)
        {
            let readiness = match stream {
                None => Readiness::Rtp,
                Some(_) => Readiness::Sctp,
            };
            if self
                .state
                .pairs
                .get(key)
                .is_some_and(|p| !p.is_ready(readiness))
            {
                let key = key.clone();
                waits.push(Wait { key, readiness });
            }
            member = key.source;
        }
        waits
    }

    /// A direct data producer's copy, on a direct transport with the settings of the original's.
    fn repeat_to(&mut self, id: &Id, router: &Id, target: MemberId) -> Option<ProducerCopy> {
        let producer = self.state.producer(id)?;
        let origin = producer.transport.clone();
        let Recipe::Direct(original) = &producer.recipe else {
            return None;
        };
        let produce = produce_data(original, None, producer.paused);
        let options = self.state.transport(&origin)?.direct.clone()?;
        self.enter_router(router, target);
        let transport = self.internal_id();
        let create = Ask::create_direct(router, &transport, options);
        self.ask(target, create, Purpose::Internal);
        let produce = Ask::produce_data(&transport, produce);
        self.ask(target, produce, Purpose::Internal);
        Some(copy(Route::Repeat { transport }, 1))
    }

    fn pipe_to(&mut self, id: &Id, router: Id, target: MemberId) -> Option<ProducerCopy> {
        let feeder = self.feeder(id, target)?;
        let key = PairKey {
            router,
            source: feeder.member,
            target,
        };
        let consumer = self.internal_id();
        let data = self.state.producer(id)?.is_data();
        self.open_pair(&key);
        let pair = self.state.pairs.get_mut(&key)?;
        let resends = pair.protection.rtx;
        let stream = match data {
            true => Some(pair.free_stream()?),
            false => None,
        };
        pair.copies.insert(id.clone());
        pair.idle_since = None;
        let (near, far) = (pair.source.transport.clone(), pair.target.transport.clone());
        let thing = self.state.things.get_mut(id)?;
        let origin = thing.member;
        let Kind::Producer(producer) = &mut thing.kind else {
            return None;
        };
        producer.children_of(key.source, origin)?.insert(target);
        let (produce, consume) = match (&producer.recipe, stream) {
            (Recipe::Media(original), _) => {
                let media = Media::new(original, resends);
                (
                    Ask::produce(&far, &media, id, producer.paused),
                    Ask::consume(&near, &media, id, &consumer),
                )
            }
            (Recipe::Sctp(original) | Recipe::Direct(original), stream) => (
                Ask::produce_data(&far, produce_data(original, stream, producer.paused)),
                Ask::consume_data(&near, consume_data(original, &consumer, stream?)),
            ),
        };
        self.ask(target, produce, Purpose::Internal);
        self.ask(key.source, consume, Purpose::Internal);
        let route = Route::Pipe {
            key,
            consumer,
            stream,
        };
        Some(copy(route, feeder.depth + 1))
    }

    fn feeder(&self, id: &str, target: MemberId) -> Option<Feeder> {
        let thing = self.state.things.get(id)?;
        let Kind::Producer(producer) = &thing.kind else {
            return None;
        };
        let members = &self.state.members;
        let near = &members.get(&target)?.locality;
        let origin = &members.get(&thing.member)?.locality;
        let feeds = |member, depth, children: &BTreeSet<MemberId>| {
            let lent = members.get(&member)?;
            Some(Feeder {
                member,
                depth,
                children: children.len(),
                distance: lent.locality.distance(near),
                with_original: lent.locality.distance(origin) <= Distance::Pod,
                cordoned: lent.cordoned,
                hot: self.is_hot(member),
            })
        };
        let original = feeds(thing.member, 0, &producer.children);
        let copies = producer.copies.iter();
        let copies = copies.map(|(&member, copy)| feeds(member, copy.depth, &copy.children));
        let all = std::iter::once(original).chain(copies).flatten();
        feeder(all, &self.config.pipes)
    }

    /// `user` is done with the producer on `target`.
    pub(super) fn leave_producer(&mut self, id: &Id, target: MemberId, user: &Id) {
        let producer = self.state.producer(id);
        if let Some(copy) = producer.and_then(|producer| producer.copies.get_mut(&target)) {
            copy.users.remove(user);
            self.prune(id, target);
        }
    }

    /// Ends a copy that has neither users nor copies to feed, and then the one that fed it if it is
    /// like that now.
    fn prune(&mut self, id: &Id, target: MemberId) {
        let mut next = Some(target);
        while let Some(member) = next {
            let Some(producer) = self.state.producer(id) else {
                return;
            };
            let useless = |copy: &ProducerCopy| copy.users.is_empty() && copy.children.is_empty();
            if !producer.copies.get(&member).is_some_and(useless) {
                return;
            }
            next = self.end_copy(id, member, true);
        }
    }

    /// Ends one copy; returns the member that fed it. `fed`: that still has the producer.
    fn end_copy(&mut self, id: &Id, target: MemberId, fed: bool) -> Option<MemberId> {
        let thing = self.state.things.get_mut(id)?;
        let (origin, router) = (thing.member, thing.router.clone());
        let Kind::Producer(producer) = &mut thing.kind else {
            return None;
        };
        let copy = producer.copies.remove(&target)?;
        let data = producer.is_data();
        let (key, consumer, stream) = match copy.route {
            Route::Pipe {
                key,
                consumer,
                stream,
            } => (key, consumer, stream),
            Route::Repeat { transport } => {
                let close = Ask::close_transport(&router, &transport);
                self.ask(target, close, Purpose::Internal);
                self.leave_router(&router, target);
                return None;
            }
        };
        if let Some(children) = producer.children_of(key.source, origin) {
            children.remove(&target);
        }
        let pair = self.state.pairs.get_mut(&key)?;
        pair.copies.remove(id);
        if let Some(stream) = stream {
            pair.streams.remove(&stream);
        }
        let (near, far) = (pair.source.transport.clone(), pair.target.transport.clone());
        let close = Ask::close_producer(&far, id, data);
        self.ask(target, close, Purpose::Internal);
        if fed {
            let close = Ask::close_consumer(&near, &consumer, data);
            self.ask(key.source, close, Purpose::Internal);
        }
        let source = key.source;
        self.leave_pair(&key);
        Some(source)
    }

    /// The original ends, and with each copy what it feeds.
    pub(super) fn end_all_copies(&mut self, id: &Id) {
        let Some(producer) = self.state.producer(id) else {
            return;
        };
        let members: Vec<MemberId> = producer.copies.keys().copied().collect();
        for member in members {
            self.end_copy(id, member, false);
        }
    }

    /// A copy's member and those below it in the tree, and the users there.
    pub(super) fn branch(&mut self, id: &str, target: MemberId) -> (Vec<MemberId>, HashSet<Id>) {
        let mut members = vec![target];
        let mut users = HashSet::new();
        if let Some(producer) = self.state.producer(id) {
            let mut at = 0;
            while let Some(copy) = members
                .get(at)
                .and_then(|member| producer.copies.get(member))
            {
                members.extend(copy.children.iter().copied());
                users.extend(copy.users.iter().cloned());
                at += 1;
            }
        }
        (members, users)
    }

    /// A copy cannot be fed any more: it ends, what it feeds ends, and their users with them.
    pub(super) fn end_branch(&mut self, id: &Id, target: MemberId) {
        let (branch, users) = self.branch(id, target);
        // Consumers end with their member's event about it.
        for user in &users {
            if let Some(producer) = self.state.producer(id) {
                producer.consumers.remove(user);
                producer.observers.remove(user);
            }
            if let Some(consumer) = self.state.consumer(user) {
                consumer.producer = None;
            } else if let Some(producers) = self.state.observed(user) {
                producers.remove(id);
            }
        }
        for member in branch.iter().skip(1) {
            self.end_copy(id, *member, false);
        }
        if let Some(source) = self.end_copy(id, target, true) {
            self.prune(id, source);
        }
    }
}

fn copy(route: Route, depth: usize) -> ProducerCopy {
    ProducerCopy {
        route,
        depth,
        users: HashSet::new(),
        children: BTreeSet::new(),
    }
}
