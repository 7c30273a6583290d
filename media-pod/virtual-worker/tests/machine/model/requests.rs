//! What a worker does with each request.

use super::{Answer, Model, Thing, dump, not_found};
use bytes::Bytes;
use mafalda_channel::encode_notification;
use mafalda_channel::fbs::consumer::ConsumerScore;
use mafalda_channel::fbs::notification::{self, Event, Notification};
use mafalda_channel::fbs::request::{Body, Method};
use mafalda_channel::fbs::response;
use mafalda_channel::fbs::sctp_association::SctpState;
use mafalda_channel::fbs::transport;
use mafalda_channel::fbs::web_rtc_transport::Listen;
use std::collections::BTreeSet;

impl Model {
    pub fn answer(
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
            Some(Body::RouterCreatePlainTransportRequest(body)) => {
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
                self.observed(&handler, &body.producer_id)?
                    .insert(body.producer_id);
            }
            Some(Body::RtpObserverRemoveProducerRequest(body)) => {
                self.observed(&handler, &body.producer_id)?
                    .remove(&body.producer_id);
            }
            _ => return self.bodiless(method, &handler, events),
        }
        Ok(None)
    }

    /// What this observer hears, if it could hear this producer.
    fn observed(
        &mut self,
        observer: &str,
        producer: &str,
    ) -> Result<&mut BTreeSet<String>, (&'static str, String)> {
        let known = match (self.things.get(observer), self.things.get(producer)) {
            (
                Some(Thing::Observer { router, .. }),
                Some(Thing::Producer {
                    transport, data, ..
                }),
            ) => !data && self.router_of(transport) == Some(router),
            _ => false,
        };
        match self.things.get_mut(observer) {
            Some(Thing::Observer { producers, .. }) if known => Ok(producers),
            _ => Err(("NotFoundError", "Producer".to_owned())),
        }
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
}
