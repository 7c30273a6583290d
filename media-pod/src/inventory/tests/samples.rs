//! What applications and workers send.

use super::super::*;
use bytes::Bytes;
use mafalda_channel::fbs::request::Body;
use mafalda_channel::fbs::web_rtc_transport::{
    Listen, ListenIndividual, ListenServer, WebRtcTransportOptions,
};
use mafalda_channel::fbs::{self, notification, request, response};
use mafalda_channel::{encode_notification, encode_request, encode_response};

pub(super) fn encoded(id: u32, method: Method, handler: &str, body: Body) -> Bytes {
    encode_request(&request::Request {
        id,
        method,
        handler_id: handler.to_owned(),
        body: Some(body),
    })
}

/// The request that makes a thing which needs the others.
pub(super) fn create(id: u32, kind: Kind, name: &str, needs: &[String]) -> Bytes {
    let name = name.to_owned();
    let owner = needs.first().cloned().unwrap_or_default();
    let (method, body) = match kind {
        Kind::Router => (
            Method::WorkerCreateRouter,
            Body::WorkerCreateRouterRequest(Box::new(fbs::worker::CreateRouterRequest {
                router_id: name,
            })),
        ),
        Kind::WebRtcServer => (
            Method::WorkerCreateWebrtcserver,
            Body::WorkerCreateWebRtcServerRequest(Box::new(
                fbs::worker::CreateWebRtcServerRequest {
                    web_rtc_server_id: name,
                    listen_infos: Some(Vec::new()),
                },
            )),
        ),
        Kind::Transport => (
            match needs.len() {
                2 => Method::RouterCreateWebrtctransportWithServer,
                _ => Method::RouterCreateWebrtctransport,
            },
            webrtc_transport(name, needs.get(1)),
        ),
        Kind::RtpObserver => (
            Method::RouterCreateActivespeakerobserver,
            Body::RouterCreateActiveSpeakerObserverRequest(Box::new(
                fbs::router::CreateActiveSpeakerObserverRequest {
                    rtp_observer_id: name,
                    options: Box::new(fbs::active_speaker_observer::ActiveSpeakerObserverOptions {
                        interval: 300,
                    }),
                },
            )),
        ),
        Kind::Producer => (
            Method::TransportProduce,
            Body::TransportProduceRequest(Box::new(fbs::transport::ProduceRequest {
                producer_id: name,
                kind: fbs::rtp_parameters::MediaKind::Audio,
                rtp_parameters: Box::new(rtp_parameters()),
                rtp_mapping: Box::new(fbs::rtp_parameters::RtpMapping {
                    codecs: Vec::new(),
                    encodings: Vec::new(),
                }),
                paused: false,
                key_frame_request_delay: 0,
                enable_mediasoup_packet_id_header_extension: false,
            })),
        ),
        Kind::Consumer => (
            Method::TransportConsume,
            Body::TransportConsumeRequest(Box::new(fbs::transport::ConsumeRequest {
                consumer_id: name,
                producer_id: needs[1].clone(),
                kind: fbs::rtp_parameters::MediaKind::Audio,
                rtp_parameters: Box::new(rtp_parameters()),
                type_: fbs::rtp_parameters::Type::Simple,
                consumable_rtp_encodings: Vec::new(),
                paused: false,
                preferred_layers: None,
                ignore_dtx: false,
            })),
        ),
        Kind::DataProducer => (
            Method::TransportProduceData,
            Body::TransportProduceDataRequest(Box::new(fbs::transport::ProduceDataRequest {
                data_producer_id: name,
                type_: fbs::data_producer::Type::Direct,
                sctp_stream_parameters: None,
                label: None,
                protocol: None,
                paused: false,
            })),
        ),
        Kind::DataConsumer => (
            Method::TransportConsumeData,
            Body::TransportConsumeDataRequest(Box::new(fbs::transport::ConsumeDataRequest {
                data_consumer_id: name,
                data_producer_id: needs[1].clone(),
                type_: fbs::data_consumer::Type::Direct,
                sctp_stream_parameters: None,
                label: None,
                protocol: None,
                paused: false,
                subchannels: None,
            })),
        ),
    };
    encoded(id, method, &owner, body)
}

pub(super) fn webrtc_transport(name: String, server: Option<&String>) -> Body {
    let listen = match server {
        Some(server) => Listen::ListenServer(Box::new(ListenServer {
            web_rtc_server_id: server.clone(),
        })),
        None => Listen::ListenIndividual(Box::new(ListenIndividual {
            listen_infos: Vec::new(),
        })),
    };
    Body::RouterCreateWebRtcTransportRequest(Box::new(fbs::router::CreateWebRtcTransportRequest {
        transport_id: name,
        options: Box::new(WebRtcTransportOptions {
            base: Box::new(transport_options()),
            listen,
            enable_udp: true,
            enable_tcp: true,
            prefer_udp: false,
            prefer_tcp: false,
            ice_consent_timeout: 30,
        }),
    }))
}

pub(super) fn transport_options() -> fbs::transport::Options {
    fbs::transport::Options {
        direct: false,
        initial_available_outgoing_bitrate: None,
        enable_sctp: false,
        max_send_message_size: 0,
        max_receive_message_size: 0,
        sctp_send_buffer_size: 0,
        sctp_per_stream_send_queue_limit: 0,
        sctp_max_receiver_window_buffer_size: 0,
        sctp_default_stream_buffered_amount_low_threshold: 0,
        is_data_channel: false,
    }
}

pub(super) fn rtp_parameters() -> fbs::rtp_parameters::RtpParameters {
    fbs::rtp_parameters::RtpParameters {
        mid: None,
        codecs: Vec::new(),
        header_extensions: Vec::new(),
        encodings: Vec::new(),
        rtcp: Box::new(fbs::rtp_parameters::RtcpParameters {
            cname: None,
            reduced_size: true,
        }),
        msid: None,
    }
}

/// The request that closes a thing.
pub(super) fn close(id: u32, kind: Kind, name: &str) -> Bytes {
    let name = name.to_owned();
    let (method, body) = match kind {
        Kind::Router => (
            Method::WorkerCloseRouter,
            Body::WorkerCloseRouterRequest(Box::new(fbs::worker::CloseRouterRequest {
                router_id: name,
            })),
        ),
        Kind::WebRtcServer => (
            Method::WorkerWebrtcserverClose,
            Body::WorkerCloseWebRtcServerRequest(Box::new(fbs::worker::CloseWebRtcServerRequest {
                web_rtc_server_id: name,
            })),
        ),
        Kind::Transport => (
            Method::RouterCloseTransport,
            Body::RouterCloseTransportRequest(Box::new(fbs::router::CloseTransportRequest {
                transport_id: name,
            })),
        ),
        Kind::RtpObserver => (
            Method::RouterCloseRtpobserver,
            Body::RouterCloseRtpObserverRequest(Box::new(fbs::router::CloseRtpObserverRequest {
                rtp_observer_id: name,
            })),
        ),
        Kind::Producer => (
            Method::TransportCloseProducer,
            Body::TransportCloseProducerRequest(Box::new(fbs::transport::CloseProducerRequest {
                producer_id: name,
            })),
        ),
        Kind::Consumer => (
            Method::TransportCloseConsumer,
            Body::TransportCloseConsumerRequest(Box::new(fbs::transport::CloseConsumerRequest {
                consumer_id: name,
            })),
        ),
        Kind::DataProducer => (
            Method::TransportCloseDataproducer,
            Body::TransportCloseDataProducerRequest(Box::new(
                fbs::transport::CloseDataProducerRequest {
                    data_producer_id: name,
                },
            )),
        ),
        Kind::DataConsumer => (
            Method::TransportCloseDataconsumer,
            Body::TransportCloseDataConsumerRequest(Box::new(
                fbs::transport::CloseDataConsumerRequest {
                    data_consumer_id: name,
                },
            )),
        ),
    };
    encoded(id, method, "owner", body)
}

pub(super) fn answer(id: u32, accepted: bool) -> Bytes {
    encode_response(&response::Response {
        id,
        accepted,
        body: None,
        error: (!accepted).then(|| "Error".to_owned()),
        reason: (!accepted).then(|| "no".to_owned()),
    })
}

pub(super) fn producer_closed(kind: Kind, name: &str) -> Bytes {
    encode_notification(&notification::Notification {
        handler_id: name.to_owned(),
        event: match kind {
            Kind::DataConsumer => Event::DataconsumerDataproducerClose,
            _ => Event::ConsumerProducerClose,
        },
        body: None,
    })
}
