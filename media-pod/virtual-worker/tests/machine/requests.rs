//! The requests that an application's library sends.

use crate::program::{DIRECT, Flavour, Step};
use bytes::Bytes;
use mafalda_channel::encode_request;
use mafalda_channel::fbs::request::{Body, Method, Request};
use mafalda_channel::fbs::rtp_parameters::{
    CodecMapping, EncodingMapping, MediaKind, RtcpParameters, RtpCodecParameters,
    RtpEncodingParameters, RtpMapping, RtpParameters, Type,
};
use mafalda_channel::fbs::{
    audio_level_observer, data_consumer, data_producer, direct_transport, plain_transport, router,
    rtp_observer, sctp_parameters, transport, web_rtc_transport, worker,
};

/// Whose ids a request names: `true` is another application's.
#[derive(Clone, Copy, Debug, Default)]
pub struct Names {
    /// The application's own letter.
    pub own: char,
    pub router: bool,
    pub transport: bool,
    pub producer: bool,
    pub consumer: bool,
    pub observer: bool,
    pub server: bool,
}

impl Names {
    pub fn of(own: char) -> Self {
        Self {
            own,
            ..Self::default()
        }
    }

    fn letter(self, foreign: bool) -> char {
        match (foreign, self.own) {
            (false, own) => own,
            (true, 'a') => 'b',
            (true, _) => 'a',
        }
    }

    pub fn router(self, r: u8) -> String {
        format!("{}-router{r}", self.letter(self.router))
    }

    pub fn transport(self, t: u8) -> String {
        format!("{}-transport{t}", self.letter(self.transport))
    }

    pub fn producer(self, p: u8) -> String {
        format!("{}-producer{p}", self.letter(self.producer))
    }

    pub fn consumer(self, c: u16) -> String {
        format!("{}-consumer{c}", self.letter(self.consumer))
    }

    pub fn observer(self, o: u8) -> String {
        format!("{}-observer{o}", self.letter(self.observer))
    }

    pub fn server(self, s: u8) -> String {
        format!("{}-server{s}", self.letter(self.server))
    }
}

fn stream(stream_id: u16) -> Box<sctp_parameters::SctpStreamParameters> {
    Box::new(sctp_parameters::SctpStreamParameters {
        stream_id,
        ordered: Some(true),
        max_packet_life_time: None,
        max_retransmits: None,
    })
}

/// SSRCs are unique, as each transport wants those of its producers and consumers to be.
fn producer_ssrc(p: u8) -> u32 {
    1000 + u32::from(p)
}

fn mapped_ssrc(p: u8) -> u32 {
    2000 + u32::from(p)
}

fn consumer_ssrc(c: u16) -> u32 {
    3000 + u32::from(c)
}

fn encoding(ssrc: u32) -> RtpEncodingParameters {
    RtpEncodingParameters {
        ssrc: Some(ssrc),
        ..Default::default()
    }
}

fn rtp_parameters(codecs: bool, payload_type: u8, ssrc: u32) -> Box<RtpParameters> {
    let codec = RtpCodecParameters {
        mime_type: "audio/opus".into(),
        payload_type,
        clock_rate: 48_000,
        channels: Some(2),
        parameters: None,
        rtcp_feedback: None,
    };
    Box::new(RtpParameters {
        mid: None,
        codecs: if codecs { vec![codec] } else { vec![] },
        header_extensions: vec![],
        encodings: vec![encoding(ssrc)],
        rtcp: Box::new(RtcpParameters {
            cname: Some("cname".to_owned()),
            reduced_size: true,
        }),
        msid: None,
    })
}

fn with_sctp() -> Box<transport::Options> {
    Box::new(transport::Options {
        enable_sctp: true,
        max_send_message_size: 262_144,
        max_receive_message_size: 262_144,
        sctp_send_buffer_size: 262_144,
        sctp_per_stream_send_queue_limit: 262_144,
        sctp_max_receiver_window_buffer_size: 5_242_880,
        ..Default::default()
    })
}

pub fn listen_info() -> transport::ListenInfo {
    transport::ListenInfo {
        protocol: transport::Protocol::Udp,
        ip: "127.0.0.1".to_owned(),
        announced_address: None,
        expose_internal_ip: false,
        port: 0,
        port_range: Box::default(),
        flags: Box::default(),
        send_buffer_size: 0,
        recv_buffer_size: 0,
    }
}

/// The request of a step.
pub fn request(id: u32, step: Step, names: Names) -> Bytes {
    let router = |r: u8| names.router(r);
    let transport = |t: u8| names.transport(t);
    let producer = |p: u8| names.producer(p);
    let consumer = |c: u16| names.consumer(c);
    let observer = |o: u8| names.observer(o);
    let server = |s: u8| names.server(s);
    let (method, handler_id, body) = match step {
        Step::CreateRouter(r) => {
            let body = worker::CreateRouterRequest {
                router_id: router(r),
            };
            (
                Method::WorkerCreateRouter,
                String::new(),
                Some(Body::WorkerCreateRouterRequest(Box::new(body))),
            )
        }
        Step::CloseRouter(r) => {
            let body = worker::CloseRouterRequest {
                router_id: router(r),
            };
            (
                Method::WorkerCloseRouter,
                String::new(),
                Some(Body::WorkerCloseRouterRequest(Box::new(body))),
            )
        }
        Step::CreateTransport(r, t) if t >= DIRECT => {
            let body = router::CreatePlainTransportRequest {
                transport_id: transport(t),
                options: Box::new(plain_transport::PlainTransportOptions {
                    base: with_sctp(),
                    listen_info: Box::new(listen_info()),
                    rtcp_listen_info: None,
                    rtcp_mux: true,
                    comedia: false,
                    enable_srtp: false,
                    srtp_crypto_suite: None,
                }),
            };
            (
                Method::RouterCreatePlaintransport,
                router(r),
                Some(Body::RouterCreatePlainTransportRequest(Box::new(body))),
            )
        }
        Step::CreateTransport(r, t) => {
            let base = Box::new(transport::Options {
                direct: true,
                ..Default::default()
            });
            let body = router::CreateDirectTransportRequest {
                transport_id: transport(t),
                options: Box::new(direct_transport::DirectTransportOptions { base }),
            };
            (
                Method::RouterCreateDirecttransport,
                router(r),
                Some(Body::RouterCreateDirectTransportRequest(Box::new(body))),
            )
        }
        Step::CloseTransport(r, t) => {
            let body = router::CloseTransportRequest {
                transport_id: transport(t),
            };
            (
                Method::RouterCloseTransport,
                router(r),
                Some(Body::RouterCloseTransportRequest(Box::new(body))),
            )
        }
        Step::CreateObserver(r, o) => {
            let body = router::CreateAudioLevelObserverRequest {
                rtp_observer_id: observer(o),
                options: Box::new(audio_level_observer::AudioLevelObserverOptions {
                    max_entries: 1,
                    threshold: -70,
                    interval: 1000,
                }),
            };
            (
                Method::RouterCreateAudiolevelobserver,
                router(r),
                Some(Body::RouterCreateAudioLevelObserverRequest(Box::new(body))),
            )
        }
        Step::CloseObserver(r, o) => {
            let body = router::CloseRtpObserverRequest {
                rtp_observer_id: observer(o),
            };
            (
                Method::RouterCloseRtpobserver,
                router(r),
                Some(Body::RouterCloseRtpObserverRequest(Box::new(body))),
            )
        }
        Step::Observe(o, p) => {
            let body = rtp_observer::AddProducerRequest {
                producer_id: producer(p),
            };
            (
                Method::RtpobserverAddProducer,
                observer(o),
                Some(Body::RtpObserverAddProducerRequest(Box::new(body))),
            )
        }
        Step::StopObserving(o, p) => {
            let body = rtp_observer::RemoveProducerRequest {
                producer_id: producer(p),
            };
            (
                Method::RtpobserverRemoveProducer,
                observer(o),
                Some(Body::RtpObserverRemoveProducerRequest(Box::new(body))),
            )
        }
        Step::Produce(t, p, paused, flavour @ (Flavour::Media | Flavour::Refused)) => {
            let codecs = matches!(flavour, Flavour::Media);
            let mapping = CodecMapping {
                payload_type: 111,
                mapped_payload_type: 100,
            };
            let body = transport::ProduceRequest {
                producer_id: producer(p),
                kind: MediaKind::Audio,
                rtp_parameters: rtp_parameters(codecs, 111, producer_ssrc(p)),
                rtp_mapping: Box::new(RtpMapping {
                    codecs: vec![mapping],
                    encodings: vec![EncodingMapping {
                        rid: None,
                        ssrc: Some(producer_ssrc(p)),
                        mapped_ssrc: mapped_ssrc(p),
                    }],
                }),
                paused,
                key_frame_request_delay: 0,
                enable_mediasoup_packet_id_header_extension: false,
            };
            (
                Method::TransportProduce,
                transport(t),
                Some(Body::TransportProduceRequest(Box::new(body))),
            )
        }
        Step::Produce(t, p, paused, flavour) => {
            let sctp = matches!(flavour, Flavour::Sctp);
            let body = transport::ProduceDataRequest {
                data_producer_id: producer(p),
                type_: if sctp {
                    data_producer::Type::Sctp
                } else {
                    data_producer::Type::Direct
                },
                sctp_stream_parameters: sctp.then(|| stream(u16::from(p))),
                label: None,
                protocol: None,
                paused,
            };
            (
                Method::TransportProduceData,
                transport(t),
                Some(Body::TransportProduceDataRequest(Box::new(body))),
            )
        }
        Step::CloseProducer(t, p, false) => {
            let body = transport::CloseProducerRequest {
                producer_id: producer(p),
            };
            (
                Method::TransportCloseProducer,
                transport(t),
                Some(Body::TransportCloseProducerRequest(Box::new(body))),
            )
        }
        Step::CloseProducer(t, p, true) => {
            let body = transport::CloseDataProducerRequest {
                data_producer_id: producer(p),
            };
            (
                Method::TransportCloseDataproducer,
                transport(t),
                Some(Body::TransportCloseDataProducerRequest(Box::new(body))),
            )
        }
        Step::Pause(p, pause, data) => {
            let method = match (data, pause) {
                (false, true) => Method::ProducerPause,
                (false, false) => Method::ProducerResume,
                (true, true) => Method::DataproducerPause,
                (true, false) => Method::DataproducerResume,
            };
            (method, producer(p), None)
        }
        Step::Consume(t, p, c, false) => {
            let body = transport::ConsumeRequest {
                consumer_id: consumer(c),
                producer_id: producer(p),
                kind: MediaKind::Audio,
                rtp_parameters: rtp_parameters(true, 100, consumer_ssrc(c)),
                type_: Type::Simple,
                consumable_rtp_encodings: vec![encoding(mapped_ssrc(p))],
                paused: false,
                preferred_layers: None,
                ignore_dtx: false,
            };
            (
                Method::TransportConsume,
                transport(t),
                Some(Body::TransportConsumeRequest(Box::new(body))),
            )
        }
        Step::Consume(t, p, c, true) => {
            let direct = t < DIRECT;
            let body = transport::ConsumeDataRequest {
                data_consumer_id: consumer(c),
                data_producer_id: producer(p),
                type_: if direct {
                    data_consumer::Type::Direct
                } else {
                    data_consumer::Type::Sctp
                },
                sctp_stream_parameters: (!direct).then(|| stream(c)),
                label: None,
                protocol: None,
                paused: false,
                subchannels: None,
            };
            (
                Method::TransportConsumeData,
                transport(t),
                Some(Body::TransportConsumeDataRequest(Box::new(body))),
            )
        }
        Step::CloseConsumer(t, c, false) => {
            let body = transport::CloseConsumerRequest {
                consumer_id: consumer(c),
            };
            (
                Method::TransportCloseConsumer,
                transport(t),
                Some(Body::TransportCloseConsumerRequest(Box::new(body))),
            )
        }
        Step::CloseConsumer(t, c, true) => {
            let body = transport::CloseDataConsumerRequest {
                data_consumer_id: consumer(c),
            };
            (
                Method::TransportCloseDataconsumer,
                transport(t),
                Some(Body::TransportCloseDataConsumerRequest(Box::new(body))),
            )
        }
        Step::Dump(r) => (Method::RouterDump, router(r), None),
        Step::DumpWorker => (Method::WorkerDump, String::new(), None),
        Step::DumpServer(s) => (Method::WebrtcserverDump, server(s), None),
        Step::CreateServer(s) => {
            let body = worker::CreateWebRtcServerRequest {
                web_rtc_server_id: server(s),
                listen_infos: Some(vec![listen_info()]),
            };
            (
                Method::WorkerCreateWebrtcserver,
                String::new(),
                Some(Body::WorkerCreateWebRtcServerRequest(Box::new(body))),
            )
        }
        Step::CloseServer(s) => {
            let body = worker::CloseWebRtcServerRequest {
                web_rtc_server_id: server(s),
            };
            (
                Method::WorkerWebrtcserverClose,
                String::new(),
                Some(Body::WorkerCloseWebRtcServerRequest(Box::new(body))),
            )
        }
        Step::CreateOnServer(r, t, s) => {
            let listen = web_rtc_transport::ListenServer {
                web_rtc_server_id: server(s),
            };
            let body = router::CreateWebRtcTransportRequest {
                transport_id: transport(t),
                options: Box::new(web_rtc_transport::WebRtcTransportOptions {
                    base: with_sctp(),
                    listen: web_rtc_transport::Listen::ListenServer(Box::new(listen)),
                    enable_udp: true,
                    enable_tcp: true,
                    prefer_udp: false,
                    prefer_tcp: false,
                    ice_consent_timeout: 30,
                }),
            };
            (
                Method::RouterCreateWebrtctransportWithServer,
                router(r),
                Some(Body::RouterCreateWebRtcTransportRequest(Box::new(body))),
            )
        }
    };
    encode_request(&Request {
        id,
        method,
        handler_id,
        body,
    })
}
