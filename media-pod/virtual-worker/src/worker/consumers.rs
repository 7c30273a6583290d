//! Consumers and data consumers of the application.

use super::VirtualWorker;
use crate::refusal::Refusal;
use crate::state::{Consumer, Fate, Id, Kind, Told};
use bytes::Bytes;
use mafalda_channel::Request;

impl VirtualWorker {
    /// The request's handler is a transport.
    pub(super) fn consume(
        &mut self,
        id: &str,
        producer_id: &str,
        data: bool,
        request: &Request<'_>,
        message: &Bytes,
    ) {
        let Some(thing) = self.state.things.get(request.handler_id) else {
            return;
        };
        let (transport, member, router) = (thing.id.clone(), thing.member, thing.router.clone());
        let producer = self.state.things.get(producer_id).filter(|thing| {
            thing.router == router
                && matches!(&thing.kind, Kind::Producer(p) if p.is_data() == data)
        });
        let producer = producer.map(|thing| thing.id.clone());
        let same = |kind: &Kind| matches!(kind, Kind::Consumer(c) if c.transport == transport && c.data == data);
        let what = match data {
            false => "a Consumer with same consumerId",
            true => "a DataConsumer with same dataConsumerId",
        };
        let Some(producer) = producer else {
            let is_there = self.state.things.get(id).is_some_and(|t| same(&t.kind));
            self.refuse(
                request.id,
                match is_there {
                    true => Refusal::exists(what, request.method),
                    false => Refusal::no_producer(producer_id, data),
                },
            );
            return;
        };
        if let Err(reason) = self.own_child(id, what, same, request.method) {
            self.refuse(request.id, reason);
            return;
        }
        let consumer = Consumer {
            transport: transport.clone(),
            producer: Some(producer.clone()),
            data,
            told: Told::Nothing(Vec::new()),
        };
        let (id, serial) = self.add(id, member, &router, Kind::Consumer(consumer));
        if let Some(producer) = self.state.producer(&producer) {
            producer.consumers.insert(id.clone());
        }
        let waits = self.use_producer(&producer, member, &id);
        if let Some(consumer) = self.state.consumer(&id) {
            consumer.told = Told::Nothing(waits);
        }
        let fate = Fate::Makes(id, serial);
        self.forward(member, request, message, Some(transport), fate);
    }

    pub(super) fn close_consumer(
        &mut self,
        id: &str,
        data: bool,
        request: &Request<'_>,
        message: &Bytes,
    ) {
        let handler = request.handler_id;
        let own = self.state.things.get(id).filter(|thing| {
            matches!(&thing.kind, Kind::Consumer(c) if *c.transport == *handler && c.data == data)
        });
        let Some(thing) = own else {
            // The transport refuses what it has not.
            self.pass_to_handler(request, message);
            return;
        };
        let (id, serial, member) = (thing.id.clone(), thing.serial, thing.member);
        let lane = thing.lane().cloned();
        let fate = Fate::Ends(id.clone(), serial);
        self.forward(member, request, message, lane, fate);
        self.leave_as_consumer(&id);
    }

    /// A consumer uses its producer no more.
    pub(super) fn leave_as_consumer(&mut self, id: &Id) {
        let Some(thing) = self.state.things.get_mut(id) else {
            return;
        };
        let member = thing.member;
        let Kind::Consumer(consumer) = &mut thing.kind else {
            return;
        };
        if let Some(producer_id) = consumer.producer.take() {
            if let Some(producer) = self.state.producer(&producer_id) {
                producer.consumers.remove(id);
            }
            self.leave_producer(&producer_id, member, id);
        }
    }

    pub(super) fn remove_consumer(&mut self, id: &Id) {
        self.leave_as_consumer(id);
        let transport = self.state.consumer(id).map(|c| c.transport.clone());
        if let Some(transport) = transport.and_then(|t| self.state.transport(&t)) {
            transport.children.remove(id);
        }
        self.forget(id);
    }
}
