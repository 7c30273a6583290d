//! WebRtcServers of the application: each on one member, or each member's own stands for all.

use super::VirtualWorker;
use crate::merge::{ServerDump, Whole};
use crate::messages::{Ask, acceptance};
use crate::refusal::Refusal;
use crate::state::{Fate, Id, MemberId, Purpose, Server, Transport};
use bytes::Bytes;
use mafalda_channel::fbs::request::{Body, Method};
use mafalda_channel::fbs::transport::Protocol;
use mafalda_channel::fbs::web_rtc_transport::Listen;
use mafalda_channel::fbs::worker::CreateWebRtcServerRequestRef;
use mafalda_channel::{Request, ViewError, encode_request};
use std::collections::HashSet;
use std::net::IpAddr;

impl VirtualWorker {
    pub(super) fn create_server(
        &mut self,
        body: &CreateWebRtcServerRequestRef<'_>,
        request: &Request<'_>,
        message: &Bytes,
    ) -> Result<(), ViewError> {
        let id = body.web_rtc_server_id()?;
        if self.state.servers.contains_key(id) {
            let what = "a WebRtcServer with same webRtcServerId";
            self.refuse(request.id, Refusal::exists(what, request.method));
            return Ok(());
        }
        let stands_for_all = self.config.member_server.is_some();
        let (udp, tcp) = match protocols(body)? {
            Err(reason) if stands_for_all => {
                self.refuse(request.id, reason);
                return Ok(());
            }
            // The member will say so itself.
            Err(_) => (false, false),
            Ok(protocols) => protocols,
        };
        let member = match stands_for_all {
            true => None,
            false => match self.choose("") {
                Some(member) => Some(member),
                None => {
                    self.refuse_nobody(request.id);
                    return Ok(());
                }
            },
        };
        if let Err(reason) = self.own(id) {
            self.refuse(request.id, reason);
            return Ok(());
        }
        let serial = self.next_serial();
        let server = Server {
            serial,
            member,
            udp,
            tcp,
            transports: HashSet::new(),
        };
        let id = Id::from(id);
        self.state.servers.insert(id.clone(), server);
        match member {
            Some(member) => {
                let fate = Fate::Makes(id, serial);
                self.forward(member, request, message, None, fate);
            }
            None => self.answer(&acceptance(request.id, None)),
        }
        Ok(())
    }

    /// Transports go with their server, as in mediasoup: without an event of their own.
    pub(super) fn close_server(&mut self, id: &str, request: &Request<'_>, message: &Bytes) {
        let Some((id, server)) = self.state.servers.get_key_value(id) else {
            let reason = Refusal::not_found("WebRtcServer", request.method);
            self.refuse(request.id, reason);
            return;
        };
        let id = id.clone();
        if let Some(member) = server.member {
            self.forward(member, request, message, None, Fate::Nothing);
        } else {
            for transport in server.transports.clone() {
                if let Some(thing) = self.state.things.get(&transport) {
                    let (member, router) = (thing.member, thing.router.clone());
                    let close = Ask::close_transport(&router, &transport);
                    self.ask(member, close, Purpose::Internal);
                }
            }
            self.answer(&acceptance(request.id, None));
        }
        self.remove_server(&id);
    }

    pub(super) fn remove_server(&mut self, id: &Id) {
        if let Some(server) = self.state.servers.remove(id) {
            server
                .transports
                .iter()
                .for_each(|transport| self.remove(transport));
            self.disown(id);
        }
    }

    /// The request's handler is a server.
    pub(super) fn on_server_request(&mut self, request: &Request<'_>, message: &Bytes) {
        let Some((id, server)) = self.state.servers.get_key_value(request.handler_id) else {
            return;
        };
        if let Some(member) = server.member {
            self.forward(member, request, message, None, Fate::Nothing);
            return;
        }
        let whole = Whole::Server(ServerDump {
            id: id.clone(),
            udp: server.udp,
            tcp: server.tcp,
            transports: server.transports.clone(),
        });
        if request.method != Method::WebrtcserverDump {
            self.refuse_unknown_method(request);
            return;
        }
        let real = self.config.member_server.as_deref().unwrap_or_default();
        let ask = Ask::bare(Method::WebrtcserverDump, real).with_id(request.id);
        let members: HashSet<MemberId> = self.state.members.keys().copied().collect();
        self.gather(whole, members, request, &encode_request(&ask));
    }

    pub(super) fn create_transport_on_server(
        &mut self,
        id: &str,
        server_id: &str,
        request: &Request<'_>,
        message: &Bytes,
    ) -> Result<(), ViewError> {
        let Some((server_id, server)) = self.state.servers.get_key_value(server_id) else {
            self.refuse(request.id, Refusal::no_server());
            return Ok(());
        };
        let server_id = server_id.clone();
        let transport = Transport {
            server: Some(server_id.clone()),
            ..Transport::default()
        };
        let made = match (server.member, &self.config.member_server) {
            // A transport lives where its server does.
            (Some(member), _) => self.create_transport_on(member, id, transport, request, message),
            (None, real) => {
                let (udp, tcp) = (server.udp, server.tcp);
                let mut owned = mafalda_channel::request(message)?;
                if let Some(Body::RouterCreateWebRtcTransportRequest(body)) = &mut owned.body
                    && let Listen::ListenServer(listen) = &mut body.options.listen
                {
                    listen.web_rtc_server_id = real.clone().unwrap_or_default();
                    body.options.enable_udp &= udp;
                    body.options.enable_tcp &= tcp;
                }
                self.create_transport(id, transport, request, &encode_request(&owned))
            }
        };
        if made && let Some(server) = self.state.servers.get_mut(&server_id) {
            server.transports.insert(id.into());
        }
        Ok(())
    }
}

/// Whether the server listens for UDP, and for TCP; or why mediasoup would not make it.
fn protocols(
    body: &CreateWebRtcServerRequestRef<'_>,
) -> Result<Result<(bool, bool), Refusal>, ViewError> {
    let (mut udp, mut tcp) = (false, false);
    for info in body.listen_infos()?.into_iter().flatten() {
        let info = info?;
        if info.ip()?.parse::<IpAddr>().is_err() {
            let reason = format!("invalid IP '{}'", info.ip()?);
            return Ok(Err(Refusal::type_error(reason)));
        }
        match info.protocol()? {
            Protocol::Udp => udp = true,
            Protocol::Tcp => tcp = true,
        }
    }
    Ok(match udp || tcp {
        true => Ok((udp, tcp)),
        false => Err(Refusal::type_error(
            "wrong listenInfos (empty array)".to_owned(),
        )),
    })
}
