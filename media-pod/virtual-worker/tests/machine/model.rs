//! An ideal worker: what mediasoup's does with ids, without media. It stands in as a member, and
//! alone it is what a virtual worker must equal.

use bytes::Bytes;
use mafalda_channel::fbs::consumer::ConsumerScore;
use mafalda_channel::fbs::notification::{self, Event, Notification};
use mafalda_channel::fbs::request::{Body, Method};
use mafalda_channel::fbs::response::{self, Response};
use mafalda_channel::fbs::sctp_association::SctpState;
use mafalda_channel::fbs::transport;
use mafalda_channel::fbs::web_rtc_transport::Listen;
use mafalda_channel::{encode_notification, encode_response};
use std::collections::{BTreeMap, BTreeSet};

mod dump;

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

    fn answer(
        &mut self,
        method: Method,
        handler: &str,
        body: Option<Body>,
        events: &mut Vec<Bytes>,
    ) -> Answer {
        let handler = handler.to_owned();
        match body {
            Some(Body::WorkerCreateRouterRequest(body)) => {
                if self.has(&body.router_id) {
                    return Err(("Error", "exists".to_owned()));
                }
                self.routers.insert(body.router_id);
            }
            Some(Body::WorkerCloseRouterRequest(body)) => {
                if !self.routers.remove(&body.router_id) {
                    return not_found("Router");
                }
                let gone: BTreeSet<String> = self.of_router(&body.router_id);
                self.things.retain(|id, _| !gone.contains(id));
            }
            Some(Body::RouterCreateDirectTransportRequest(body)) => {
                self.needs_router(&handler)?;
                self.add(
                    body.transport_id,
                    Thing::Transport {
                        router: handler,
                        server: None,
                        pipe: false,
                    },
                )?;
            }
            Some(Body::RouterCreatePipeTransportRequest(body)) => {
                self.needs_router(&handler)?;
                if self.refuses_pipes {
                    return Err(("Error", "no port".to_owned()));
                }
                self.add(
                    body.transport_id.clone(),
                    Thing::Transport {
                        router: handler,
                        server: None,
                        pipe: true,
                    },
                )?;
                self.port += 1;
                let srtp = body.options.enable_srtp;
                return Ok(Some(dump::pipe(body.transport_id, self.port, srtp)));
            }
            Some(Body::PipeTransportConnectRequest(body)) => {
                self.transport(&handler)?;
                let key = body.srtp_parameters.map(|srtp| srtp.key_base64);
                self.keys.push((handler.clone(), key));
                let state = transport::SctpStateChangeNotification {
                    sctp_state: SctpState::Connected,
                };
                events.push(encode_notification(&Notification {
                    handler_id: handler,
                    event: Event::TransportSctpStateChange,
                    body: Some(notification::Body::TransportSctpStateChangeNotification(
                        Box::new(state),
                    )),
                }));
            }
            Some(Body::RouterCreateAudioLevelObserverRequest(body)) => {
                self.needs_router(&handler)?;
                let producers = BTreeSet::new();
                self.add(
                    body.rtp_observer_id,
                    Thing::Observer {
                        router: handler,
                        producers,
                    },
                )?;
            }
            Some(Body::RouterCreateWebRtcTransportRequest(body)) => {
                self.needs_router(&handler)?;
                let Listen::ListenServer(listen) = body.options.listen else {
                    return Err(("Error", "the tests make none".to_owned()));
                };
                let server = listen.web_rtc_server_id;
                if !self.has(&body.transport_id) && !self.servers.contains(&server) {
                    return Err(("Error", "wrong webRtcServerId".to_owned()));
                }
                let (router, server) = (handler, Some(server));
                let pipe = false;
                let thing = Thing::Transport {
                    router,
                    server,
                    pipe,
                };
                self.add(body.transport_id, thing)?;
            }
            Some(Body::WorkerCreateWebRtcServerRequest(body)) => {
                if self.has(&body.web_rtc_server_id) {
                    return Err(("Error", "exists".to_owned()));
                }
                self.servers.insert(body.web_rtc_server_id);
            }
            Some(Body::WorkerCloseWebRtcServerRequest(body)) => {
                let id = body.web_rtc_server_id;
                if !self.servers.remove(&id) {
                    return not_found("WebRtcServer");
                }
                for transport in self.on_server(&id) {
                    self.close_transport(&transport, events);
                }
            }
            Some(Body::RouterCloseTransportRequest(body)) => {
                self.needs_router(&handler)?;
                match self.things.get(&body.transport_id) {
                    Some(Thing::Transport { router, .. }) if *router == handler => {}
                    _ => return not_found("Transport"),
                }
                self.close_transport(&body.transport_id, events);
            }
            Some(Body::RouterCloseRtpObserverRequest(body)) => {
                self.needs_router(&handler)?;
                match self.things.get(&body.rtp_observer_id) {
                    Some(Thing::Observer { router, .. }) if *router == handler => {}
                    _ => return not_found("RtpObserver"),
                }
                self.things.remove(&body.rtp_observer_id);
            }
            Some(Body::TransportProduceRequest(body)) => {
                self.transport(&handler)?;
                if body.rtp_parameters.codecs.is_empty()
                    && !self.things.contains_key(&body.producer_id)
                {
                    return Err(("TypeError", "no codecs".to_owned()));
                }
                let paused = body.paused;
                let thing = Thing::Producer {
                    transport: handler,
                    paused,
                    data: false,
                };
                self.add(body.producer_id, thing)?;
            }
            Some(Body::TransportProduceDataRequest(body)) => {
                self.transport(&handler)?;
                let paused = body.paused;
                let thing = Thing::Producer {
                    transport: handler,
                    paused,
                    data: true,
                };
                self.add(body.data_producer_id, thing)?;
            }
            Some(Body::TransportConsumeRequest(body)) => {
                let producer_paused =
                    self.consume(handler, body.consumer_id, body.producer_id, false)?;
                let score = ConsumerScore {
                    score: 10,
                    producer_score: 0,
                    producer_scores: vec![],
                };
                return Ok(Some(response::Body::TransportConsumeResponse(Box::new(
                    transport::ConsumeResponse {
                        paused: body.paused,
                        producer_paused,
                        score: Box::new(score),
                        preferred_layers: None,
                    },
                ))));
            }
            Some(Body::TransportConsumeDataRequest(body)) => {
                self.consume(handler, body.data_consumer_id, body.data_producer_id, true)?;
            }
            Some(Body::TransportCloseProducerRequest(body)) => {
                self.end_producer(&handler, &body.producer_id, false, events)?;
            }
            Some(Body::TransportCloseDataProducerRequest(body)) => {
                self.end_producer(&handler, &body.data_producer_id, true, events)?;
            }
            Some(Body::TransportCloseConsumerRequest(body)) => {
                self.end_consumer(&handler, &body.consumer_id, false)?;
            }
            Some(Body::TransportCloseDataConsumerRequest(body)) => {
                self.end_consumer(&handler, &body.data_consumer_id, true)?;
            }
            Some(Body::RtpObserverAddProducerRequest(body)) => {
                let known = match (
                    self.things.get(&handler),
                    self.things.get(&body.producer_id),
                ) {
                    (
                        Some(Thing::Observer { router, .. }),
                        Some(Thing::Producer {
                            transport, data, ..
                        }),
                    ) => !data && self.router_of(transport) == Some(router),
                    _ => false,
                };
                match self.things.get_mut(&handler) {
                    Some(Thing::Observer { producers, .. }) if known => {
                        producers.insert(body.producer_id);
                    }
                    _ => return not_found("Producer"),
                }
            }
            Some(Body::RtpObserverRemoveProducerRequest(body)) => {
                match self.things.get_mut(&handler) {
                    Some(Thing::Observer { producers, .. }) => {
                        if !producers.remove(&body.producer_id) {
                            return not_found("Producer");
                        }
                    }
                    _ => return not_found("RtpObserver"),
                }
            }
            _ => return self.bodiless(method, &handler, events),
        }
        Ok(None)
    }

    fn bodiless(&mut self, method: Method, handler: &str, events: &mut Vec<Bytes>) -> Answer {
        match method {
            Method::RouterDump => {
                self.needs_router(handler)?;
                return Ok(Some(self.router_dump(handler)));
            }
            Method::WorkerDump => return Ok(Some(self.worker_dump())),
            Method::WebrtcserverDump if self.servers.contains(handler) => {
                return Ok(Some(self.server_dump(handler)));
            }
            Method::TransportGetStats => {
                self.transport(handler)?;
                return Ok(Some(dump::pipe_stats(handler)));
            }
            Method::ProducerPause
            | Method::ProducerResume
            | Method::DataproducerPause
            | Method::DataproducerResume => {
                let of_data = matches!(
                    method,
                    Method::DataproducerPause | Method::DataproducerResume
                );
                let pause = matches!(method, Method::ProducerPause | Method::DataproducerPause);
                match self.things.get_mut(handler) {
                    Some(Thing::Producer { paused, data, .. }) if *data == of_data => {
                        if std::mem::replace(paused, pause) == pause {
                            return Ok(None);
                        }
                    }
                    _ => return not_found("handler"),
                }
                // A stand-in for what a worker says of its producers.
                events.push(encode_notification(&Notification {
                    handler_id: handler.to_owned(),
                    event: Event::ProducerScore,
                    body: None,
                }));
                let event = match (of_data, pause) {
                    (false, true) => Event::ConsumerProducerPause,
                    (false, false) => Event::ConsumerProducerResume,
                    (true, true) => Event::DataconsumerDataproducerPause,
                    (true, false) => Event::DataconsumerDataproducerResume,
                };
                self.tell_consumers(handler, event, events);
            }
            _ => return not_found("handler"),
        }
        Ok(None)
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
