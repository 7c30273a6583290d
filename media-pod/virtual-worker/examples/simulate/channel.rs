//! The messages of an application, and a member's answers.

use bytes::Bytes;
use mafalda_channel::fbs::request::{Body, Method, Request as Owned};
use mafalda_channel::fbs::response::{self, Response};
use mafalda_channel::fbs::rtp_parameters::{
    CodecMapping, MediaKind, RtcpParameters, RtpCodecParameters, RtpMapping, RtpParameters, Type,
};
use mafalda_channel::fbs::{pipe_transport, router, transport, web_rtc_transport, worker};
use mafalda_channel::{Request, ViewError, encode_request, encode_response};

pub const ROUTER: &str = "room";

pub fn create_router(id: u32) -> Bytes {
    let body = worker::CreateRouterRequest {
        router_id: ROUTER.to_owned(),
    };
    let body = Body::WorkerCreateRouterRequest(Box::new(body));
    encode(id, Method::WorkerCreateRouter, "", body)
}

pub fn create_transport(id: u32, transport: &str) -> Bytes {
    let listen = web_rtc_transport::ListenIndividual {
        listen_infos: Vec::new(),
    };
    let options = web_rtc_transport::WebRtcTransportOptions {
        base: Box::default(),
        listen: web_rtc_transport::Listen::ListenIndividual(Box::new(listen)),
        enable_udp: true,
        enable_tcp: false,
        prefer_udp: false,
        prefer_tcp: false,
        ice_consent_timeout: 30,
    };
    let body = router::CreateWebRtcTransportRequest {
        transport_id: transport.to_owned(),
        options: Box::new(options),
    };
    let body = Body::RouterCreateWebRtcTransportRequest(Box::new(body));
    encode(id, Method::RouterCreateWebrtctransport, ROUTER, body)
}

pub fn produce(id: u32, transport: &str, producer: &str) -> Bytes {
    let mapping = CodecMapping {
        payload_type: 111,
        mapped_payload_type: 100,
    };
    let body = transport::ProduceRequest {
        producer_id: producer.to_owned(),
        kind: MediaKind::Audio,
        rtp_parameters: rtp_parameters(),
        rtp_mapping: Box::new(RtpMapping {
            codecs: vec![mapping],
            encodings: vec![],
        }),
        paused: false,
        key_frame_request_delay: 0,
        enable_mediasoup_packet_id_header_extension: false,
    };
    let body = Body::TransportProduceRequest(Box::new(body));
    encode(id, Method::TransportProduce, transport, body)
}

pub fn consume(id: u32, transport: &str, producer: &str, consumer: &str) -> Bytes {
    let body = transport::ConsumeRequest {
        consumer_id: consumer.to_owned(),
        producer_id: producer.to_owned(),
        kind: MediaKind::Audio,
        rtp_parameters: rtp_parameters(),
        type_: Type::Simple,
        consumable_rtp_encodings: vec![],
        paused: false,
        preferred_layers: None,
        ignore_dtx: false,
    };
    let body = Body::TransportConsumeRequest(Box::new(body));
    encode(id, Method::TransportConsume, transport, body)
}

fn encode(id: u32, method: Method, handler: &str, body: Body) -> Bytes {
    encode_request(&Owned {
        id,
        method,
        handler_id: handler.to_owned(),
        body: Some(body),
    })
}

fn rtp_parameters() -> Box<RtpParameters> {
    let codec = RtpCodecParameters {
        mime_type: "audio/opus".into(),
        payload_type: 111,
        clock_rate: 48_000,
        channels: Some(2),
        parameters: None,
        rtcp_feedback: None,
    };
    Box::new(RtpParameters {
        mid: None,
        codecs: vec![codec],
        header_extensions: vec![],
        encodings: vec![],
        rtcp: Box::new(RtcpParameters {
            cname: None,
            reduced_size: true,
        }),
        msid: None,
    })
}

/// A member says yes, and where a new pipe transport listens.
pub fn accept(request: &Request<'_>) -> Result<Bytes, ViewError> {
    let body = match request.method {
        Method::RouterCreatePipetransport => Some(pipe_dump()),
        _ => None,
    };
    Ok(encode_response(&Response {
        id: request.id,
        accepted: true,
        body,
        error: None,
        reason: None,
    }))
}

fn pipe_dump() -> response::Body {
    let tuple = transport::Tuple {
        local_address: "127.0.0.1".to_owned(),
        local_port: 1,
        remote_ip: None,
        remote_port: 0,
        protocol: transport::Protocol::Udp,
    };
    let base = transport::Dump {
        id: String::new(),
        direct: false,
        producer_ids: vec![],
        consumer_ids: vec![],
        map_ssrc_consumer_id: vec![],
        map_rtx_ssrc_consumer_id: vec![],
        data_producer_ids: vec![],
        data_consumer_ids: vec![],
        recv_rtp_header_extensions: Box::default(),
        rtp_listener: Box::new(transport::RtpListener {
            ssrc_table: vec![],
            mid_table: vec![],
            rid_table: vec![],
        }),
        max_send_message_size: 0,
        max_receive_message_size: 0,
        sctp_parameters: None,
        sctp_state: None,
        sctp_negotiated_capabilities: None,
        sctp_listener: None,
        trace_event_types: vec![],
    };
    let dump = pipe_transport::DumpResponse {
        base: Box::new(base),
        tuple: Box::new(tuple),
        rtx: false,
        srtp_parameters: None,
    };
    response::Body::PipeTransportDumpResponse(Box::new(dump))
}
