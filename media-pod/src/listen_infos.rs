//! Listen infos of an application, rewritten to the pod's own addresses and ports.
//!
//! An application writes for a worker on its own machine: `0.0.0.0`, that machine's public name, a
//! port of its choice. None of it holds on a media pod. So the requests that open sockets are
//! rewritten on their way to the worker:
//!
//! - A WebRtcTransport with listen infos of its own is made on the pod's own WebRtcServer of that
//!   worker, which listens on the worker's one UDP and TCP port. It gets candidates of the
//!   protocols that the application listed, in the application's order of preference. The server
//!   is made when it is first needed and the application never sees it.
//! - A WebRtcServer of the application gets the worker's port if nobody has it, else ports of the
//!   pod's range. As long as it has the worker's port, WebRtcTransports with listen infos of their
//!   own get ports of the range.
//! - Plain and pipe transports get an address of the family that the application wrote and a port
//!   of the range.
//!
//! Of the application's listen infos the protocol, the buffer sizes and (with one socket)
//! `ipv6Only` are kept. `exposeInternalIp` and `udpReusePort` are dropped, as are ports and
//! addresses. What makes no sense is answered in the worker's place with the error that mediasoup
//! has for it.
//!
//! One [`Rewriter`] serves one worker. It is pure: messages in, messages out.

mod addresses;
mod refusal;
#[cfg(test)]
mod tests;

pub use addresses::{Address, Addresses};

use addresses::{Peer, Ports, Socket, sockets};
use bytes::Bytes;
use mafalda_channel::fbs::request::{Body, BodyRef, Method};
use mafalda_channel::fbs::transport::{ListenInfo, Protocol};
use mafalda_channel::fbs::{self, request, response};
use mafalda_channel::{
    Message, Request, Response, ViewError, encode_request, encode_response, view,
};
use refusal::Refusal;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Id of the pod's own WebRtcServer. Libraries name theirs with UUIDs.
pub const OWN_WEBRTC_SERVER: &str = "mafalda-media-pod";

/// What becomes of a message of the application.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ForWorker {
    /// The message goes to the worker as it is.
    Unchanged,
    /// These go to the worker in its place, in this order.
    Instead(Vec<Bytes>),
    /// Nothing goes to the worker; this is the response to the application.
    Answer(Bytes),
}

/// What becomes of a message of the worker.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ForApplication {
    /// The message goes to the application as it is.
    Unchanged,
    /// This goes to the application in its place.
    Instead(Bytes),
    /// Nothing goes to the application: it is the answer to a request of the pod's own.
    Nothing,
}

/// Rewrites the messages between one application and one worker.
#[derive(Debug)]
pub struct Rewriter {
    addresses: Addresses,
    is_free: fn(&Addresses) -> bool,
    /// The worker had its port: a server that it is yet to close may still be there.
    had_port: bool,
    /// Its port could not be had when it was needed last.
    on_range: Arc<AtomicBool>,
    /// Whoever sends requests knows of the pod's own WebRtcServer: it is our virtual workers.
    for_members: bool,
    port: Port,
    /// Transports on their way to a WebRtcServer that the worker refused, by request id, with the
    /// reason.
    stranded: HashMap<u32, String>,
}

/// Who has the worker's own port.
#[derive(Debug)]
enum Port {
    Free,
    /// The pod's own WebRtcServer.
    Pod {
        /// Set until the worker has answered.
        opening: Option<Opening>,
    },
    /// A WebRtcServer of the application.
    Application {
        server: String,
        /// The request that makes it, until the worker has answered.
        opening: Option<u32>,
    },
}

/// The pod's own WebRtcServer is being made.
#[derive(Debug)]
struct Opening {
    request: u32,
    /// Requests for transports on it that were sent after.
    transports: Vec<u32>,
}

impl Rewriter {
    /// For a worker that was started just now.
    ///
    /// `is_free` tells whether the worker's port can be had. Where another program has it, or an
    /// outgoing connection, a WebRtcServer gets ports of the range.
    pub fn new(addresses: Addresses, is_free: fn(&Addresses) -> bool) -> Self {
        Self {
            addresses,
            is_free,
            had_port: false,
            on_range: Arc::default(),
            for_members: false,
            port: Port::Free,
            stranded: HashMap::new(),
        }
    }

    /// For a worker whose requests come from virtual workers: they place transports on the pod's own
    /// WebRtcServer by its name, and their applications cannot.
    pub fn for_members(self) -> Self {
        Self {
            for_members: true,
            ..self
        }
    }

    /// Whether the worker has ports of the range in place of its own; it may come later.
    pub fn on_range(&self) -> Arc<AtomicBool> {
        self.on_range.clone()
    }

    /// Takes a message of the application, with its prefix.
    ///
    /// # Errors
    /// It is no message of the channel. The worker must not get it: it does not check what it
    /// reads.
    pub fn on_request(&mut self, message: &Bytes) -> Result<ForWorker, ViewError> {
        let Message::Request(request) = view(message)? else {
            return Ok(ForWorker::Unchanged);
        };
        let rewritten = match request.method {
            Method::WorkerCreateWebrtcserver => self.create_webrtc_server(&request),
            Method::WorkerWebrtcserverClose => self.close_webrtc_server(&request),
            Method::WebrtcserverDump => self.dump_webrtc_server(&request),
            Method::RouterCreateWebrtctransport => self.create_webrtc_transport(&request),
            Method::RouterCreateWebrtctransportWithServer => {
                self.on_webrtc_server(&request, message)
            }
            Method::RouterCreatePlaintransport => self.create_plain_transport(&request),
            Method::RouterCreatePipetransport => self.create_pipe_transport(&request),
            _ => Ok(ForWorker::Unchanged),
        };
        Ok(rewritten.unwrap_or_else(|refusal| ForWorker::Answer(refusal.answer(request.id))))
    }

    /// Takes a message of the worker, with its prefix.
    ///
    /// # Errors
    /// It is no message of the channel.
    pub fn on_response(&mut self, message: &Bytes) -> Result<ForApplication, ViewError> {
        if self.expects_nothing() {
            return Ok(ForApplication::Unchanged);
        }
        let Message::Response(response) = view(message)? else {
            return Ok(ForApplication::Unchanged);
        };
        if self.settles_opening(&response) {
            return Ok(ForApplication::Nothing);
        }
        if let Some(reason) = self.stranded.remove(&response.id) {
            return Ok(if response.accepted {
                ForApplication::Unchanged
            } else {
                ForApplication::Instead(Refusal::Other(reason).answer(response.id))
            });
        }
        if matches!(self.port, Port::Pod { .. }) && is_worker_dump(&response) {
            return without_own_server(message).map(ForApplication::Instead);
        }
        Ok(ForApplication::Unchanged)
    }

    /// No message of the worker can be one to change.
    fn expects_nothing(&self) -> bool {
        let settled = match &self.port {
            Port::Free => true,
            Port::Application { opening, .. } => opening.is_none(),
            Port::Pod { .. } => false,
        };
        settled && self.stranded.is_empty()
    }

    fn create_webrtc_server(&mut self, request: &Request<'_>) -> Rewritten {
        let Some(BodyRef::WorkerCreateWebRtcServerRequest(body)) = request.body()? else {
            return Err(Refusal::NoBody);
        };
        let server = body.web_rtc_server_id()?;
        if server == OWN_WEBRTC_SERVER {
            return Err(Refusal::SameServer);
        }
        let sockets = match body.listen_infos()? {
            Some(listen_infos) => sockets(listen_infos.iter())?,
            None => Vec::new(),
        };
        // Without any the worker refuses it, and the port stays free.
        let ports = if matches!(self.port, Port::Free) && !sockets.is_empty() && self.takes_port() {
            self.port = Port::Application {
                server: server.to_owned(),
                opening: Some(request.id),
            };
            Ports::Own
        } else {
            Ports::Range
        };
        Ok(instead([create_server(
            request.id,
            server,
            self.addresses.everywhere(&sockets, ports),
        )]))
    }

    /// Whether a server may have the worker's port, of those that ask while nobody has it.
    fn takes_port(&mut self) -> bool {
        self.had_port = self.had_port || (self.is_free)(&self.addresses);
        self.on_range.store(!self.had_port, Ordering::Relaxed);
        self.had_port
    }

    fn close_webrtc_server(&mut self, request: &Request<'_>) -> Rewritten {
        let Some(BodyRef::WorkerCloseWebRtcServerRequest(body)) = request.body()? else {
            return Err(Refusal::NoBody);
        };
        let closed = body.web_rtc_server_id()?;
        if closed == OWN_WEBRTC_SERVER {
            return Err(Refusal::NoServer);
        }
        // The worker works in order: whatever comes after this finds the port free.
        if matches!(&self.port, Port::Application { server, .. } if server == closed) {
            self.port = Port::Free;
        }
        Ok(ForWorker::Unchanged)
    }

    fn create_webrtc_transport(&mut self, request: &Request<'_>) -> Rewritten {
        use fbs::web_rtc_transport::{Listen, ListenIndividual, ListenRef, ListenServer};

        let Some(BodyRef::RouterCreateWebRtcTransportRequest(body)) = request.body()? else {
            return Err(Refusal::NoBody);
        };
        let options = body.options()?;
        let ListenRef::ListenIndividual(listen) = options.listen()? else {
            return Err(Refusal::NoBody);
        };
        let sockets = sockets(listen.listen_infos()?.iter())?;
        let on_own_server = !sockets.is_empty() && !matches!(self.port, Port::Application { .. });
        let listen = if on_own_server {
            Listen::ListenServer(Box::new(ListenServer {
                web_rtc_server_id: OWN_WEBRTC_SERVER.to_owned(),
            }))
        } else {
            Listen::ListenIndividual(Box::new(ListenIndividual {
                listen_infos: self.addresses.everywhere(&sockets, Ports::Range),
            }))
        };
        // With listen infos the worker goes by their order, whatever these four say; on a server
        // it goes by them alone.
        let lists = |protocol| sockets.iter().any(|socket| socket.protocol == protocol);
        let tcp_first = sockets
            .first()
            .is_some_and(|socket| socket.protocol == Protocol::Tcp);
        let options = fbs::web_rtc_transport::WebRtcTransportOptions {
            base: Box::new(options.base()?.try_into()?),
            listen,
            enable_udp: lists(Protocol::Udp),
            enable_tcp: lists(Protocol::Tcp),
            prefer_udp: false,
            prefer_tcp: tcp_first,
            ice_consent_timeout: options.ice_consent_timeout()?,
        };
        let method = if on_own_server {
            Method::RouterCreateWebrtctransportWithServer
        } else {
            Method::RouterCreateWebrtctransport
        };
        let transport = encode_request(&request::Request {
            id: request.id,
            method,
            handler_id: request.handler_id.to_owned(),
            body: Some(Body::RouterCreateWebRtcTransportRequest(Box::new(
                fbs::router::CreateWebRtcTransportRequest {
                    transport_id: body.transport_id()?.to_owned(),
                    options: Box::new(options),
                },
            ))),
        });
        if !on_own_server {
            return Ok(instead([transport]));
        }
        let server = self.need_own_server(request.id, &sockets);
        Ok(instead(server.into_iter().chain([transport])))
    }

    /// The request that makes the pod's own WebRtcServer, unless it was made already.
    fn need_own_server(&mut self, transport: u32, wanted: &[Socket]) -> Option<Bytes> {
        if let Port::Pod { opening } = &mut self.port {
            if let Some(opening) = opening {
                opening.transports.push(transport);
            }
            return None;
        }
        // Libraries count their requests up from 0 or 1, and start again after 2^32: half of that
        // away from the one at hand, no id is in use.
        let request = transport.wrapping_add(1 << 31);
        self.port = Port::Pod {
            opening: Some(Opening {
                request,
                transports: vec![transport],
            }),
        };
        let sockets = [Protocol::Udp, Protocol::Tcp].map(|protocol| {
            let plain = Socket {
                protocol,
                send_buffer_size: 0,
                recv_buffer_size: 0,
            };
            let same = |socket: &&Socket| socket.protocol == protocol;
            *wanted.iter().find(same).unwrap_or(&plain)
        });
        let ports = if self.takes_port() {
            Ports::Own
        } else {
            Ports::Range
        };
        Some(create_server(
            request,
            OWN_WEBRTC_SERVER,
            self.addresses.everywhere(&sockets, ports),
        ))
    }

    /// The application's own WebRtcServers pass; the pod's is there for members only.
    fn on_webrtc_server(&mut self, request: &Request<'_>, message: &Bytes) -> Rewritten {
        use fbs::web_rtc_transport::ListenRef;

        let Some(BodyRef::RouterCreateWebRtcTransportRequest(body)) = request.body()? else {
            return Err(Refusal::NoBody);
        };
        let ListenRef::ListenServer(listen) = body.options()?.listen()? else {
            return Err(Refusal::NoBody);
        };
        match listen.web_rtc_server_id()? {
            OWN_WEBRTC_SERVER if self.for_members => match self.need_own_server(request.id, &[]) {
                Some(server) => Ok(instead([server, message.clone()])),
                None => Ok(ForWorker::Unchanged),
            },
            OWN_WEBRTC_SERVER => Err(Refusal::NoServer),
            _ => Ok(ForWorker::Unchanged),
        }
    }

    fn dump_webrtc_server(&self, request: &Request<'_>) -> Rewritten {
        match request.handler_id {
            OWN_WEBRTC_SERVER if !self.for_members => Err(Refusal::NoServer),
            _ => Ok(ForWorker::Unchanged),
        }
    }

    fn create_plain_transport(&mut self, request: &Request<'_>) -> Rewritten {
        let Some(BodyRef::RouterCreatePlainTransportRequest(body)) = request.body()? else {
            return Err(Refusal::NoBody);
        };
        let options = body.options()?;
        let rtcp_listen_info = match options.rtcp_listen_info()? {
            Some(wanted) => Some(Box::new(self.addresses.one(wanted, Peer::Outside)?)),
            None => None,
        };
        let options = fbs::plain_transport::PlainTransportOptions {
            base: Box::new(options.base()?.try_into()?),
            listen_info: Box::new(self.addresses.one(options.listen_info()?, Peer::Outside)?),
            rtcp_listen_info,
            rtcp_mux: options.rtcp_mux()?,
            comedia: options.comedia()?,
            enable_srtp: options.enable_srtp()?,
            srtp_crypto_suite: options.srtp_crypto_suite()?,
        };
        Ok(instead([encode_request(&request::Request {
            id: request.id,
            method: request.method,
            handler_id: request.handler_id.to_owned(),
            body: Some(Body::RouterCreatePlainTransportRequest(Box::new(
                fbs::router::CreatePlainTransportRequest {
                    transport_id: body.transport_id()?.to_owned(),
                    options: Box::new(options),
                },
            ))),
        })]))
    }

    fn create_pipe_transport(&mut self, request: &Request<'_>) -> Rewritten {
        let Some(BodyRef::RouterCreatePipeTransportRequest(body)) = request.body()? else {
            return Err(Refusal::NoBody);
        };
        let options = body.options()?;
        let options = fbs::pipe_transport::PipeTransportOptions {
            base: Box::new(options.base()?.try_into()?),
            listen_info: Box::new(self.addresses.one(options.listen_info()?, Peer::Worker)?),
            enable_rtx: options.enable_rtx()?,
            enable_srtp: options.enable_srtp()?,
        };
        Ok(instead([encode_request(&request::Request {
            id: request.id,
            method: request.method,
            handler_id: request.handler_id.to_owned(),
            body: Some(Body::RouterCreatePipeTransportRequest(Box::new(
                fbs::router::CreatePipeTransportRequest {
                    transport_id: body.transport_id()?.to_owned(),
                    options: Box::new(options),
                },
            ))),
        })]))
    }

    /// Notes what the response says about the holder of the port. True if it answers the pod.
    fn settles_opening(&mut self, response: &Response<'_>) -> bool {
        match &mut self.port {
            Port::Pod { opening } => {
                let Some(opening) = opening.take_if(|opening| opening.request == response.id)
                else {
                    return false;
                };
                if !response.accepted {
                    let reason = format!(
                        "the media pod cannot listen on port {}: {}",
                        self.addresses.rtc_port,
                        response.reason.unwrap_or("no reason given")
                    );
                    self.port = Port::Free;
                    self.had_port = false;
                    let stranded = opening.transports.into_iter();
                    self.stranded
                        .extend(stranded.map(|transport| (transport, reason.clone())));
                }
                true
            }
            Port::Application { opening, .. } => {
                if opening.take_if(|id| *id == response.id).is_some() && !response.accepted {
                    self.port = Port::Free;
                    self.had_port = false;
                }
                false
            }
            Port::Free => false,
        }
    }
}

type Rewritten = Result<ForWorker, Refusal>;

fn instead(messages: impl IntoIterator<Item = Bytes>) -> ForWorker {
    ForWorker::Instead(messages.into_iter().collect())
}

fn create_server(id: u32, server: &str, listen_infos: Vec<ListenInfo>) -> Bytes {
    encode_request(&request::Request {
        id,
        method: Method::WorkerCreateWebrtcserver,
        handler_id: String::new(),
        body: Some(Body::WorkerCreateWebRtcServerRequest(Box::new(
            fbs::worker::CreateWebRtcServerRequest {
                web_rtc_server_id: server.to_owned(),
                listen_infos: Some(listen_infos),
            },
        ))),
    })
}

fn is_worker_dump(response: &Response<'_>) -> bool {
    matches!(
        response.body(),
        Ok(Some(response::BodyRef::WorkerDumpResponse(_)))
    )
}

/// A dump of the worker as if the pod's own WebRtcServer was not there.
fn without_own_server(message: &Bytes) -> Result<Bytes, ViewError> {
    let mut response = mafalda_channel::response(message)?;
    if let Some(response::Body::WorkerDumpResponse(dump)) = &mut response.body {
        let handlers = &mut dump.channel_message_handlers;
        for ids in [
            &mut dump.web_rtc_server_ids,
            &mut handlers.channel_request_handlers,
            &mut handlers.channel_notification_handlers,
        ] {
            ids.retain(|id| id != OWN_WEBRTC_SERVER);
        }
    }
    Ok(encode_response(&response))
}
