//! What a message says is read right, and what is no message is an error.

use bytes::Bytes;
use mafalda_channel::fbs::{self, notification, request, response};
use mafalda_channel::{
    Message, PREFIX, ViewError, encode_notification, encode_request, encode_response, view,
};
use proptest::collection::vec;
use proptest::prelude::*;

/// `router.createWebRtcTransport()` of npm mediasoup 3.27.1, as its Channel.ts wrote it to a worker.
const NODE_REQUEST: &str = include_str!("fixtures/node-create-webrtc-transport.hex");
/// The worker's answer to it, and its first notification.
const WORKER_RESPONSE: &str = include_str!("fixtures/worker-webrtc-transport-dump.hex");
const WORKER_RUNNING: &str = include_str!("fixtures/worker-running.hex");

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex
        .bytes()
        .filter_map(|digit| (digit as char).to_digit(16).map(|digit| digit as u8))
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

fn listen_info() -> fbs::transport::ListenInfo {
    fbs::transport::ListenInfo {
        protocol: fbs::transport::Protocol::Udp,
        ip: "0.0.0.0".into(),
        announced_address: Some("media.example.com".into()),
        expose_internal_ip: false,
        port: 40000,
        port_range: Box::new(fbs::transport::PortRange { min: 0, max: 0 }),
        flags: Box::new(fbs::transport::SocketFlags {
            ipv6_only: false,
            udp_reuse_port: false,
        }),
        send_buffer_size: 0,
        recv_buffer_size: 0,
    }
}

fn sample_request() -> request::Request {
    request::Request {
        id: 7,
        method: request::Method::WorkerCreateWebrtcserver,
        handler_id: String::new(),
        body: Some(request::Body::WorkerCreateWebRtcServerRequest(Box::new(
            fbs::worker::CreateWebRtcServerRequest {
                web_rtc_server_id: "server".into(),
                listen_infos: Some(vec![listen_info(), listen_info()]),
            },
        ))),
    }
}

fn sample_response() -> response::Response {
    response::Response {
        id: 7,
        accepted: false,
        body: None,
        error: Some("TypeError".into()),
        reason: Some("wrong".into()),
    }
}

fn sample_notification() -> notification::Notification {
    notification::Notification {
        handler_id: "transport".into(),
        event: notification::Event::TransportSendRtcp,
        body: Some(notification::Body::TransportSendRtcpNotification(Box::new(
            fbs::transport::SendRtcpNotification {
                data: vec![1, 2, 3],
            },
        ))),
    }
}

#[test]
fn a_request_of_the_node_library_is_read() {
    let message = bytes(NODE_REQUEST);
    let Ok(Message::Request(request)) = view(&message) else {
        panic!("{:?}", view(&message));
    };
    assert_eq!(request.method, request::Method::RouterCreateWebrtctransport);
    assert_eq!(request.handler_id.len(), 36, "{}", request.handler_id);
    let Ok(Some(request::BodyRef::RouterCreateWebRtcTransportRequest(body))) = request.body()
    else {
        panic!("{:?}", request.body());
    };
    assert_eq!(body.transport_id().unwrap().len(), 36);
    let owned = mafalda_channel::request(&message).unwrap();
    assert_eq!(owned.id, request.id);
    assert_eq!(
        mafalda_channel::request(&encode_request(&owned)).unwrap(),
        owned
    );
}

#[test]
fn messages_of_the_worker_are_read() {
    let message = bytes(WORKER_RESPONSE);
    let Ok(Message::Response(response)) = view(&message) else {
        panic!("{:?}", view(&message));
    };
    assert!(response.accepted);
    assert_eq!((response.error, response.reason), (None, None));
    assert!(matches!(
        response.body(),
        Ok(Some(response::BodyRef::WebRtcTransportDumpResponse(_)))
    ));
    assert_eq!(
        mafalda_channel::response(&encode_response(
            &mafalda_channel::response(&message).unwrap()
        ))
        .unwrap(),
        mafalda_channel::response(&message).unwrap()
    );

    let message = bytes(WORKER_RUNNING);
    let Ok(Message::Notification(notification)) = view(&message) else {
        panic!("{:?}", view(&message));
    };
    assert_eq!(notification.event, notification::Event::WorkerRunning);
    assert!(notification.handler_id.parse::<u32>().is_ok());
}

#[test]
fn what_is_encoded_is_read_again() {
    let message = encode_request(&sample_request());
    assert_eq!(
        mafalda_channel::request(&message).unwrap(),
        sample_request()
    );
    let Ok(Message::Request(request)) = view(&message) else {
        panic!("no request");
    };
    assert_eq!((request.id, request.handler_id), (7, ""));

    let message = encode_response(&sample_response());
    assert_eq!(
        mafalda_channel::response(&message).unwrap(),
        sample_response()
    );
    let Ok(Message::Response(response)) = view(&message) else {
        panic!("no response");
    };
    assert_eq!(
        (response.accepted, response.error, response.reason),
        (false, Some("TypeError"), Some("wrong"))
    );

    let message = encode_notification(&sample_notification());
    assert_eq!(
        mafalda_channel::notification(&message).unwrap(),
        sample_notification()
    );
}

#[test]
fn another_kind_than_asked_for_is_named() {
    let error = mafalda_channel::response(&encode_request(&sample_request())).unwrap_err();
    assert_eq!(error.to_string(), "expected a response, got a request");
}

#[test]
fn size_and_bytes_must_agree() {
    let message = encode_response(&sample_response());
    for cut in 0..message.len() {
        assert!(
            matches!(view(&message[..cut]), Err(ViewError::Frame(_))),
            "{cut} bytes of it"
        );
    }
    let longer = [&message[..], &[0]].concat();
    assert!(matches!(view(&longer), Err(ViewError::Frame(_))));
}

/// 8 000 listen infos that are one and the same, with an address of 8 000 bytes: 40 kB that would
/// decode to 64 MB, and nothing keeps the sender from making it terabytes.
#[test]
fn shared_parts_are_not_multiplied() {
    let mut builder = planus::Builder::new();
    let mut long = listen_info();
    long.ip = "0".repeat(8000);
    let one = planus::WriteAsOffset::prepare(&long, &mut builder);
    let body = request::Body::create_worker_create_web_rtc_server_request(
        &mut builder,
        fbs::worker::CreateWebRtcServerRequest::builder()
            .web_rtc_server_id("server")
            .listen_infos(vec![one; 8000]),
    );
    let request = request::Request::create(
        &mut builder,
        7,
        request::Method::WorkerCreateWebrtcserver,
        "",
        body,
    );
    let data = fbs::message::Body::create_request(&mut builder, request);
    let root = fbs::message::Message::create(&mut builder, data);
    let payload = builder.finish(root, None);
    let message = [&(payload.len() as u32).to_le_bytes(), payload].concat();
    assert!(message.len() < 50_000);

    let seen = view(&message).unwrap();
    assert!(format!("{seen:?}").len() < 500, "nor in a log");
    assert!(matches!(
        mafalda_channel::request(&message),
        Err(ViewError::Amplified)
    ));
}

/// A worker dies of a request whose body is missing or another method's.
#[test]
fn only_a_body_of_its_method_passes_the_check() {
    let create_server = sample_request();
    check_is(&create_server, true);
    for method in request::Method::ENUM_VALUES {
        let with_body = request::Request {
            method,
            ..create_server.clone()
        };
        let without = request::Request {
            method,
            body: None,
            ..create_server.clone()
        };
        let needs_one = !BODILESS.contains(&method);
        let is_its_own = method == request::Method::WorkerCreateWebrtcserver;
        check_is(&with_body, is_its_own || !needs_one);
        check_is(&without, !needs_one);
    }

    let notification = sample_notification();
    assert!(mafalda_channel::check(&encode_notification(&notification)).is_ok());
    for event in [
        notification::Event::ProducerSend,
        notification::Event::DataproducerSend,
    ] {
        let notification = notification::Notification {
            event,
            ..notification.clone()
        };
        let error = mafalda_channel::check(&encode_notification(&notification)).unwrap_err();
        assert!(matches!(error, ViewError::NotificationBody(_)), "{error}");
    }
}

fn check_is(request: &request::Request, passes: bool) {
    let checked = mafalda_channel::check(&encode_request(request));
    match checked {
        Ok(()) => assert!(passes, "{request:?}"),
        Err(ViewError::RequestBody(method)) => assert!(!passes, "{method:?}"),
        Err(error) => panic!("{error}"),
    }
}

/// The methods of which mediasoup's worker reads no body.
const BODILESS: [request::Method; 28] = {
    use request::Method::*;
    [
        WorkerDump,
        WorkerGetResourceUsage,
        WebrtcserverDump,
        RouterDump,
        TransportDump,
        TransportGetStats,
        TransportConnect,
        TransportRestartIce,
        ProducerDump,
        ProducerGetStats,
        ProducerPause,
        ProducerResume,
        ConsumerDump,
        ConsumerGetStats,
        ConsumerPause,
        ConsumerResume,
        ConsumerRequestKeyFrame,
        DataproducerDump,
        DataproducerGetStats,
        DataproducerPause,
        DataproducerResume,
        DataconsumerDump,
        DataconsumerGetStats,
        DataconsumerPause,
        DataconsumerResume,
        DataconsumerGetBufferedAmount,
        RtpobserverPause,
        RtpobserverResume,
    ]
};

#[test]
fn what_only_a_worker_sends_fails_the_check() {
    let error = mafalda_channel::check(&encode_response(&sample_response())).unwrap_err();
    assert_eq!(
        error.to_string(),
        "expected a request or notification, got a response"
    );
}

#[test]
fn real_requests_pass_the_check() {
    assert!(mafalda_channel::check(&bytes(NODE_REQUEST)).is_ok());
    let megabyte = request::Request {
        id: 1,
        method: request::Method::DataconsumerSend,
        handler_id: "consumer".into(),
        body: Some(request::Body::DataConsumerSendRequest(Box::new(
            fbs::data_consumer::SendRequest {
                ppid: 53,
                data: vec![255; 1 << 20],
            },
        ))),
    };
    assert!(mafalda_channel::check(&encode_request(&megabyte)).is_ok());
}

/// Looks at everything that can be looked at; what it finds does not matter.
fn look(message: &[u8]) {
    let _ = format!("{:?}", view(message)).len();
    let _ = mafalda_channel::check(message);
    let _ = mafalda_channel::request(message);
    let _ = mafalda_channel::response(message);
    let _ = mafalda_channel::notification(message);
}

fn with_prefix(payload: &[u8]) -> Vec<u8> {
    [&(payload.len() as u32).to_le_bytes(), payload].concat()
}

fn samples() -> Vec<Bytes> {
    vec![
        encode_request(&sample_request()),
        encode_response(&sample_response()),
        encode_notification(&sample_notification()),
        bytes(NODE_REQUEST).into(),
        bytes(WORKER_RESPONSE).into(),
        bytes(WORKER_RUNNING).into(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn garbage_is_no_message(payload in vec(any::<u8>(), 0..400)) {
        look(&payload);
        look(&with_prefix(&payload));
    }

    /// Offsets, lengths and tags that lie.
    #[test]
    fn damaged_messages_do_no_harm(
        sample in any::<prop::sample::Index>(),
        damage in vec((any::<prop::sample::Index>(), prop_oneof![Just(0u8), Just(255), any::<u8>()]), 1..12),
        cut in any::<prop::sample::Index>(),
        truncate in any::<bool>(),
    ) {
        let samples = samples();
        let mut payload = samples[sample.index(samples.len())][PREFIX..].to_vec();
        for (at, byte) in damage {
            let at = at.index(payload.len());
            payload[at] = byte;
        }
        if truncate {
            payload.truncate(cut.index(payload.len()));
        }
        look(&with_prefix(&payload));
    }
}
