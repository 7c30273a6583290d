//! Pods, and what applications and workers send.

use super::super::*;
use fbs::transport::{Options, PortRange, SocketFlags};
use fbs::web_rtc_transport::{Listen, ListenIndividual, ListenServer, WebRtcTransportOptions};

pub(super) const RTC_PORT: u16 = 40_003;
pub(super) const V4: &str = "0.0.0.0";
pub(super) const V6: &str = "::";

pub(super) fn address(bind: &str, announced: Option<&str>, pipe: Option<&str>) -> Address {
    Address {
        bind: bind.parse().unwrap(),
        announced: announced.map(str::to_owned),
        pipe: pipe.map(str::to_owned),
    }
}

pub(super) fn v4() -> Address {
    address(V4, Some("media.example.com"), Some("10.0.0.7"))
}

pub(super) fn v6() -> Address {
    address(V6, Some("2001:db8::7"), None)
}

pub(super) fn rewriter(listen: &[Address]) -> Rewriter {
    Rewriter::new(addresses(listen), |_| true)
}

pub(super) fn addresses(listen: &[Address]) -> Addresses {
    Addresses {
        listen: listen.to_vec(),
        rtc_port: RTC_PORT,
        range: 41_000..=41_999,
    }
}

/// A listen info as an application writes one for its own machine.
pub(super) fn wrote(protocol: Protocol, ip: &str) -> ListenInfo {
    ListenInfo {
        protocol,
        ip: ip.to_owned(),
        announced_address: Some("old-host.example.com".to_owned()),
        expose_internal_ip: true,
        port: 2000,
        port_range: Box::new(PortRange { min: 0, max: 0 }),
        flags: Box::new(SocketFlags {
            ipv6_only: false,
            udp_reuse_port: true,
        }),
        send_buffer_size: 0,
        recv_buffer_size: 0,
    }
}

pub(super) fn base() -> Options {
    Options {
        direct: false,
        initial_available_outgoing_bitrate: Some(600_000),
        enable_sctp: true,
        max_send_message_size: 262_144,
        max_receive_message_size: 262_145,
        sctp_send_buffer_size: 2_000_000,
        sctp_per_stream_send_queue_limit: 2_000_001,
        sctp_max_receiver_window_buffer_size: 5_242_880,
        sctp_default_stream_buffered_amount_low_threshold: 1024,
        is_data_channel: true,
    }
}

pub(super) fn request(id: u32, method: Method, handler: &str, body: Option<Body>) -> Bytes {
    encode_request(&request::Request {
        id,
        method,
        handler_id: handler.to_owned(),
        body,
    })
}

pub(super) fn webrtc_options(listen: Listen) -> WebRtcTransportOptions {
    WebRtcTransportOptions {
        base: Box::new(base()),
        listen,
        // What npm mediasoup sends beside listen infos, whatever they are.
        enable_udp: true,
        enable_tcp: false,
        prefer_udp: false,
        prefer_tcp: false,
        ice_consent_timeout: 17,
    }
}

pub(super) fn webrtc_body(listen: Listen) -> Body {
    Body::RouterCreateWebRtcTransportRequest(Box::new(fbs::router::CreateWebRtcTransportRequest {
        transport_id: "transport".to_owned(),
        options: Box::new(webrtc_options(listen)),
    }))
}

pub(super) fn webrtc(id: u32, listen_infos: Vec<ListenInfo>) -> Bytes {
    let listen = Listen::ListenIndividual(Box::new(ListenIndividual { listen_infos }));
    let method = Method::RouterCreateWebrtctransport;
    request(id, method, "router", Some(webrtc_body(listen)))
}

pub(super) fn webrtc_on(id: u32, server: &str) -> Bytes {
    let listen = Listen::ListenServer(Box::new(ListenServer {
        web_rtc_server_id: server.to_owned(),
    }));
    let method = Method::RouterCreateWebrtctransportWithServer;
    request(id, method, "router", Some(webrtc_body(listen)))
}

pub(super) fn plain(
    id: u32,
    listen_info: ListenInfo,
    rtcp_listen_info: Option<ListenInfo>,
) -> Bytes {
    let body = fbs::router::CreatePlainTransportRequest {
        transport_id: "transport".to_owned(),
        options: Box::new(fbs::plain_transport::PlainTransportOptions {
            base: Box::new(base()),
            listen_info: Box::new(listen_info),
            rtcp_mux: rtcp_listen_info.is_none(),
            rtcp_listen_info: rtcp_listen_info.map(Box::new),
            comedia: true,
            enable_srtp: true,
            srtp_crypto_suite: Some(fbs::srtp_parameters::SrtpCryptoSuite::AeadAes256Gcm),
        }),
    };
    let body = Body::RouterCreatePlainTransportRequest(Box::new(body));
    request(id, Method::RouterCreatePlaintransport, "router", Some(body))
}

pub(super) fn pipe(id: u32, listen_info: ListenInfo) -> Bytes {
    let body = fbs::router::CreatePipeTransportRequest {
        transport_id: "transport".to_owned(),
        options: Box::new(fbs::pipe_transport::PipeTransportOptions {
            base: Box::new(base()),
            listen_info: Box::new(listen_info),
            enable_rtx: true,
            enable_srtp: true,
        }),
    };
    let body = Body::RouterCreatePipeTransportRequest(Box::new(body));
    request(id, Method::RouterCreatePipetransport, "router", Some(body))
}

pub(super) fn server(id: u32, server: &str, listen_infos: Vec<ListenInfo>) -> Bytes {
    create_server(id, server, listen_infos)
}

pub(super) fn close_server(id: u32, server: &str) -> Bytes {
    let body = fbs::worker::CloseWebRtcServerRequest {
        web_rtc_server_id: server.to_owned(),
    };
    let body = Body::WorkerCloseWebRtcServerRequest(Box::new(body));
    request(id, Method::WorkerWebrtcserverClose, "", Some(body))
}

pub(super) fn dump_response(id: u32, servers: &[&str]) -> Bytes {
    let owned = |ids: &[&str]| ids.iter().map(|id| id.to_string()).collect::<Vec<_>>();
    encode_response(&response::Response {
        id,
        accepted: true,
        body: Some(response::Body::WorkerDumpResponse(Box::new(
            fbs::worker::DumpResponse {
                pid: 4711,
                web_rtc_server_ids: owned(servers),
                router_ids: owned(&["router"]),
                channel_message_handlers: Box::new(fbs::worker::ChannelMessageHandlers {
                    channel_request_handlers: owned(&[&["router"], servers].concat()),
                    channel_notification_handlers: owned(&["transport"]),
                }),
            },
        ))),
        error: None,
        reason: None,
    })
}

pub(super) fn accepted(id: u32) -> Bytes {
    encode_response(&response::Response {
        id,
        accepted: true,
        body: None,
        error: None,
        reason: None,
    })
}

pub(super) fn refused(id: u32, reason: &str) -> Bytes {
    encode_response(&response::Response {
        id,
        accepted: false,
        body: None,
        error: Some("Error".to_owned()),
        reason: Some(reason.to_owned()),
    })
}

/// The requests that go to the worker instead of the message.
pub(super) fn rewritten(rewriter: &mut Rewriter, message: &Bytes) -> Vec<request::Request> {
    match rewriter.on_request(message).unwrap() {
        ForWorker::Instead(messages) => messages
            .iter()
            .map(|message| mafalda_channel::request(message).unwrap())
            .collect(),
        other => panic!("not rewritten: {other:?}"),
    }
}

/// Class and reason of the error that the application gets.
pub(super) fn answer(rewriter: &mut Rewriter, message: &Bytes) -> (u32, String, String) {
    match rewriter.on_request(message).unwrap() {
        ForWorker::Answer(answer) => error(&answer),
        other => panic!("not answered: {other:?}"),
    }
}

pub(super) fn error(response: &[u8]) -> (u32, String, String) {
    let response = mafalda_channel::response(response).unwrap();
    assert!(
        !response.accepted && response.body.is_none(),
        "{response:?}"
    );
    (
        response.id,
        response.error.unwrap(),
        response.reason.unwrap(),
    )
}

pub(super) fn listen_infos(request: &request::Request) -> Vec<ListenInfo> {
    match request.body.as_ref().unwrap() {
        Body::WorkerCreateWebRtcServerRequest(body) => body.listen_infos.clone().unwrap(),
        Body::RouterCreateWebRtcTransportRequest(body) => match &body.options.listen {
            Listen::ListenIndividual(listen) => listen.listen_infos.clone(),
            Listen::ListenServer(_) => Vec::new(),
        },
        Body::RouterCreatePlainTransportRequest(body) => {
            let options = &body.options;
            let rtcp = options.rtcp_listen_info.as_deref();
            [Some(&*options.listen_info), rtcp]
                .into_iter()
                .flatten()
                .cloned()
                .collect()
        }
        Body::RouterCreatePipeTransportRequest(body) => vec![(*body.options.listen_info).clone()],
        body => panic!("{body:?}"),
    }
}

/// A listen info in one line: "udp 0.0.0.0 as media.example.com port 40003".
pub(super) fn line(info: &ListenInfo) -> String {
    let protocol = match info.protocol {
        Protocol::Udp => "udp",
        Protocol::Tcp => "tcp",
    };
    let mut line = format!("{protocol} {}", info.ip);
    if let Some(announced) = &info.announced_address {
        line += &format!(" as {announced}");
    }
    if info.port != 0 {
        line += &format!(" port {}", info.port);
    }
    if (info.port_range.min, info.port_range.max) != (0, 0) {
        line += &format!(" in {}-{}", info.port_range.min, info.port_range.max);
    }
    if info.flags.ipv6_only {
        line += " v6only";
    }
    assert!(!info.flags.udp_reuse_port && !info.expose_internal_ip);
    line
}

pub(super) fn lines(request: &request::Request) -> Vec<String> {
    listen_infos(request).iter().map(line).collect()
}
