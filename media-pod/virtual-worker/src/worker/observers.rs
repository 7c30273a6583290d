//! RTP observers of the application: each lives on one member, and what it observes comes there.

use super::VirtualWorker;
use crate::messages::{Ask, acceptance};
use crate::refusal::Refusal;
use crate::state::{Fate, Id, Kind, MemberId, Observer, Purpose};
use bytes::Bytes;
use mafalda_channel::fbs::request::{BodyRef, Method};
use mafalda_channel::{Request, ViewError};
use std::collections::HashSet;

impl VirtualWorker {
    pub(super) fn create_observer(&mut self, id: &str, request: &Request<'_>, message: &Bytes) {
        let router = request.handler_id;
        let of_router = self.state.things.get(id);
        if of_router.is_some_and(|t| matches!(t.kind, Kind::Observer(_)) && *t.router == *router) {
            let reason = Refusal::exists("an RtpObserver with same id", request.method);
            self.refuse(request.id, reason);
            return;
        }
        let Some(member) = self.choose(router) else {
            self.refuse_nobody(request.id);
            return;
        };
        if let Err(reason) = self.own(id) {
            self.refuse(request.id, reason);
            return;
        }
        self.place_observer(member);
        self.enter_router(router, member);
        let observer = Observer {
            producers: HashSet::new(),
            creation: message.clone(),
            paused: false,
        };
        let (id, serial) = self.add(id, member, router, Kind::Observer(observer));
        self.forward(member, request, message, None, Fate::Makes(id, serial));
    }

    pub(super) fn close_observer(&mut self, id: &str, request: &Request<'_>, message: &Bytes) {
        let thing = self.state.things.get(id).filter(|thing| {
            matches!(thing.kind, Kind::Observer(_)) && *thing.router == *request.handler_id
        });
        let Some(thing) = thing else {
            let reason = Refusal::not_found("RtpObserver", request.method);
            self.refuse(request.id, reason);
            return;
        };
        let (id, member) = (thing.id.clone(), thing.member);
        self.forward(member, request, message, None, Fate::Nothing);
        self.remove(&id);
    }

    pub(super) fn on_observer_request(
        &mut self,
        body: Option<BodyRef<'_>>,
        request: &Request<'_>,
        message: &Bytes,
    ) -> Result<(), ViewError> {
        match (request.method, body) {
            (
                Method::RtpobserverAddProducer,
                Some(BodyRef::RtpObserverAddProducerRequest(body)),
            ) => {
                self.observe(request.handler_id, body.producer_id()?);
                self.pass_to_handler(request, message);
            }
            (
                Method::RtpobserverRemoveProducer,
                Some(BodyRef::RtpObserverRemoveProducerRequest(body)),
            ) => {
                let producer = body.producer_id()?;
                if self.is_free_of(request.handler_id, producer) {
                    // Its member need not know that producer, but mediasoup accepts this.
                    self.answer(&acceptance(request.id, None));
                } else {
                    self.pass_to_handler(request, message);
                    self.stop_observing(request.handler_id, producer);
                }
            }
            (Method::RtpobserverPause | Method::RtpobserverResume, _) => {
                let thing = self.state.things.get_mut(request.handler_id);
                if let Some(Kind::Observer(observer)) = thing.map(|thing| &mut thing.kind) {
                    observer.paused = request.method == Method::RtpobserverPause;
                }
                self.pass_to_handler(request, message);
            }
            _ => self.pass_to_handler(request, message),
        }
        Ok(())
    }

    /// What all observers hear, to be restored after a member's death.
    pub(super) fn observations(&self) -> Vec<(Id, Id)> {
        let things = self.state.things.values();
        let pairs = things.flat_map(|thing| match &thing.kind {
            Kind::Observer(observer) => {
                let pair = |producer: &Id| (thing.id.clone(), producer.clone());
                observer.producers.iter().map(pair).collect()
            }
            _ => Vec::new(),
        });
        pairs.collect()
    }

    /// Its member is dead, which mediasoup has no event for: it goes on, on another.
    pub(super) fn move_observer(&mut self, id: &Id) {
        let Some(router) = self.state.things.get(id).map(|thing| thing.router.clone()) else {
            return;
        };
        let Some(member) = self.choose(&router) else {
            self.remove(id);
            return;
        };
        let Some(thing) = self.state.things.get_mut(id) else {
            return;
        };
        thing.member = member;
        let Kind::Observer(observer) = &thing.kind else {
            return;
        };
        let (creation, paused) = (observer.creation.clone(), observer.paused);
        let Ok(request) = mafalda_channel::request(&creation) else {
            return;
        };
        self.place_observer(member);
        self.enter_router(&router, member);
        self.pass(member, request.id, &creation, Purpose::Internal);
        if paused {
            let pause = Ask::bare(Method::RtpobserverPause, id);
            self.ask(member, pause, Purpose::Internal);
        }
    }

    /// Observers hear again what they lost though its producer is there.
    pub(super) fn observe_again(&mut self, observations: Vec<(Id, Id)>) {
        for (observer, producer) in observations {
            if !self.state.things.contains_key(&producer) {
                continue;
            }
            let Some(thing) = self.state.things.get(&observer) else {
                continue;
            };
            let (member, kind) = (thing.member, &thing.kind);
            if matches!(kind, Kind::Observer(o) if !o.producers.contains(&producer)) {
                self.observe(&observer, &producer);
                let add = Ask::observe(&observer, &producer);
                self.ask(member, add, Purpose::Internal);
            }
        }
    }

    fn observe(&mut self, observer: &str, producer_id: &str) {
        let Some(thing) = self.state.things.get(observer) else {
            return;
        };
        let (observer, member, router) = (thing.id.clone(), thing.member, thing.router.clone());
        let producer = self.state.things.get_mut(producer_id);
        let Some(thing) = producer.filter(|thing| thing.router == router) else {
            return;
        };
        let producer_id = thing.id.clone();
        if let Kind::Producer(producer) = &mut thing.kind
            && !producer.is_data()
        {
            producer.observers.insert(observer.clone());
            // Audio that is missed for a moment is no harm: its answer waits for no pipe.
            self.use_producer(&producer_id, member, &observer);
            if let Some(producers) = self.state.observed(&observer) {
                producers.insert(producer_id);
            }
        }
    }

    /// Whether the observer could hear this producer of its router and does not.
    fn is_free_of(&self, observer: &str, producer_id: &str) -> bool {
        let things = &self.state.things;
        let (Some(observer), Some(producer)) = (things.get(observer), things.get(producer_id))
        else {
            return false;
        };
        match (&observer.kind, &producer.kind) {
            (Kind::Observer(o), Kind::Producer(p)) => {
                let known = observer.router == producer.router && !p.is_data();
                known && !o.producers.contains(producer_id)
            }
            _ => false,
        }
    }

    fn stop_observing(&mut self, observer: &str, producer_id: &str) {
        let Some(thing) = self.state.things.get_mut(observer) else {
            return;
        };
        let (observer, member) = (thing.id.clone(), thing.member);
        let Kind::Observer(Observer { producers, .. }) = &mut thing.kind else {
            return;
        };
        if let Some(producer_id) = producers.take(producer_id) {
            self.leave_as_observer(&observer, member, &producer_id);
        }
    }

    fn leave_as_observer(&mut self, id: &Id, member: MemberId, producer_id: &Id) {
        if let Some(producer) = self.state.producer(producer_id) {
            producer.observers.remove(id);
        }
        self.leave_producer(producer_id, member, id);
    }

    pub(super) fn remove_observer(&mut self, id: &Id) {
        let Some(thing) = self.state.things.get_mut(id) else {
            return;
        };
        let member = thing.member;
        let Kind::Observer(Observer { producers, .. }) = &mut thing.kind else {
            return;
        };
        for producer in std::mem::take(producers) {
            self.leave_as_observer(id, member, &producer);
        }
        self.forget_placed(id);
    }
}
