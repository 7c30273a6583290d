//! Virtual routers.

use super::VirtualWorker;
use crate::merge::Whole;
use crate::messages::{Ask, acceptance};
use crate::refusal::Refusal;
use crate::state::{Id, Kind, MemberId, PairKey, Purpose, Router, Transport};
use crate::topology::TransportKind;
use bytes::Bytes;
use mafalda_channel::fbs::request::{BodyRef, Method};
use mafalda_channel::fbs::web_rtc_transport::ListenRef;
use mafalda_channel::{Request, ViewError};

impl VirtualWorker {
    pub(super) fn create_router(&mut self, id: &str, request: &Request<'_>) {
        if self.state.routers.contains_key(id) {
            let what = "a Router with same routerId";
            self.refuse(request.id, Refusal::exists(what, request.method));
        } else if let Err(reason) = self.own(id) {
            self.refuse(request.id, reason);
        } else {
            self.state.routers.insert(id.into(), Router::default());
            self.answer(&acceptance(request.id, None));
        }
    }

    pub(super) fn close_router(&mut self, id: &str, request: &Request<'_>) {
        let Some((id, router)) = self.state.routers.remove_entry(id) else {
            let reason = Refusal::not_found("Router", request.method);
            self.refuse(request.id, reason);
            return;
        };
        for thing in &router.things {
            self.forget_with_router(thing);
        }
        for (source, target) in router.pairs {
            let router = id.clone();
            self.forget_pair(&PairKey {
                router,
                source,
                target,
            });
        }
        // The real routers take all of theirs with them: nothing is closed one by one.
        for (member, count) in router.real {
            self.ledger.left(member, count);
            self.ask(member, Ask::close_router(&id), Purpose::Internal);
        }
        self.disown(&id);
        self.answer(&acceptance(request.id, None));
    }

    fn forget_with_router(&mut self, id: &Id) {
        self.flush(id);
        let Some(thing) = self.state.things.remove(id) else {
            return;
        };
        self.disown(id);
        if let Kind::Transport(transport) = thing.kind {
            for child in transport.children {
                self.state.things.remove(&child);
                self.disown(&child);
            }
            if let Some(server) = transport.server
                && let Some(server) = self.state.servers.get_mut(&server)
            {
                server.transports.remove(id);
            }
        }
    }

    pub(super) fn on_router_request(
        &mut self,
        body: Option<BodyRef<'_>>,
        request: &Request<'_>,
        message: &Bytes,
    ) -> Result<(), ViewError> {
        use BodyRef as Body;

        match (request.method, body) {
            (Method::RouterDump, _) => self.router_dump(request, message),
            (
                Method::RouterCreateWebrtctransport | Method::RouterCreateWebrtctransportWithServer,
                Some(Body::RouterCreateWebRtcTransportRequest(body)),
            ) => match body.options()?.listen()? {
                ListenRef::ListenServer(listen) => {
                    let (id, server) = (body.transport_id()?, listen.web_rtc_server_id()?);
                    self.create_transport_on_server(id, server, request, message)?;
                }
                ListenRef::ListenIndividual(_) => {
                    let transport = Transport::default();
                    self.create_transport(body.transport_id()?, transport, request, message);
                }
            },
            (
                Method::RouterCreatePlaintransport,
                Some(Body::RouterCreatePlainTransportRequest(body)),
            ) => {
                let transport = Transport {
                    kind: TransportKind::Plain,
                    ..Transport::default()
                };
                self.create_transport(body.transport_id()?, transport, request, message);
            }
            (
                Method::RouterCreatePipetransport,
                Some(Body::RouterCreatePipeTransportRequest(body)),
            ) => {
                let transport = Transport {
                    kind: TransportKind::Pipe,
                    ..Transport::default()
                };
                self.create_transport(body.transport_id()?, transport, request, message);
            }
            (
                Method::RouterCreateDirecttransport,
                Some(Body::RouterCreateDirectTransportRequest(body)),
            ) => {
                let transport = Transport {
                    kind: TransportKind::Direct,
                    direct: Some(Box::new(body.options()?.base()?.try_into()?)),
                    ..Transport::default()
                };
                self.create_transport(body.transport_id()?, transport, request, message);
            }
            (
                Method::RouterCreateAudiolevelobserver,
                Some(Body::RouterCreateAudioLevelObserverRequest(body)),
            ) => self.create_observer(body.rtp_observer_id()?, request, message),
            (
                Method::RouterCreateActivespeakerobserver,
                Some(Body::RouterCreateActiveSpeakerObserverRequest(body)),
            ) => self.create_observer(body.rtp_observer_id()?, request, message),
            (Method::RouterCloseTransport, Some(Body::RouterCloseTransportRequest(body))) => {
                self.close_transport(body.transport_id()?, request, message);
            }
            (Method::RouterCloseRtpobserver, Some(Body::RouterCloseRtpObserverRequest(body))) => {
                self.close_observer(body.rtp_observer_id()?, request, message);
            }
            _ => self.refuse_unknown_method(request),
        }
        Ok(())
    }

    fn router_dump(&mut self, request: &Request<'_>, message: &Bytes) {
        if let Some((id, router)) = self.state.routers.get_key_value(request.handler_id) {
            let whole = Whole::Router(id.clone());
            let members = router.real.keys().copied().collect();
            self.gather(whole, members, request, message);
        }
    }

    /// One more thing on this member's real router, which is made if there is none.
    pub(super) fn enter_router(&mut self, id: &str, member: MemberId) {
        let Some(router) = self.state.routers.get_mut(id) else {
            return;
        };
        let count = router.real.entry(member).or_insert(0);
        *count += 1;
        let first = *count == 1;
        self.ledger.entered(member);
        if first {
            self.ask(member, Ask::create_router(id), Purpose::Internal);
        }
    }

    /// One less; the real router goes with the last.
    pub(super) fn leave_router(&mut self, id: &str, member: MemberId) {
        let Some(router) = self.state.routers.get_mut(id) else {
            return;
        };
        let Some(count) = router.real.get_mut(&member) else {
            return;
        };
        *count -= 1;
        let last = *count == 0;
        if last {
            router.real.remove(&member);
        }
        self.ledger.left(member, 1);
        if last {
            self.ask(member, Ask::close_router(id), Purpose::Internal);
        }
    }
}
