//! A worker as far as one room needs it: it accepts everything at once and counts what it carries.

use crate::Load;
use crate::channel::accept;
use bytes::Bytes;
use mafalda_channel::fbs::notification::{Event, Notification};
use mafalda_channel::fbs::request::BodyRef;
use mafalda_channel::{Message, ViewError, encode_notification, view};
use std::collections::{HashMap, HashSet};

#[derive(Default)]
pub struct Member {
    pipes: HashSet<String>,
    /// The transport of each.
    producers: HashMap<String, String>,
    /// The transport and the producer of each.
    consumers: HashMap<String, (String, String)>,
}

impl Member {
    pub fn load(&self) -> Load {
        let copies = self
            .producers
            .values()
            .filter(|at| self.pipes.contains(*at));
        Load {
            producers: self.producers.len(),
            consumers: self.consumers.len(),
            copies: copies.count(),
            ends: self.pipes.len(),
        }
    }

    /// What it says to a message: events first, as mediasoup.
    pub fn hear(&mut self, message: &Bytes) -> Result<Vec<Bytes>, ViewError> {
        use BodyRef as Body;

        let Message::Request(request) = view(message)? else {
            return Ok(Vec::new());
        };
        let handler = request.handler_id.to_owned();
        let mut said = Vec::new();
        match request.body()? {
            Some(Body::RouterCreatePipeTransportRequest(body)) => {
                self.pipes.insert(body.transport_id()?.to_owned());
            }
            Some(Body::TransportProduceRequest(body)) => {
                self.producers
                    .insert(body.producer_id()?.to_owned(), handler);
            }
            Some(Body::TransportConsumeRequest(body)) => {
                let producer = body.producer_id()?.to_owned();
                self.consumers
                    .insert(body.consumer_id()?.to_owned(), (handler, producer));
            }
            Some(Body::TransportCloseProducerRequest(body)) => {
                self.close_producer(body.producer_id()?, &mut said);
            }
            Some(Body::TransportCloseConsumerRequest(body)) => {
                self.consumers.remove(body.consumer_id()?);
            }
            Some(Body::RouterCloseTransportRequest(body)) => {
                self.close_transport(body.transport_id()?, &mut said);
            }
            Some(Body::WorkerCloseRouterRequest(_)) => *self = Self::default(),
            _ => {}
        }
        said.push(accept(&request)?);
        Ok(said)
    }

    fn close_transport(&mut self, id: &str, said: &mut Vec<Bytes>) {
        self.pipes.remove(id);
        self.consumers.retain(|_, (transport, _)| transport != id);
        let of_it =
            |(producer, transport): (&String, &String)| (transport == id).then(|| producer.clone());
        let producers: Vec<String> = self.producers.iter().filter_map(of_it).collect();
        for producer in producers {
            self.close_producer(&producer, said);
        }
    }

    fn close_producer(&mut self, id: &str, said: &mut Vec<Bytes>) {
        self.producers.remove(id);
        self.consumers.retain(|consumer, (_, producer)| {
            let stays = producer != id;
            if !stays {
                said.push(encode_notification(&Notification {
                    handler_id: consumer.clone(),
                    event: Event::ConsumerProducerClose,
                    body: None,
                }));
            }
            stays
        });
    }
}
