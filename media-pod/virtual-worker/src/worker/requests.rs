//! What becomes of each request of the application.

use super::VirtualWorker;
use crate::merge::Gather;
use crate::messages::{Ask, acceptance};
use crate::recipe::{Media, Recipe};
use crate::state::{
    Consumer, Id, Kind, MemberId, PairKey, Producer, Purpose, Readiness, Router, Transport,
};
use bytes::Bytes;
use mafalda_channel::fbs::request::{Body, BodyRef, Method};
use mafalda_channel::fbs::web_rtc_transport::ListenRef;
use mafalda_channel::fbs::{data_producer, response, router};
use mafalda_channel::{Request, ViewError};
use std::collections::{BTreeMap, HashSet};

type Hold = Option<(PairKey, Readiness)>;

impl VirtualWorker {
    pub(super) fn on_request(
        &mut self,
        request: &Request<'_>,
        message: &Bytes,
    ) -> Result<(), ViewError> {
        let handler = request.handler_id;
        match (request.method, request.body()?) {
            (Method::WorkerDump | Method::WorkerGetResourceUsage, _) => {
                let members = self.state.members.keys().copied().collect();
                self.gather(request, message, members);
            }
            (Method::WorkerUpdateSettings, _) => {
                self.settings = Some(mafalda_channel::request(message)?);
                let members = self.state.members.keys().copied().collect();
                self.gather(request, message, members);
            }
            (Method::WorkerCreateRouter, Some(BodyRef::WorkerCreateRouterRequest(body))) => {
                let id = body.router_id()?;
                if self.is_taken(id) {
                    self.refuse_taken(request, "a Router with same routerId");
                } else {
                    self.state.routers.insert(id.to_owned(), Router::default());
                    self.answer(&acceptance(request.id, None));
                }
            }
            (Method::WorkerCloseRouter, Some(BodyRef::WorkerCloseRouterRequest(body))) => {
                self.close_router(request.id, body.router_id()?);
            }
            (
                Method::WorkerCreateWebrtcserver,
                Some(BodyRef::WorkerCreateWebRtcServerRequest(body)),
            ) => {
                let id = body.web_rtc_server_id()?;
                if self.is_taken(id) {
                    self.refuse_taken(request, "a WebRtcServer with same webRtcServerId");
                } else if let Some(member) = self.place("") {
                    let made = self.add(id, member, "", Kind::Server);
                    self.forward(member, request, message, None, Some(made), None);
                } else {
                    self.refuse_nobody(request.id);
                }
            }
            (
                Method::WorkerWebrtcserverClose,
                Some(BodyRef::WorkerCloseWebRtcServerRequest(body)),
            ) => self.close(body.web_rtc_server_id()?, request, message),
            (Method::RouterDump, _) => self.router_dump(request, message),
            (
                Method::RouterCreateWebrtctransport | Method::RouterCreateWebrtctransportWithServer,
                Some(BodyRef::RouterCreateWebRtcTransportRequest(body)),
            ) => {
                let server = match body.options()?.listen()? {
                    ListenRef::ListenServer(server) => Some(server.web_rtc_server_id()?.to_owned()),
                    ListenRef::ListenIndividual(_) => None,
                };
                let transport = Transport {
                    dtls: true,
                    server,
                    ..Transport::default()
                };
                self.create_transport(body.transport_id()?, transport, request, message);
            }
            (
                Method::RouterCreatePlaintransport,
                Some(BodyRef::RouterCreatePlainTransportRequest(body)),
            ) => {
                let id = body.transport_id()?;
                self.create_transport(id, Transport::default(), request, message);
            }
            (
                Method::RouterCreatePipetransport,
                Some(BodyRef::RouterCreatePipeTransportRequest(body)),
            ) => {
                let id = body.transport_id()?;
                self.create_transport(id, Transport::default(), request, message);
            }
            (
                Method::RouterCreateDirecttransport,
                Some(BodyRef::RouterCreateDirectTransportRequest(body)),
            ) => {
                let direct = Some(Box::new(body.options()?.base()?.try_into()?));
                let transport = Transport {
                    direct,
                    ..Transport::default()
                };
                self.create_transport(body.transport_id()?, transport, request, message);
            }
            (
                Method::RouterCreateAudiolevelobserver,
                Some(BodyRef::RouterCreateAudioLevelObserverRequest(body)),
            ) => self.create_observer(body.rtp_observer_id()?, request, message),
            (
                Method::RouterCreateActivespeakerobserver,
                Some(BodyRef::RouterCreateActiveSpeakerObserverRequest(body)),
            ) => self.create_observer(body.rtp_observer_id()?, request, message),
            (Method::RouterCloseTransport, Some(BodyRef::RouterCloseTransportRequest(body))) => {
                self.close(body.transport_id()?, request, message);
            }
            (
                Method::RouterCloseRtpobserver,
                Some(BodyRef::RouterCloseRtpObserverRequest(body)),
            ) => self.close(body.rtp_observer_id()?, request, message),
            (Method::TransportProduce | Method::TransportProduceData, Some(_)) => {
                self.produce(request, message)?;
            }
            (Method::TransportConsume, Some(BodyRef::TransportConsumeRequest(body))) => {
                self.consume(
                    body.consumer_id()?,
                    body.producer_id()?,
                    false,
                    request,
                    message,
                );
            }
            (Method::TransportConsumeData, Some(BodyRef::TransportConsumeDataRequest(body))) => {
                let (id, producer) = (body.data_consumer_id()?, body.data_producer_id()?);
                self.consume(id, producer, true, request, message);
            }
            (
                Method::TransportCloseProducer,
                Some(BodyRef::TransportCloseProducerRequest(body)),
            ) => self.close(body.producer_id()?, request, message),
            (
                Method::TransportCloseConsumer,
                Some(BodyRef::TransportCloseConsumerRequest(body)),
            ) => self.close(body.consumer_id()?, request, message),
            (
                Method::TransportCloseDataproducer,
                Some(BodyRef::TransportCloseDataProducerRequest(body)),
            ) => self.close(body.data_producer_id()?, request, message),
            (
                Method::TransportCloseDataconsumer,
                Some(BodyRef::TransportCloseDataConsumerRequest(body)),
            ) => self.close(body.data_consumer_id()?, request, message),
            (
                method @ (Method::ProducerPause
                | Method::ProducerResume
                | Method::DataproducerPause
                | Method::DataproducerResume),
                _,
            ) => {
                self.pass_to_handler(request, message);
                self.pause_copies(handler, method);
            }
            (
                Method::RtpobserverAddProducer,
                Some(BodyRef::RtpObserverAddProducerRequest(body)),
            ) => {
                self.observe(body.producer_id()?, request, message);
            }
            (
                Method::RtpobserverRemoveProducer,
                Some(BodyRef::RtpObserverRemoveProducerRequest(body)),
            ) => self.stop_observing(body.producer_id()?, request, message),
            _ => self.pass_to_handler(request, message),
        }
        Ok(())
    }

    // Passing on.

    fn forward(
        &mut self,
        member: MemberId,
        request: &Request<'_>,
        message: &Bytes,
        lane: Option<Id>,
        made: Option<(Id, u64)>,
        hold: Hold,
    ) {
        let purpose = Purpose::Application {
            id: request.id,
            lane,
            made,
            hold,
            ends: None,
        };
        self.pass(member, request.id, message, purpose);
    }

    /// To the member that has it. One that has not refuses it as any worker does.
    fn pass_to_handler(&mut self, request: &Request<'_>, message: &Bytes) {
        let handler = request.handler_id;
        let thing = self.state.things.get(handler);
        let lane = thing
            .and_then(|thing| thing.lane(handler))
            .map(str::to_owned);
        match thing
            .map(|thing| thing.member)
            .or_else(|| self.first_member())
        {
            Some(member) => self.forward(member, request, message, lane, None, None),
            None => self.refuse_nobody(request.id),
        }
    }

    fn gather(&mut self, request: &Request<'_>, message: &Bytes, members: HashSet<MemberId>) {
        if members.is_empty() {
            self.refuse_nobody(request.id);
            return;
        }
        let gather = self.next_serial();
        let missing = members.clone();
        let entry = Gather {
            id: request.id,
            missing,
            answers: Vec::new(),
        };
        self.state.gathers.insert(gather, entry);
        for member in members {
            self.pass(member, request.id, message, Purpose::Gather(gather));
        }
    }

    fn refuse_nobody(&mut self, id: u32) {
        self.refuse(id, "Error", "there is no worker");
    }

    fn refuse_taken(&mut self, request: &Request<'_>, what: &str) {
        let reason = format!("{what} already exists");
        self.refuse(request.id, "Error", &reason);
    }

    /// Ids are the whole worker's, not a member's.
    fn is_taken(&self, id: &str) -> bool {
        self.state.things.contains_key(id) || self.state.routers.contains_key(id)
    }

    // Routers.

    fn close_router(&mut self, request: u32, id: &str) {
        if !self.state.routers.contains_key(id) {
            self.refuse(
                request,
                "NotFoundError",
                "Router not found [method:worker.closeRouter]",
            );
            return;
        }
        let things = self.state.things.iter();
        let things = things.filter(|(_, thing)| thing.router == id);
        let things: Vec<Id> = things.map(|(id, _)| id.clone()).collect();
        things.iter().for_each(|thing| self.flush(thing));
        // The real routers take all of theirs with them: nothing is closed one by one.
        let pairs = self.state.pairs.extract_if(|key, _| key.router == id);
        for (_, pair) in pairs.collect::<Vec<_>>() {
            self.state.pair_of.remove(&pair.source_transport);
            self.state.pair_of.remove(&pair.target_transport);
        }
        for thing in &things {
            self.state.things.remove(thing);
        }
        let router = self.state.routers.remove(id).unwrap_or_default();
        for (member, count) in router.real {
            self.ledger.left(member, count);
            self.ask(member, Ask::close_router(id), Purpose::Internal);
        }
        self.answer(&acceptance(request, None));
    }

    fn router_dump(&mut self, request: &Request<'_>, message: &Bytes) {
        let Some(router) = self.state.routers.get(request.handler_id) else {
            self.pass_to_handler(request, message);
            return;
        };
        let members: HashSet<MemberId> = router.real.keys().copied().collect();
        if members.is_empty() {
            let id = request.handler_id.to_owned();
            let dump = router::DumpResponse { id, ..empty_dump() };
            let body = response::Body::RouterDumpResponse(Box::new(dump));
            self.answer(&acceptance(request.id, Some(body)));
        } else {
            self.gather(request, message, members);
        }
    }

    fn create_transport(
        &mut self,
        id: &str,
        transport: Transport,
        request: &Request<'_>,
        message: &Bytes,
    ) {
        let router = request.handler_id;
        if !self.state.routers.contains_key(router) {
            self.pass_to_handler(request, message);
            return;
        }
        if self.is_taken(id) {
            self.refuse_taken(request, "a Transport with same id");
            return;
        }
        // A transport lives where its WebRtcServer does.
        let server = transport
            .server
            .as_ref()
            .and_then(|id| self.state.things.get(id));
        let Some(member) = server
            .map(|server| server.member)
            .or_else(|| self.place(router))
        else {
            self.refuse_nobody(request.id);
            return;
        };
        self.enter_router(router, member);
        let made = self.add(id, member, router, Kind::Transport(transport));
        self.forward(
            member,
            request,
            message,
            Some(id.to_owned()),
            Some(made),
            None,
        );
    }

    fn create_observer(&mut self, id: &str, request: &Request<'_>, message: &Bytes) {
        let router = request.handler_id;
        if !self.state.routers.contains_key(router) {
            self.pass_to_handler(request, message);
            return;
        }
        if self.is_taken(id) {
            self.refuse_taken(request, "an RtpObserver with same id");
            return;
        }
        let Some(member) = self.place(router) else {
            self.refuse_nobody(request.id);
            return;
        };
        self.enter_router(router, member);
        let producers = HashSet::new();
        let made = self.add(id, member, router, Kind::Observer { producers });
        self.forward(member, request, message, None, Some(made), None);
    }

    /// Closes a thing that the request's handler has.
    fn close(&mut self, id: &str, request: &Request<'_>, message: &Bytes) {
        let handler = request.handler_id;
        let Some(thing) = self.state.things.get(id) else {
            self.close_unknown(request, message);
            return;
        };
        let member = thing.member;
        if !closes(request.method, &thing.kind) {
            self.close_unknown(request, message);
            return;
        }
        let (owner, lane) = match &thing.kind {
            Kind::Server => ("", None),
            Kind::Transport(_) => (thing.router.as_str(), Some(id)),
            Kind::Observer { .. } => (thing.router.as_str(), None),
            Kind::Producer(_) | Kind::Consumer(_) => {
                let lane = thing.lane(id);
                (lane.unwrap_or_default(), lane)
            }
        };
        if owner != handler {
            self.close_unknown(request, message);
            return;
        }
        let lane = lane.map(str::to_owned);
        let serial = thing.serial;
        if matches!(thing.kind, Kind::Consumer(_)) {
            let purpose = Purpose::Application {
                id: request.id,
                lane,
                made: None,
                ends: Some((id.to_owned(), serial)),
                hold: None,
            };
            self.pass(member, request.id, message, purpose);
            self.leave(id);
        } else {
            self.forward(member, request, message, lane, None, None);
            self.remove(id);
        }
    }

    fn close_unknown(&mut self, request: &Request<'_>, message: &Bytes) {
        let real = self
            .state
            .routers
            .get(request.handler_id)
            .map(|router| &router.real);
        match real.map(|real| real.keys().next().copied()) {
            // Its real routers refuse it, or there are none.
            Some(Some(member)) => self.forward(member, request, message, None, None, None),
            Some(None) => {
                let what = match request.method {
                    Method::RouterCloseTransport => "Transport not found",
                    _ => "RtpObserver not found",
                };
                self.refuse(request.id, "NotFoundError", what);
            }
            None => self.pass_to_handler(request, message),
        }
    }

    // Producers and consumers.

    fn produce(&mut self, request: &Request<'_>, message: &Bytes) -> Result<(), ViewError> {
        let handler = request.handler_id;
        let (id, paused, recipe) = match mafalda_channel::request(message)?.body {
            Some(Body::TransportProduceRequest(body)) => {
                let media = Recipe::Media(Media::new(&body));
                (body.producer_id, body.paused, media)
            }
            Some(Body::TransportProduceDataRequest(body)) => {
                let (id, paused) = (body.data_producer_id.clone(), body.paused);
                let recipe = match body.type_ {
                    data_producer::Type::Sctp => Recipe::Sctp(*body),
                    data_producer::Type::Direct => Recipe::Direct(*body),
                };
                (id, paused, recipe)
            }
            _ => return Ok(()),
        };
        if self.transport_mut(handler).is_none() {
            self.pass_to_handler(request, message);
            return Ok(());
        }
        if self.is_taken(&id) {
            self.refuse_taken(request, "a Producer with same producerId");
            return Ok(());
        }
        let thing = &self.state.things[handler];
        let (member, router) = (thing.member, thing.router.clone());
        let producer = Producer {
            transport: handler.to_owned(),
            recipe,
            paused,
            consumers: HashSet::new(),
            observers: HashSet::new(),
            copies: BTreeMap::new(),
        };
        let made = self.add(&id, member, &router, Kind::Producer(producer));
        self.forward(
            member,
            request,
            message,
            Some(handler.to_owned()),
            Some(made),
            None,
        );
        Ok(())
    }

    fn consume(
        &mut self,
        id: &str,
        producer_id: &str,
        data: bool,
        request: &Request<'_>,
        message: &Bytes,
    ) {
        let handler = request.handler_id;
        if self.transport_mut(handler).is_none() {
            self.pass_to_handler(request, message);
            return;
        }
        if self.is_taken(id) {
            self.refuse_taken(request, "a Consumer with same consumerId");
            return;
        }
        let thing = &self.state.things[handler];
        let (member, router) = (thing.member, thing.router.clone());
        let lane = Some(handler.to_owned());
        let producer_thing = self.state.things.get(producer_id);
        if producer_thing.is_none_or(|thing| thing.router != router) {
            // Refused: no producer of this router.
            self.forward(member, request, message, lane, None, None);
            return;
        }
        let Some(producer) = self
            .producer_mut(producer_id)
            .filter(|p| p.is_data() == data)
        else {
            self.forward(member, request, message, lane, None, None);
            return;
        };
        producer.consumers.insert(id.to_owned());
        let hold = self.use_producer(producer_id, member, id);
        let consumer = Consumer {
            transport: handler.to_owned(),
            producer: Some(producer_id.to_owned()),
            data,
        };
        let made = self.add(id, member, &router, Kind::Consumer(consumer));
        self.forward(member, request, message, lane, Some(made), hold);
    }

    fn pause_copies(&mut self, producer_id: &str, method: Method) {
        let of_data = matches!(
            method,
            Method::DataproducerPause | Method::DataproducerResume
        );
        let producer = self.producer_mut(producer_id);
        let Some(producer) = producer.filter(|producer| producer.is_data() == of_data) else {
            return;
        };
        producer.paused = matches!(method, Method::ProducerPause | Method::DataproducerPause);
        let copies: Vec<MemberId> = producer.copies.keys().copied().collect();
        for member in copies {
            self.ask(member, Ask::bare(method, producer_id), Purpose::Internal);
        }
    }

    // Observers.

    fn observe(&mut self, producer_id: &str, request: &Request<'_>, message: &Bytes) {
        let observer = request.handler_id;
        let Some(thing) = self.state.things.get(observer) else {
            self.pass_to_handler(request, message);
            return;
        };
        let (member, router) = (thing.member, thing.router.clone());
        let producer_thing = self.state.things.get(producer_id);
        if producer_thing.is_some_and(|thing| thing.router == router)
            && let Some(producer) = self.producer_mut(producer_id)
            && !producer.is_data()
        {
            producer.observers.insert(observer.to_owned());
            self.use_producer(producer_id, member, observer);
            let thing = self.state.things.get_mut(observer);
            if let Some(Kind::Observer { producers }) = thing.map(|thing| &mut thing.kind) {
                producers.insert(producer_id.to_owned());
            }
        }
        self.pass_to_handler(request, message);
    }

    fn stop_observing(&mut self, producer_id: &str, request: &Request<'_>, message: &Bytes) {
        self.pass_to_handler(request, message);
        let observer = request.handler_id;
        let thing = self.state.things.get_mut(observer);
        let Some((member, Kind::Observer { producers })) =
            thing.map(|thing| (thing.member, &mut thing.kind))
        else {
            return;
        };
        if producers.remove(producer_id) {
            if let Some(producer) = self.producer_mut(producer_id) {
                producer.observers.remove(observer);
            }
            self.leave_producer(producer_id, member, observer);
        }
    }
}

/// Whether requests of this method close things of this kind.
fn closes(method: Method, kind: &Kind) -> bool {
    match kind {
        Kind::Server => method == Method::WorkerWebrtcserverClose,
        Kind::Transport(_) => method == Method::RouterCloseTransport,
        Kind::Observer { .. } => method == Method::RouterCloseRtpobserver,
        Kind::Producer(producer) if producer.is_data() => {
            method == Method::TransportCloseDataproducer
        }
        Kind::Producer(_) => method == Method::TransportCloseProducer,
        Kind::Consumer(consumer) if consumer.data => method == Method::TransportCloseDataconsumer,
        Kind::Consumer(_) => method == Method::TransportCloseConsumer,
    }
}

fn empty_dump() -> router::DumpResponse {
    router::DumpResponse {
        id: String::new(),
        transport_ids: Vec::new(),
        rtp_observer_ids: Vec::new(),
        map_producer_id_consumer_ids: Vec::new(),
        map_consumer_id_producer_id: Vec::new(),
        map_producer_id_observer_ids: Vec::new(),
        map_data_producer_id_data_consumer_ids: Vec::new(),
        map_data_consumer_id_data_producer_id: Vec::new(),
    }
}
