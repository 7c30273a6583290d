//! What is where, and what goes with what.

use super::{Action, VirtualWorker};
use crate::messages::Ask;
use crate::state::{Id, Kind, MemberId, Producer, Purpose, Thing, Transport};

impl Thing {
    /// The transport whose answers and events keep their order; `id` is the thing's own.
    pub fn lane<'a>(&'a self, id: &'a str) -> Option<&'a str> {
        match &self.kind {
            Kind::Transport(_) => Some(id),
            Kind::Producer(producer) => Some(&producer.transport),
            Kind::Consumer(consumer) => Some(&consumer.transport),
            Kind::Server | Kind::Observer { .. } => None,
        }
    }
}

impl VirtualWorker {
    pub(super) fn transport_mut(&mut self, id: &str) -> Option<&mut Transport> {
        match &mut self.state.things.get_mut(id)?.kind {
            Kind::Transport(transport) => Some(transport),
            _ => None,
        }
    }

    pub(super) fn producer_mut(&mut self, id: &str) -> Option<&mut Producer> {
        match &mut self.state.things.get_mut(id)?.kind {
            Kind::Producer(producer) => Some(producer),
            _ => None,
        }
    }

    /// Remembers a thing; returns what undoes it.
    pub(super) fn add(
        &mut self,
        id: &str,
        member: MemberId,
        router: &str,
        kind: Kind,
    ) -> (Id, u64) {
        let serial = self.next_serial();
        let router = router.to_owned();
        let thing = Thing {
            serial,
            member,
            router,
            kind,
        };
        let lane = thing.lane(id).map(str::to_owned);
        if let Some(transport) = lane.and_then(|lane| self.transport_mut(&lane)) {
            transport.children.insert(id.to_owned());
        }
        self.state.things.insert(id.to_owned(), thing);
        (id.to_owned(), serial)
    }

    /// One more thing on this member's real router, which is made if there is none.
    pub(super) fn enter_router(&mut self, router_id: &str, member: MemberId) {
        let Some(router) = self.state.routers.get_mut(router_id) else {
            return;
        };
        let count = router.real.entry(member).or_insert(0);
        *count += 1;
        let first = *count == 1;
        self.ledger.entered(member);
        if first {
            self.ask(member, Ask::create_router(router_id), Purpose::Internal);
        }
    }

    /// One less; the real router goes with the last.
    pub(super) fn leave_router(&mut self, router_id: &str, member: MemberId) {
        self.ledger.left(member, 1);
        let Some(router) = self.state.routers.get_mut(router_id) else {
            return;
        };
        let Some(count) = router.real.get_mut(&member) else {
            return;
        };
        *count -= 1;
        if *count == 0 {
            router.real.remove(&member);
            self.ask(member, Ask::close_router(router_id), Purpose::Internal);
        }
    }

    /// Forgets a thing and what goes with it on its own member, and ends what that leaves without
    /// use elsewhere. The member itself was told, or told us.
    pub(super) fn remove(&mut self, id: &str) {
        let Some(thing) = self.state.things.get(id) else {
            return;
        };
        let (member, router) = (thing.member, thing.router.clone());
        match &thing.kind {
            Kind::Server => self.remove_server(id),
            Kind::Transport(transport) => {
                let children: Vec<Id> = transport.children.iter().cloned().collect();
                self.flush(id);
                children.iter().for_each(|child| self.remove(child));
                self.state.things.remove(id);
                self.leave_router(&router, member);
            }
            Kind::Producer(_) => self.remove_producer(id),
            Kind::Consumer(consumer) => {
                let transport = consumer.transport.clone();
                self.leave(id);
                self.state.things.remove(id);
                if let Some(transport) = self.transport_mut(&transport) {
                    transport.children.remove(id);
                }
            }
            Kind::Observer { producers } => {
                for producer_id in producers.clone() {
                    if let Some(producer) = self.producer_mut(&producer_id) {
                        producer.observers.remove(id);
                    }
                    self.leave_producer(&producer_id, member, id);
                }
                self.state.things.remove(id);
                self.leave_router(&router, member);
            }
        }
    }

    /// A consumer uses its producer no more.
    pub(super) fn leave(&mut self, id: &str) {
        let Some(thing) = self.state.things.get_mut(id) else {
            return;
        };
        let member = thing.member;
        let Kind::Consumer(consumer) = &mut thing.kind else {
            return;
        };
        if let Some(producer_id) = consumer.producer.take() {
            if let Some(producer) = self.producer_mut(&producer_id) {
                producer.consumers.remove(id);
            }
            self.leave_producer(&producer_id, member, id);
        }
    }

    /// Lets go what is held of a transport.
    pub(super) fn flush(&mut self, transport: &str) {
        if let Some(transport) = self.transport_mut(transport) {
            transport.waits_for.clear();
            let held = std::mem::take(&mut transport.held);
            self.actions
                .extend(held.into_iter().map(Action::ToApplication));
        }
    }

    fn remove_server(&mut self, id: &str) {
        let of_server = |thing: &Thing| match &thing.kind {
            Kind::Transport(transport) => transport.server.as_deref() == Some(id),
            _ => false,
        };
        let things = self.state.things.iter();
        let transports = things.filter(|(_, thing)| of_server(thing));
        let transports: Vec<Id> = transports.map(|(id, _)| id.clone()).collect();
        transports
            .iter()
            .for_each(|transport| self.remove(transport));
        self.state.things.remove(id);
    }

    fn remove_producer(&mut self, id: &str) {
        let Some(producer) = self.producer_mut(id) else {
            return;
        };
        let data = producer.is_data();
        let copies = std::mem::take(&mut producer.copies);
        let consumers = std::mem::take(&mut producer.consumers);
        let observers = std::mem::take(&mut producer.observers);
        let transport = producer.transport.clone();
        for (member, copy) in copies {
            self.close_copy(id, member, copy, data, false);
        }
        // They end with their member's event about it, behind what else it says of them.
        for consumer in consumers {
            let thing = self.state.things.get_mut(&consumer);
            if let Some(Kind::Consumer(consumer)) = thing.map(|thing| &mut thing.kind) {
                consumer.producer = None;
            }
        }
        for observer in observers {
            let thing = self.state.things.get_mut(&observer);
            if let Some(Kind::Observer { producers }) = thing.map(|thing| &mut thing.kind) {
                producers.remove(id);
            }
        }
        if let Some(transport) = self.transport_mut(&transport) {
            transport.children.remove(id);
        }
        self.state.things.remove(id);
    }
}
