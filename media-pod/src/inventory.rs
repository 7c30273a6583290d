//! What a worker carries, counted from the messages that pass.
//!
//! A thing is counted once the worker has accepted the request that made it, and no longer once the
//! worker has accepted the one that closes it or something it depends on: a router takes its
//! transports and observers with it, a WebRtcServer its transports, a transport its producers and
//! consumers, a producer its consumers wherever they are.
//!
//! One [`Inventory`] serves one worker. It is pure; memory is a few words a thing, whatever the
//! application names it.

#[cfg(test)]
mod tests;

use crate::listen_infos::OWN_WEBRTC_SERVER;
use mafalda_channel::fbs::notification::Event;
use mafalda_channel::fbs::request::{BodyRef, Method};
use mafalda_channel::fbs::web_rtc_transport::ListenRef;
use mafalda_channel::{Message, Request, ViewError, view};
use serde::Serialize;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::ops::AddAssign;

/// How many of each a worker carries. The pod's own WebRtcServer is not counted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Carries {
    pub routers: u64,
    pub web_rtc_servers: u64,
    pub transports: u64,
    pub producers: u64,
    pub consumers: u64,
    pub data_producers: u64,
    pub data_consumers: u64,
    pub rtp_observers: u64,
}

/// Counts what one worker carries. Give it each message that the worker gets and sends; what it
/// cannot read it passes over.
#[derive(Debug, Default)]
pub struct Inventory {
    carries: Carries,
    things: HashMap<Key, Thing>,
    /// What becomes true if the worker accepts the request of this id.
    pending: HashMap<u32, Change>,
    keys: RandomState,
}

/// An id's hash. mediasoup's worker gives no id twice, whatever it names.
type Key = u64;

/// What a worker carries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    Router,
    WebRtcServer,
    Transport,
    Producer,
    Consumer,
    DataProducer,
    DataConsumer,
    RtpObserver,
}

#[derive(Debug)]
struct Thing {
    kind: Kind,
    /// What it cannot outlive.
    needs: [Option<Key>; 2],
    needed_by: HashSet<Key>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Change {
    Create {
        kind: Kind,
        key: Key,
        needs: [Option<Key>; 2],
    },
    Close(Key),
}

impl Inventory {
    /// What the worker carries now.
    pub fn carries(&self) -> Carries {
        self.carries
    }

    /// Whether the worker has something of this id, or was asked to make it.
    pub fn has(&self, id: &str) -> bool {
        let sought = self.key(id);
        let is_made =
            |change: &Change| matches!(change, Change::Create { key, .. } if *key == sought);
        self.things.contains_key(&sought) || self.pending.values().any(is_made)
    }

    /// Takes a message to the worker, with its prefix.
    pub fn observe_request(&mut self, message: &[u8]) {
        let Ok(Message::Request(request)) = view(message) else {
            return;
        };
        if let Ok(Some(change)) = self.change(&request) {
            self.pending.insert(request.id, change);
        }
    }

    /// Takes a message of the worker, with its prefix, if it is a response.
    pub fn observe_response(&mut self, message: &[u8]) {
        if self.pending.is_empty() {
            return;
        }
        let Ok(Message::Response(response)) = view(message) else {
            return;
        };
        match self.pending.remove(&response.id) {
            Some(Change::Create { kind, key, needs }) if response.accepted => {
                self.insert(kind, key, needs);
            }
            Some(Change::Close(key)) if response.accepted => self.remove(key),
            _ => {}
        }
    }

    /// Takes a message of the worker, with its prefix, if it is a notification.
    pub fn observe_notification(&mut self, message: &[u8]) {
        let Ok(Message::Notification(notification)) = view(message) else {
            return;
        };
        if let Event::ConsumerProducerClose | Event::DataconsumerDataproducerClose =
            notification.event
        {
            self.remove(self.key(notification.handler_id));
        }
    }

    fn key(&self, id: &str) -> Key {
        self.keys.hash_one(id)
    }

    /// What the request changes if it is accepted, `None` if nothing that is counted.
    fn change(&self, request: &Request<'_>) -> Result<Option<Change>, ViewError> {
        if !concerns(request.method) {
            return Ok(None);
        }
        let Some(body) = request.body()? else {
            return Ok(None);
        };
        if let Some((kind, id)) = made(&body)? {
            if id == OWN_WEBRTC_SERVER {
                return Ok(None);
            }
            let needs = needs(request.handler_id, &body)?;
            return Ok(Some(Change::Create {
                kind,
                key: self.key(id),
                needs: needs.map(|id| id.map(|id| self.key(id))),
            }));
        }
        let close = |id: &str| Change::Close(self.key(id));
        Ok(Some(match body {
            BodyRef::WorkerCloseRouterRequest(body) => close(body.router_id()?),
            BodyRef::WorkerCloseWebRtcServerRequest(body) => close(body.web_rtc_server_id()?),
            BodyRef::RouterCloseTransportRequest(body) => close(body.transport_id()?),
            BodyRef::RouterCloseRtpObserverRequest(body) => close(body.rtp_observer_id()?),
            BodyRef::TransportCloseProducerRequest(body) => close(body.producer_id()?),
            BodyRef::TransportCloseConsumerRequest(body) => close(body.consumer_id()?),
            BodyRef::TransportCloseDataProducerRequest(body) => close(body.data_producer_id()?),
            BodyRef::TransportCloseDataConsumerRequest(body) => close(body.data_consumer_id()?),
            _ => return Ok(None),
        }))
    }

    fn insert(&mut self, kind: Kind, key: Key, needs: [Option<Key>; 2]) {
        let Entry::Vacant(place) = self.things.entry(key) else {
            return;
        };
        place.insert(Thing {
            kind,
            needs,
            needed_by: HashSet::new(),
        });
        *self.carries.of(kind) += 1;
        for needed in needs.into_iter().flatten() {
            if let Some(needed) = self.things.get_mut(&needed) {
                needed.needed_by.insert(key);
            }
        }
    }

    fn remove(&mut self, key: Key) {
        let mut closing = vec![key];
        while let Some(key) = closing.pop() {
            let Some(thing) = self.things.remove(&key) else {
                continue;
            };
            *self.carries.of(thing.kind) -= 1;
            for needed in thing.needs.into_iter().flatten() {
                if let Some(needed) = self.things.get_mut(&needed) {
                    needed.needed_by.remove(&key);
                }
            }
            closing.extend(thing.needed_by);
        }
    }
}

/// What a request makes, if it makes something, and by which id.
///
/// # Errors
/// Its body lacks the id.
pub fn made<'a>(body: &BodyRef<'a>) -> Result<Option<(Kind, &'a str)>, ViewError> {
    Ok(Some(match body {
        BodyRef::WorkerCreateRouterRequest(body) => (Kind::Router, body.router_id()?),
        BodyRef::WorkerCreateWebRtcServerRequest(body) => {
            (Kind::WebRtcServer, body.web_rtc_server_id()?)
        }
        BodyRef::RouterCreateWebRtcTransportRequest(body) => {
            (Kind::Transport, body.transport_id()?)
        }
        BodyRef::RouterCreatePlainTransportRequest(body) => (Kind::Transport, body.transport_id()?),
        BodyRef::RouterCreatePipeTransportRequest(body) => (Kind::Transport, body.transport_id()?),
        BodyRef::RouterCreateDirectTransportRequest(body) => {
            (Kind::Transport, body.transport_id()?)
        }
        BodyRef::RouterCreateActiveSpeakerObserverRequest(body) => {
            (Kind::RtpObserver, body.rtp_observer_id()?)
        }
        BodyRef::RouterCreateAudioLevelObserverRequest(body) => {
            (Kind::RtpObserver, body.rtp_observer_id()?)
        }
        BodyRef::TransportProduceRequest(body) => (Kind::Producer, body.producer_id()?),
        BodyRef::TransportConsumeRequest(body) => (Kind::Consumer, body.consumer_id()?),
        BodyRef::TransportProduceDataRequest(body) => {
            (Kind::DataProducer, body.data_producer_id()?)
        }
        BodyRef::TransportConsumeDataRequest(body) => {
            (Kind::DataConsumer, body.data_consumer_id()?)
        }
        _ => return Ok(None),
    }))
}

/// What the thing that a request makes cannot outlive.
fn needs<'a>(handler: &'a str, body: &BodyRef<'a>) -> Result<[Option<&'a str>; 2], ViewError> {
    Ok(match body {
        BodyRef::WorkerCreateRouterRequest(_) | BodyRef::WorkerCreateWebRtcServerRequest(_) => {
            [None, None]
        }
        BodyRef::RouterCreateWebRtcTransportRequest(body) => match body.options()?.listen()? {
            ListenRef::ListenServer(listen) => [Some(handler), Some(listen.web_rtc_server_id()?)],
            ListenRef::ListenIndividual(_) => [Some(handler), None],
        },
        BodyRef::TransportConsumeRequest(body) => [Some(handler), Some(body.producer_id()?)],
        BodyRef::TransportConsumeDataRequest(body) => {
            [Some(handler), Some(body.data_producer_id()?)]
        }
        _ => [Some(handler), None],
    })
}

impl AddAssign for Carries {
    fn add_assign(&mut self, other: Self) {
        self.routers += other.routers;
        self.web_rtc_servers += other.web_rtc_servers;
        self.transports += other.transports;
        self.producers += other.producers;
        self.consumers += other.consumers;
        self.data_producers += other.data_producers;
        self.data_consumers += other.data_consumers;
        self.rtp_observers += other.rtp_observers;
    }
}

impl Carries {
    fn of(&mut self, kind: Kind) -> &mut u64 {
        match kind {
            Kind::Router => &mut self.routers,
            Kind::WebRtcServer => &mut self.web_rtc_servers,
            Kind::Transport => &mut self.transports,
            Kind::Producer => &mut self.producers,
            Kind::Consumer => &mut self.consumers,
            Kind::DataProducer => &mut self.data_producers,
            Kind::DataConsumer => &mut self.data_consumers,
            Kind::RtpObserver => &mut self.rtp_observers,
        }
    }
}

/// Whether requests of this method make or close something that is counted.
fn concerns(method: Method) -> bool {
    matches!(
        method,
        Method::WorkerCreateWebrtcserver
            | Method::WorkerCreateRouter
            | Method::WorkerWebrtcserverClose
            | Method::WorkerCloseRouter
            | Method::RouterCreateWebrtctransport
            | Method::RouterCreateWebrtctransportWithServer
            | Method::RouterCreatePlaintransport
            | Method::RouterCreatePipetransport
            | Method::RouterCreateDirecttransport
            | Method::RouterCloseTransport
            | Method::RouterCreateActivespeakerobserver
            | Method::RouterCreateAudiolevelobserver
            | Method::RouterCloseRtpobserver
            | Method::TransportProduce
            | Method::TransportProduceData
            | Method::TransportConsume
            | Method::TransportConsumeData
            | Method::TransportCloseProducer
            | Method::TransportCloseConsumer
            | Method::TransportCloseDataproducer
            | Method::TransportCloseDataconsumer
    )
}
