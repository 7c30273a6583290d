//! Producers and data producers of the application.

use super::VirtualWorker;
use crate::messages::Ask;
use crate::recipe::Recipe;
use crate::refusal::Refusal;
use crate::state::{Fate, Id, Kind, MemberId, Producer, Purpose};
use bytes::Bytes;
use mafalda_channel::fbs::data_producer::Type;
use mafalda_channel::fbs::request::{Body, Method};
use mafalda_channel::{Request, ViewError};
use std::collections::{BTreeMap, BTreeSet, HashSet};

impl VirtualWorker {
    /// The request's handler is a transport.
    pub(super) fn produce(
        &mut self,
        request: &Request<'_>,
        message: &Bytes,
    ) -> Result<(), ViewError> {
        let (id, paused, recipe) = match mafalda_channel::request(message)?.body {
            Some(Body::TransportProduceRequest(body)) => {
                let (id, paused) = (body.producer_id.clone(), body.paused);
                (id, paused, Recipe::Media(body))
            }
            Some(Body::TransportProduceDataRequest(body)) => {
                let (id, paused) = (body.data_producer_id.clone(), body.paused);
                let recipe = match body.type_ {
                    Type::Sctp => Recipe::Sctp(*body),
                    Type::Direct => Recipe::Direct(*body),
                };
                (id, paused, recipe)
            }
            _ => return Ok(()),
        };
        let Some(thing) = self.state.things.get(request.handler_id) else {
            return Ok(());
        };
        let (transport, member, router) = (thing.id.clone(), thing.member, thing.router.clone());
        let producer = Producer {
            transport: transport.clone(),
            recipe,
            made: false,
            paused,
            consumers: HashSet::new(),
            observers: HashSet::new(),
            copies: BTreeMap::new(),
            children: BTreeSet::new(),
        };
        let data = producer.is_data();
        let same = |kind: &Kind| matches!(kind, Kind::Producer(p) if p.transport == transport && p.is_data() == data);
        let what = match data {
            false => "a Producer with same producerId",
            true => "a DataProducer with same dataProducerId",
        };
        if let Err(reason) = self.own_child(&id, what, same, request.method) {
            self.refuse(request.id, reason);
            return Ok(());
        }
        let (id, serial) = self.add(&id, member, &router, Kind::Producer(producer));
        if !data && let Some(router) = self.state.routers.get_mut(&router) {
            router.producers += 1;
        }
        let fate = Fate::Makes(id, serial);
        self.forward(member, request, message, Some(transport), fate);
        Ok(())
    }

    /// The id of a new producer or consumer; `same` says whether another of its kind has it there.
    pub(super) fn own_child(
        &mut self,
        id: &str,
        what: &str,
        same: impl Fn(&Kind) -> bool,
        method: Method,
    ) -> Result<(), Refusal> {
        match self.state.things.get(id) {
            Some(thing) if same(&thing.kind) => Err(Refusal::exists(what, method)),
            _ => self.own(id),
        }
    }

    pub(super) fn close_producer(
        &mut self,
        id: &str,
        data: bool,
        request: &Request<'_>,
        message: &Bytes,
    ) {
        let handler = request.handler_id;
        let own = self.state.things.get(id).filter(|thing| {
            matches!(&thing.kind, Kind::Producer(p) if *p.transport == *handler && p.is_data() == data)
        });
        let own = own.map(|thing| thing.id.clone());
        // The transport refuses what it has not.
        self.pass_to_handler(request, message);
        if let Some(id) = own {
            self.remove(&id);
        }
    }

    pub(super) fn on_producer_request(&mut self, request: &Request<'_>, message: &Bytes) {
        self.pass_to_handler(request, message);
        let (paused, data) = match request.method {
            Method::ProducerPause => (true, false),
            Method::ProducerResume => (false, false),
            Method::DataproducerPause => (true, true),
            Method::DataproducerResume => (false, true),
            _ => return,
        };
        let producer = self.state.producer(request.handler_id);
        let Some(producer) = producer.filter(|producer| producer.is_data() == data) else {
            return;
        };
        producer.paused = paused;
        let copies: Vec<MemberId> = producer.copies.keys().copied().collect();
        for member in copies {
            let ask = Ask::bare(request.method, request.handler_id);
            self.ask(member, ask, Purpose::Internal);
        }
    }

    /// Forgets a producer and ends its copies.
    pub(super) fn remove_producer(&mut self, id: &Id) {
        self.end_all_copies(id);
        let Some(producer) = self.state.producer(id) else {
            return;
        };
        let media = !producer.is_data();
        let consumers = std::mem::take(&mut producer.consumers);
        let observers = std::mem::take(&mut producer.observers);
        let transport = producer.transport.clone();
        // They end with their member's event about it, behind what else it says of them.
        for consumer in consumers {
            if let Some(consumer) = self.state.consumer(&consumer) {
                consumer.producer = None;
            }
        }
        for observer in observers {
            if let Some(producers) = self.state.observed(&observer) {
                producers.remove(id);
            }
        }
        if let Some(transport) = self.state.transport(&transport) {
            transport.children.remove(id);
        }
        let router = self.state.things.get(id).map(|thing| thing.router.clone());
        if media && let Some(router) = router.and_then(|r| self.state.routers.get_mut(&r)) {
            router.producers = router.producers.saturating_sub(1);
        }
        self.forget(id);
    }
}
