//! Transports of the application.

use super::VirtualWorker;
use crate::refusal::Refusal;
use crate::state::{Fate, Id, Kind, MemberId, Transport};
use crate::topology::TransportKind;
use bytes::Bytes;
use mafalda_channel::fbs::request::{BodyRef, Method};
use mafalda_channel::{Request, ViewError};

impl VirtualWorker {
    /// Whether it was not refused.
    pub(super) fn create_transport(
        &mut self,
        id: &str,
        transport: Transport,
        request: &Request<'_>,
        message: &Bytes,
    ) -> bool {
        let direct = transport.kind == TransportKind::Direct;
        let weight = self.transport_weight(request.handler_id, direct);
        let Some(member) = self.choose(request.handler_id) else {
            self.refuse_nobody(request.id);
            return false;
        };
        let made = self.create_transport_on(member, id, transport, request, message);
        if made {
            self.ledger.placed(member, weight, self.now);
        }
        made
    }

    /// Whether it was not refused.
    pub(super) fn create_transport_on(
        &mut self,
        member: MemberId,
        id: &str,
        transport: Transport,
        request: &Request<'_>,
        message: &Bytes,
    ) -> bool {
        let router = request.handler_id;
        let of_router = self.state.things.get(id);
        if of_router.is_some_and(|t| matches!(t.kind, Kind::Transport(_)) && *t.router == *router) {
            let reason = Refusal::exists("a Transport with same id", request.method);
            self.refuse(request.id, reason);
            return false;
        }
        if let Err(reason) = self.own(id) {
            self.refuse(request.id, reason);
            return false;
        }
        self.enter_router(router, member);
        let (id, serial) = self.add(id, member, router, Kind::Transport(transport));
        let fate = Fate::Makes(id.clone(), serial);
        self.forward(member, request, message, Some(id), fate);
        true
    }

    pub(super) fn close_transport(&mut self, id: &str, request: &Request<'_>, message: &Bytes) {
        let thing = self.state.things.get(id).filter(|thing| {
            matches!(thing.kind, Kind::Transport(_)) && *thing.router == *request.handler_id
        });
        let Some(thing) = thing else {
            let reason = Refusal::not_found("Transport", request.method);
            self.refuse(request.id, reason);
            return;
        };
        let (id, member) = (thing.id.clone(), thing.member);
        self.forward(member, request, message, Some(id.clone()), Fate::Nothing);
        self.remove(&id);
    }

    pub(super) fn on_transport_request(
        &mut self,
        body: Option<BodyRef<'_>>,
        request: &Request<'_>,
        message: &Bytes,
    ) -> Result<(), ViewError> {
        use BodyRef as Body;

        match (request.method, body) {
            (Method::TransportProduce | Method::TransportProduceData, Some(_)) => {
                self.produce(request, message)?;
            }
            (Method::TransportConsume, Some(Body::TransportConsumeRequest(body))) => {
                let (id, producer) = (body.consumer_id()?, body.producer_id()?);
                self.consume(id, producer, false, request, message);
            }
            (Method::TransportConsumeData, Some(Body::TransportConsumeDataRequest(body))) => {
                let (id, producer) = (body.data_consumer_id()?, body.data_producer_id()?);
                self.consume(id, producer, true, request, message);
            }
            (Method::TransportCloseProducer, Some(Body::TransportCloseProducerRequest(body))) => {
                self.close_producer(body.producer_id()?, false, request, message);
            }
            (
                Method::TransportCloseDataproducer,
                Some(Body::TransportCloseDataProducerRequest(body)),
            ) => self.close_producer(body.data_producer_id()?, true, request, message),
            (Method::TransportCloseConsumer, Some(Body::TransportCloseConsumerRequest(body))) => {
                self.close_consumer(body.consumer_id()?, false, request, message);
            }
            (
                Method::TransportCloseDataconsumer,
                Some(Body::TransportCloseDataConsumerRequest(body)),
            ) => self.close_consumer(body.data_consumer_id()?, true, request, message),
            _ => self.pass_to_handler(request, message),
        }
        Ok(())
    }

    /// Forgets a transport and what it carries, which the member was told or told us.
    pub(super) fn remove_transport(&mut self, id: &Id) {
        self.flush(id);
        let Some(transport) = self.state.transport(id) else {
            return;
        };
        let server = transport.server.take();
        let children = std::mem::take(&mut transport.children);
        if let Some(server) = server
            && let Some(server) = self.state.servers.get_mut(&server)
        {
            server.transports.remove(id);
        }
        children.iter().for_each(|child| self.remove(child));
        self.forget_placed(id);
    }
}
