mod samples;
mod simulation;

use super::*;
use bytes::Bytes;
use mafalda_channel::encode_request;
use mafalda_channel::fbs;
use mafalda_channel::fbs::request::{self, Body};
use samples::*;

/// An inventory of a worker that accepts everything.
#[derive(Default)]
struct Accepting {
    inventory: Inventory,
    requests: u32,
}

impl Accepting {
    fn does(&mut self, request: impl FnOnce(u32) -> Bytes) {
        self.requests += 1;
        self.inventory.observe_request(&request(self.requests));
        let response = answer(self.requests, true);
        self.inventory.observe_response(&response);
    }

    fn creates(&mut self, kind: Kind, name: &str, needs: &[&str]) {
        let needs: Vec<String> = needs.iter().map(|id| id.to_string()).collect();
        self.does(|id| create(id, kind, name, &needs));
    }

    fn closes(&mut self, kind: Kind, name: &str) {
        self.does(|id| close(id, kind, name));
    }
}

/// A call of two, one of them on a WebRtcServer, who see, hear and write to one another.
fn call() -> Accepting {
    let mut worker = Accepting::default();
    worker.creates(Kind::Router, "router", &[]);
    worker.creates(Kind::WebRtcServer, "server", &[]);
    worker.creates(Kind::RtpObserver, "observer", &["router"]);
    worker.creates(Kind::Transport, "alice", &["router", "server"]);
    worker.creates(Kind::Transport, "bob", &["router"]);
    worker.creates(Kind::Producer, "alice's voice", &["alice"]);
    worker.creates(Kind::Consumer, "alice at bob's", &["bob", "alice's voice"]);
    worker.creates(Kind::Producer, "bob's voice", &["bob"]);
    worker.creates(Kind::Consumer, "bob at alice's", &["alice", "bob's voice"]);
    worker.creates(Kind::DataProducer, "alice's chat", &["alice"]);
    worker.creates(
        Kind::DataConsumer,
        "chat at bob's",
        &["bob", "alice's chat"],
    );
    worker
}

const CALL: Carries = Carries {
    routers: 1,
    web_rtc_servers: 1,
    transports: 2,
    producers: 2,
    consumers: 2,
    data_producers: 1,
    data_consumers: 1,
    rtp_observers: 1,
};

#[test]
fn what_closes_takes_with_it_what_depends_on_it() {
    assert_eq!(call().inventory.carries(), CALL);
    let cases = [
        (
            Kind::Router,
            "router",
            Carries {
                web_rtc_servers: 1,
                ..Carries::default()
            },
        ),
        (
            Kind::WebRtcServer,
            "server",
            Carries {
                routers: 1,
                transports: 1,
                producers: 1,
                rtp_observers: 1,
                ..Carries::default()
            },
        ),
        (
            Kind::Transport,
            "alice",
            Carries {
                transports: 1,
                producers: 1,
                consumers: 0,
                data_producers: 0,
                data_consumers: 0,
                ..CALL
            },
        ),
        (
            Kind::Transport,
            "bob",
            Carries {
                transports: 1,
                producers: 1,
                consumers: 0,
                data_consumers: 0,
                ..CALL
            },
        ),
        (
            Kind::Producer,
            "bob's voice",
            Carries {
                producers: 1,
                consumers: 1,
                ..CALL
            },
        ),
        (
            Kind::Consumer,
            "bob at alice's",
            Carries {
                consumers: 1,
                ..CALL
            },
        ),
        (
            Kind::DataProducer,
            "alice's chat",
            Carries {
                data_producers: 0,
                data_consumers: 0,
                ..CALL
            },
        ),
        (
            Kind::DataConsumer,
            "chat at bob's",
            Carries {
                data_consumers: 0,
                ..CALL
            },
        ),
        (
            Kind::RtpObserver,
            "observer",
            Carries {
                rtp_observers: 0,
                ..CALL
            },
        ),
    ];
    for (kind, name, left) in cases {
        let mut worker = call();
        worker.closes(kind, name);
        assert_eq!(worker.inventory.carries(), left, "without {name}");
    }
}

#[test]
fn every_transport_and_observer_is_counted() {
    let mut worker = Accepting::default();
    worker.creates(Kind::Router, "router", &[]);
    let listen_info = || {
        Box::new(fbs::transport::ListenInfo {
            protocol: fbs::transport::Protocol::Udp,
            ip: "127.0.0.1".to_owned(),
            announced_address: None,
            expose_internal_ip: false,
            port: 0,
            port_range: Box::new(fbs::transport::PortRange { min: 0, max: 0 }),
            flags: Box::new(fbs::transport::SocketFlags {
                ipv6_only: false,
                udp_reuse_port: false,
            }),
            send_buffer_size: 0,
            recv_buffer_size: 0,
        })
    };
    let plain = fbs::router::CreatePlainTransportRequest {
        transport_id: "plain".to_owned(),
        options: Box::new(fbs::plain_transport::PlainTransportOptions {
            base: Box::new(transport_options()),
            listen_info: listen_info(),
            rtcp_listen_info: None,
            rtcp_mux: true,
            comedia: false,
            enable_srtp: false,
            srtp_crypto_suite: None,
        }),
    };
    let pipe = fbs::router::CreatePipeTransportRequest {
        transport_id: "pipe".to_owned(),
        options: Box::new(fbs::pipe_transport::PipeTransportOptions {
            base: Box::new(transport_options()),
            listen_info: listen_info(),
            enable_rtx: false,
            enable_srtp: false,
        }),
    };
    let direct = fbs::router::CreateDirectTransportRequest {
        transport_id: "direct".to_owned(),
        options: Box::new(fbs::direct_transport::DirectTransportOptions {
            base: Box::new(transport_options()),
        }),
    };
    let audio_level = fbs::router::CreateAudioLevelObserverRequest {
        rtp_observer_id: "levels".to_owned(),
        options: Box::new(fbs::audio_level_observer::AudioLevelObserverOptions {
            max_entries: 1,
            threshold: -80,
            interval: 1000,
        }),
    };
    let bodies = [
        (
            Method::RouterCreatePlaintransport,
            Body::RouterCreatePlainTransportRequest(Box::new(plain)),
        ),
        (
            Method::RouterCreatePipetransport,
            Body::RouterCreatePipeTransportRequest(Box::new(pipe)),
        ),
        (
            Method::RouterCreateDirecttransport,
            Body::RouterCreateDirectTransportRequest(Box::new(direct)),
        ),
        (
            Method::RouterCreateAudiolevelobserver,
            Body::RouterCreateAudioLevelObserverRequest(Box::new(audio_level)),
        ),
    ];
    for (method, body) in bodies {
        worker.does(|id| encoded(id, method, "router", body));
    }
    let carries = worker.inventory.carries();
    assert_eq!((carries.transports, carries.rtp_observers), (3, 1));
    worker.closes(Kind::Router, "router");
    assert_eq!(worker.inventory.carries(), Carries::default());
}

#[test]
fn only_what_the_worker_accepts_is_counted() {
    let mut inventory = Inventory::default();
    inventory.observe_request(&create(1, Kind::Router, "router", &[]));
    assert_eq!(inventory.carries().routers, 0, "not yet");
    inventory.observe_response(&answer(1, false));
    inventory.observe_response(&answer(1, true));
    assert_eq!(inventory.carries().routers, 0, "refused");
    inventory.observe_request(&create(2, Kind::Router, "router", &[]));
    inventory.observe_response(&answer(2, true));
    inventory.observe_request(&close(3, Kind::Router, "router"));
    inventory.observe_response(&answer(3, false));
    assert_eq!(inventory.carries().routers, 1, "closing was refused");
}

#[test]
fn a_consumer_goes_with_its_producer() {
    for kind in [Kind::Consumer, Kind::DataConsumer] {
        let mut worker = Accepting::default();
        worker.creates(kind, "consumer", &["transport", "producer"]);
        let notification = producer_closed(kind, "consumer");
        worker.inventory.observe_notification(&notification);
        assert_eq!(worker.inventory.carries(), Carries::default());
    }
}

#[test]
fn the_pods_own_server_is_not_counted() {
    let mut worker = Accepting::default();
    worker.creates(Kind::Router, "router", &[]);
    worker.creates(Kind::WebRtcServer, OWN_WEBRTC_SERVER, &[]);
    worker.creates(Kind::Transport, "transport", &["router", OWN_WEBRTC_SERVER]);
    let carries = worker.inventory.carries();
    assert_eq!((carries.web_rtc_servers, carries.transports), (0, 1));
}

#[test]
fn other_messages_leave_no_trace() {
    let mut inventory = Inventory::default();
    for message in [
        &encode_request(&request::Request {
            id: 1,
            method: Method::RouterDump,
            handler_id: "router".to_owned(),
            body: None,
        })[..],
        b"\x03\0\0\0abc",
        b"",
    ] {
        inventory.observe_request(message);
        inventory.observe_response(message);
        inventory.observe_notification(message);
    }
    assert!(inventory.pending.is_empty() && inventory.things.is_empty());
}

#[test]
fn counts_are_named_as_in_the_api() {
    assert_eq!(
        serde_json::to_value(CALL).unwrap(),
        serde_json::json!({
            "routers": 1, "webRtcServers": 1, "transports": 2, "producers": 2, "consumers": 2,
            "dataProducers": 1, "dataConsumers": 1, "rtpObservers": 1,
        })
    );
}
