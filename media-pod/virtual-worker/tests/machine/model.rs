//! An ideal worker: what mediasoup's does with ids, without media. It stands in as a member, and
//! alone it is what a virtual worker must equal.

use bytes::Bytes;
use mafalda_channel::fbs::notification::{Event, Notification};
use mafalda_channel::fbs::response::{self, Response};
use mafalda_channel::{encode_notification, encode_response};
use std::collections::{BTreeMap, BTreeSet};

mod dump;
mod requests;

#[derive(Debug)]
pub enum Thing {
    Transport {
        router: String,
        server: Option<String>,
        pipe: bool,
    },
    Producer {
        transport: String,
        paused: bool,
        data: bool,
    },
    Consumer {
        transport: String,
        producer: String,
        data: bool,
    },
    Observer {
        router: String,
        producers: BTreeSet<String>,
    },
}

#[derive(Debug, Default)]
pub struct Model {
    pub routers: BTreeSet<String>,
    pub things: BTreeMap<String, Thing>,
    pub servers: BTreeSet<String>,
    /// Requests that it refused.
    pub refused: Vec<u32>,
    /// Every pipe transport is refused.
    pub refuses_pipes: bool,
    /// The keys with which pipe transports were connected.
    pub keys: Vec<(String, Option<String>)>,
    port: u16,
}

type Answer = Result<Option<response::Body>, (&'static str, String)>;

fn not_found(what: &str) -> Answer {
    Err(("NotFoundError", format!("{what} not found")))
}

impl Model {
    pub fn handle(&mut self, message: &Bytes) -> Vec<Bytes> {
        mafalda_channel::check(message).expect("a member gets sound messages only");
        let Ok(request) = mafalda_channel::request(message) else {
            return Vec::new();
        };
        let mut events = Vec::new();
        let answer = self.answer(
            request.method,
            &request.handler_id,
            request.body,
            &mut events,
        );
        let (accepted, body, error) = match answer {
            Ok(body) => (true, body, None),
            Err(error) => {
                self.refused.push(request.id);
                (false, None, Some(error))
            }
        };
        let (error, reason) = error.map_or((None, None), |(e, r)| (Some(e.to_owned()), Some(r)));
        let response = Response {
            id: request.id,
            accepted,
            body,
            error,
            reason,
        };
        // As mediasoup: what a request causes is told before it is answered.
        events.push(encode_response(&response));
        events
    }

    fn needs_router(&self, id: &str) -> Result<(), (&'static str, String)> {
        self.routers
            .contains(id)
            .then_some(())
            .ok_or(("NotFoundError", "Router".to_owned()))
    }

    fn transport(&self, id: &str) -> Result<(), (&'static str, String)> {
        match self.things.get(id) {
            Some(Thing::Transport { .. }) => Ok(()),
            _ => Err(("NotFoundError", "Transport".to_owned())),
        }
    }

    fn add(&mut self, id: String, thing: Thing) -> Result<(), (&'static str, String)> {
        if self.has(&id) {
            return Err(("Error", "exists".to_owned()));
        }
        self.things.insert(id, thing);
        Ok(())
    }

    /// Of all that it has.
    pub fn ids(&self) -> impl Iterator<Item = &String> {
        let ids = self.things.keys().chain(&self.routers);
        ids.chain(&self.servers)
    }

    fn has(&self, id: &str) -> bool {
        self.things.contains_key(id) || self.routers.contains(id) || self.servers.contains(id)
    }

    fn on_server(&self, id: &str) -> Vec<String> {
        let of_server = |(transport, thing): (&String, &Thing)| match thing {
            Thing::Transport { server, .. } if server.as_deref() == Some(id) => {
                Some(transport.clone())
            }
            _ => None,
        };
        self.things.iter().filter_map(of_server).collect()
    }

    fn close_transport(&mut self, id: &str, events: &mut Vec<Bytes>) {
        self.things.remove(id);
        self.things
            .retain(|_, t| !matches!(t, Thing::Consumer { transport, .. } if transport == id));
        let of_this = |(producer, thing): (&String, &Thing)| match thing {
            Thing::Producer { transport, .. } if transport == id => Some(producer.clone()),
            _ => None,
        };
        let producers: Vec<_> = self.things.iter().filter_map(of_this).collect();
        producers
            .iter()
            .for_each(|producer| self.close_producer(producer, events));
    }

    fn router_of(&self, transport: &str) -> Option<&String> {
        match self.things.get(transport)? {
            Thing::Transport { router, .. } => Some(router),
            _ => None,
        }
    }

    fn of_router(&self, router: &str) -> BTreeSet<String> {
        let is = |thing: &Thing| match thing {
            Thing::Transport { router, .. } | Thing::Observer { router, .. } => {
                Some(router.clone())
            }
            Thing::Producer { transport, .. } | Thing::Consumer { transport, .. } => {
                self.router_of(transport).cloned()
            }
        };
        let things = self
            .things
            .iter()
            .filter(|(_, thing)| is(thing).as_deref() == Some(router));
        things.map(|(id, _)| id.clone()).collect()
    }

    fn consume(
        &mut self,
        transport: String,
        id: String,
        producer: String,
        of_data: bool,
    ) -> Result<bool, (&'static str, String)> {
        self.transport(&transport)?;
        if self.has(&id) {
            return Err(("Error", "exists".to_owned()));
        }
        match self.things.get(&producer) {
            Some(Thing::Producer {
                transport: origin,
                paused,
                data,
            }) if *data == of_data && self.router_of(origin) == self.router_of(&transport) => {
                let paused = *paused;
                self.add(
                    id,
                    Thing::Consumer {
                        transport,
                        producer,
                        data: of_data,
                    },
                )?;
                Ok(paused)
            }
            _ => Err(("NotFoundError", "Producer".to_owned())),
        }
    }

    fn end_producer(
        &mut self,
        handler: &str,
        id: &str,
        of_data: bool,
        events: &mut Vec<Bytes>,
    ) -> Result<(), (&'static str, String)> {
        match self.things.get(id) {
            Some(Thing::Producer {
                transport, data, ..
            }) if transport == handler && *data == of_data => {
                self.close_producer(id, events);
                Ok(())
            }
            _ => Err(("NotFoundError", "Producer".to_owned())),
        }
    }

    fn end_consumer(
        &mut self,
        handler: &str,
        id: &str,
        of_data: bool,
    ) -> Result<(), (&'static str, String)> {
        match self.things.get(id) {
            Some(Thing::Consumer {
                transport, data, ..
            }) if transport == handler && *data == of_data => {
                self.things.remove(id);
                Ok(())
            }
            _ => Err(("NotFoundError", "Consumer".to_owned())),
        }
    }

    fn close_producer(&mut self, id: &str, events: &mut Vec<Bytes>) {
        let data = matches!(
            self.things.get(id),
            Some(Thing::Producer { data: true, .. })
        );
        let event = match data {
            true => Event::DataconsumerDataproducerClose,
            false => Event::ConsumerProducerClose,
        };
        self.tell_consumers(id, event, events);
        self.things.remove(id);
        self.things
            .retain(|_, t| !matches!(t, Thing::Consumer { producer, .. } if producer == id));
        for thing in self.things.values_mut() {
            if let Thing::Observer { producers, .. } = thing {
                producers.remove(id);
            }
        }
    }

    fn tell_consumers(&self, id: &str, event: Event, events: &mut Vec<Bytes>) {
        for (consumer, thing) in &self.things {
            if matches!(thing, Thing::Consumer { producer, .. } if producer == id) {
                let handler_id = consumer.clone();
                events.push(encode_notification(&Notification {
                    handler_id,
                    event,
                    body: None,
                }));
            }
        }
    }
}
