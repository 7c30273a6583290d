//! Messages that the virtual worker makes itself.

use crate::recipe::Media;
use crate::refusal::Refusal;
use crate::state::{Address, Protection};
use mafalda_channel::fbs::notification::{Event, Notification};
use mafalda_channel::fbs::request::{Body, Method, Request};
use mafalda_channel::fbs::response::{self, Response};
use mafalda_channel::fbs::{
    direct_transport, pipe_transport, router, rtp_observer, transport, worker,
};

/// What a member is asked, without the id.
pub(crate) struct Ask {
    pub method: Method,
    pub handler: String,
    pub body: Option<Body>,
}

impl Ask {
    pub fn with_id(self, id: u32) -> Request {
        Request {
            id,
            method: self.method,
            handler_id: self.handler,
            body: self.body,
        }
    }

    fn new(method: Method, handler: &str, body: Body) -> Self {
        Self {
            method,
            handler: handler.to_owned(),
            body: Some(body),
        }
    }

    /// A request without a body.
    pub fn bare(method: Method, handler: &str) -> Self {
        Self {
            method,
            handler: handler.to_owned(),
            body: None,
        }
    }

    pub fn create_router(id: &str) -> Self {
        let router_id = id.to_owned();
        let body =
            Body::WorkerCreateRouterRequest(Box::new(worker::CreateRouterRequest { router_id }));
        Self::new(Method::WorkerCreateRouter, "", body)
    }

    pub fn close_router(id: &str) -> Self {
        let router_id = id.to_owned();
        let body =
            Body::WorkerCloseRouterRequest(Box::new(worker::CloseRouterRequest { router_id }));
        Self::new(Method::WorkerCloseRouter, "", body)
    }

    pub fn close_server(id: &str) -> Self {
        let web_rtc_server_id = id.to_owned();
        let body = worker::CloseWebRtcServerRequest { web_rtc_server_id };
        let body = Body::WorkerCloseWebRtcServerRequest(Box::new(body));
        Self::new(Method::WorkerWebrtcserverClose, "", body)
    }

    /// With the settings of mediasoup's `Router.pipeToRouter()`.
    pub fn create_pipe(
        router: &str,
        transport_id: &str,
        listen_ip: &str,
        protection: Protection,
    ) -> Self {
        let options = pipe_transport::PipeTransportOptions {
            base: Box::new(transport::Options {
                direct: false,
                initial_available_outgoing_bitrate: None,
                enable_sctp: true,
                max_send_message_size: 262_144,
                max_receive_message_size: 262_144,
                sctp_send_buffer_size: 2_000_000,
                sctp_per_stream_send_queue_limit: 2_000_000,
                sctp_max_receiver_window_buffer_size: 5_242_880,
                sctp_default_stream_buffered_amount_low_threshold: 1024,
                is_data_channel: false,
            }),
            listen_info: Box::new(transport::ListenInfo {
                protocol: transport::Protocol::Udp,
                ip: listen_ip.to_owned(),
                announced_address: None,
                expose_internal_ip: false,
                port: 0,
                port_range: Box::new(transport::PortRange { min: 0, max: 0 }),
                flags: Box::new(transport::SocketFlags {
                    ipv6_only: false,
                    udp_reuse_port: false,
                }),
                send_buffer_size: 0,
                recv_buffer_size: 0,
            }),
            enable_rtx: protection.rtx,
            enable_srtp: protection.srtp,
        };
        let body = router::CreatePipeTransportRequest {
            transport_id: transport_id.to_owned(),
            options: Box::new(options),
        };
        let body = Body::RouterCreatePipeTransportRequest(Box::new(body));
        Self::new(Method::RouterCreatePipetransport, router, body)
    }

    pub fn connect_pipe(transport: &str, other: Address) -> Self {
        let body = pipe_transport::ConnectRequest {
            ip: other.ip,
            port: Some(other.port),
            srtp_parameters: other.srtp,
        };
        let body = Body::PipeTransportConnectRequest(Box::new(body));
        Self::new(Method::PipetransportConnect, transport, body)
    }

    pub fn create_direct(router: &str, transport_id: &str, base: Box<transport::Options>) -> Self {
        let body = router::CreateDirectTransportRequest {
            transport_id: transport_id.to_owned(),
            options: Box::new(direct_transport::DirectTransportOptions { base }),
        };
        let body = Body::RouterCreateDirectTransportRequest(Box::new(body));
        Self::new(Method::RouterCreateDirecttransport, router, body)
    }

    pub fn close_transport(router: &str, transport_id: &str) -> Self {
        let transport_id = transport_id.to_owned();
        let body = router::CloseTransportRequest { transport_id };
        let body = Body::RouterCloseTransportRequest(Box::new(body));
        Self::new(Method::RouterCloseTransport, router, body)
    }

    pub fn consume(transport: &str, media: &Media, producer: &str, consumer: &str) -> Self {
        let body = Body::TransportConsumeRequest(Box::new(media.consume(producer, consumer)));
        Self::new(Method::TransportConsume, transport, body)
    }

    pub fn produce(transport: &str, media: &Media, producer: &str, paused: bool) -> Self {
        let body = Body::TransportProduceRequest(Box::new(media.produce(producer, paused)));
        Self::new(Method::TransportProduce, transport, body)
    }

    pub fn consume_data(transport: &str, body: transport::ConsumeDataRequest) -> Self {
        let body = Body::TransportConsumeDataRequest(Box::new(body));
        Self::new(Method::TransportConsumeData, transport, body)
    }

    pub fn produce_data(transport: &str, body: transport::ProduceDataRequest) -> Self {
        let body = Body::TransportProduceDataRequest(Box::new(body));
        Self::new(Method::TransportProduceData, transport, body)
    }

    pub fn close_producer(transport: &str, producer: &str, data: bool) -> Self {
        let id = producer.to_owned();
        if data {
            let body = transport::CloseDataProducerRequest {
                data_producer_id: id,
            };
            let body = Body::TransportCloseDataProducerRequest(Box::new(body));
            Self::new(Method::TransportCloseDataproducer, transport, body)
        } else {
            let body = transport::CloseProducerRequest { producer_id: id };
            let body = Body::TransportCloseProducerRequest(Box::new(body));
            Self::new(Method::TransportCloseProducer, transport, body)
        }
    }

    pub fn observe(observer: &str, producer: &str) -> Self {
        let producer_id = producer.to_owned();
        let body = rtp_observer::AddProducerRequest { producer_id };
        let body = Body::RtpObserverAddProducerRequest(Box::new(body));
        Self::new(Method::RtpobserverAddProducer, observer, body)
    }

    pub fn close_consumer(transport: &str, consumer: &str, data: bool) -> Self {
        let id = consumer.to_owned();
        if data {
            let body = transport::CloseDataConsumerRequest {
                data_consumer_id: id,
            };
            let body = Body::TransportCloseDataConsumerRequest(Box::new(body));
            Self::new(Method::TransportCloseDataconsumer, transport, body)
        } else {
            let body = transport::CloseConsumerRequest { consumer_id: id };
            let body = Body::TransportCloseConsumerRequest(Box::new(body));
            Self::new(Method::TransportCloseConsumer, transport, body)
        }
    }
}

/// An answer that says yes.
pub(crate) fn acceptance(id: u32, body: Option<response::Body>) -> Response {
    Response {
        id,
        accepted: true,
        body,
        error: None,
        reason: None,
    }
}

/// An answer that says no.
pub(crate) fn refusal(id: u32, refusal: Refusal) -> Response {
    Response {
        id,
        accepted: false,
        body: None,
        error: Some(refusal.class.to_owned()),
        reason: Some(refusal.reason),
    }
}

/// An event without a body.
pub(crate) fn event(handler: &str, event: Event) -> Notification {
    Notification {
        handler_id: handler.to_owned(),
        event,
        body: None,
    }
}
