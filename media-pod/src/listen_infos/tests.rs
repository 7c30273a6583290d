mod samples;
mod simulation;

use super::*;
use Protocol::{Tcp, Udp};
use addresses::Ports;
use fbs::web_rtc_transport::{Listen, ListenIndividual, ListenServer, WebRtcTransportOptions};
use mafalda_channel::encode_notification;
use samples::*;

/// The listen infos of an application, by protocol and address.
type Wrote = [(Protocol, &'static str)];

#[test]
fn a_webrtc_transport_goes_to_the_pods_own_server() {
    // What the application lists, which protocols its transport gets, which of them first.
    let cases: &[(&Wrote, bool, bool, bool)] = &[
        (&[(Udp, "127.0.0.1")], true, false, false),
        (&[(Tcp, "192.168.1.4")], false, true, true),
        (&[(Udp, "0.0.0.0"), (Tcp, "0.0.0.0")], true, true, false),
        (&[(Tcp, "0.0.0.0"), (Udp, "0.0.0.0")], true, true, true),
        (
            &[(Udp, "::"), (Tcp, "10.0.0.1"), (Udp, "10.0.0.1")],
            true,
            true,
            false,
        ),
        (&[(Udp, "fe80::1%eth0")], true, false, false),
    ];
    for (wrote_infos, udp, tcp, tcp_first) in cases {
        for listen in [vec![v4()], vec![v6()], vec![v4(), v6()]] {
            let mut rewriter = rewriter(&listen);
            let infos = wrote_infos
                .iter()
                .map(|(protocol, ip)| wrote(*protocol, ip));
            let requests = rewritten(&mut rewriter, &webrtc(9, infos.collect()));
            let [server, transport] = &requests[..] else {
                panic!("{requests:?}");
            };
            assert_eq!(server.method, Method::WorkerCreateWebrtcserver);
            assert_eq!(listen_infos(server).len(), 2 * listen.len());

            assert_eq!(transport.id, 9);
            assert_eq!(
                transport.method,
                Method::RouterCreateWebrtctransportWithServer
            );
            assert_eq!(transport.handler_id, "router");
            let expected = WebRtcTransportOptions {
                enable_udp: *udp,
                enable_tcp: *tcp,
                prefer_udp: false,
                prefer_tcp: *tcp_first,
                ..webrtc_options(Listen::ListenServer(Box::new(ListenServer {
                    web_rtc_server_id: OWN_WEBRTC_SERVER.to_owned(),
                })))
            };
            let Some(Body::RouterCreateWebRtcTransportRequest(body)) = &transport.body else {
                panic!("{transport:?}");
            };
            assert_eq!(body.transport_id, "transport");
            assert_eq!(*body.options, expected);
        }
    }
}

#[test]
fn the_pods_own_server_listens_on_the_workers_port() {
    let cases: &[(&[Address], &[&str])] = &[
        (
            &[v4()],
            &[
                "udp 0.0.0.0 as media.example.com port 40003",
                "tcp 0.0.0.0 as media.example.com port 40003",
            ],
        ),
        (
            &[v6()],
            &[
                "udp :: as 2001:db8::7 port 40003",
                "tcp :: as 2001:db8::7 port 40003",
            ],
        ),
        (
            &[v6(), v4()],
            &[
                "udp :: as 2001:db8::7 port 40003 v6only",
                "udp 0.0.0.0 as media.example.com port 40003",
                "tcp :: as 2001:db8::7 port 40003 v6only",
                "tcp 0.0.0.0 as media.example.com port 40003",
            ],
        ),
        (
            &[address("127.0.0.1", None, None)],
            &["udp 127.0.0.1 port 40003", "tcp 127.0.0.1 port 40003"],
        ),
    ];
    for (listen, expected) in cases {
        let mut rewriter = rewriter(listen);
        let requests = rewritten(&mut rewriter, &webrtc(1, vec![wrote(Udp, "127.0.0.1")]));
        assert_eq!(lines(&requests[0]), *expected);
    }
}

#[test]
fn the_pods_own_server_is_made_once() {
    let mut rewriter = rewriter(&[v4()]);
    let transport = |id| webrtc(id, vec![wrote(Udp, V4)]);
    let requests = rewritten(&mut rewriter, &transport(1));
    assert_eq!(requests.len(), 2);
    assert_eq!(
        rewritten(&mut rewriter, &transport(2)).len(),
        1,
        "in flight"
    );
    let own = accepted(requests[0].id);
    assert_eq!(rewriter.on_response(&own).unwrap(), ForApplication::Nothing);
    assert_eq!(rewritten(&mut rewriter, &transport(3)).len(), 1, "there");
    for id in [1, 2, 3] {
        let response = rewriter.on_response(&accepted(id)).unwrap();
        assert_eq!(response, ForApplication::Unchanged);
    }
}

#[test]
fn the_pods_own_request_has_an_id_of_its_own() {
    for id in [0, 1, 77, u32::MAX / 2, u32::MAX] {
        let mut rewriter = rewriter(&[v4()]);
        let requests = rewritten(&mut rewriter, &webrtc(id, vec![wrote(Udp, V4)]));
        let distance = requests[0].id.wrapping_sub(id);
        assert_eq!(distance, 1 << 31, "as far from the application's as can be");
        let not_own = rewriter.on_response(&accepted(id)).unwrap();
        assert_eq!(not_own, ForApplication::Unchanged);
        let own = rewriter.on_response(&accepted(requests[0].id)).unwrap();
        assert_eq!(own, ForApplication::Nothing);
    }
}

#[test]
fn a_refused_server_of_the_pod_fails_its_transports_with_the_reason() {
    let mut rewriter = rewriter(&[v4()]);
    let requests = rewritten(&mut rewriter, &webrtc(1, vec![wrote(Udp, V4)]));
    rewritten(&mut rewriter, &webrtc(2, vec![wrote(Udp, V4)]));
    let own = refused(requests[0].id, "address already in use");
    assert_eq!(rewriter.on_response(&own).unwrap(), ForApplication::Nothing);
    for id in [1, 2] {
        let worker_says = refused(
            id,
            "wrong webRtcServerId (no associated WebRtcServer found)",
        );
        let ForApplication::Instead(response) = rewriter.on_response(&worker_says).unwrap() else {
            panic!("the worker's own words went to the application");
        };
        let reason = "the media pod cannot listen on port 40003: address already in use";
        assert_eq!(error(&response), (id, "Error".into(), reason.into()));
    }
    assert_eq!(
        rewritten(&mut rewriter, &webrtc(3, vec![wrote(Udp, V4)])).len(),
        2,
        "the next transport tries again"
    );
}

#[test]
fn servers_get_ports_of_the_range_where_the_workers_port_is_taken() {
    let taken = || Rewriter::new(samples::addresses(&[v4()]), |_| false);
    let own = &rewritten(&mut taken(), &webrtc(1, vec![wrote(Udp, V4)]))[0];
    let applications = &rewritten(
        &mut taken(),
        &server(1, "s", vec![wrote(Udp, V4), wrote(Tcp, V4)]),
    )[0];
    let expected = [
        "udp 0.0.0.0 as media.example.com in 41000-41999",
        "tcp 0.0.0.0 as media.example.com in 41000-41999",
    ];
    assert_eq!(lines(own), expected);
    assert_eq!(lines(applications), expected);
    // Whoever reads the pod's status learns of it.
    for (rewriter, wanted) in [(&mut taken(), true), (&mut rewriter(&[v4()]), false)] {
        let on_range = rewriter.on_range();
        assert!(!on_range.load(std::sync::atomic::Ordering::Relaxed));
        rewritten(rewriter, &webrtc(1, vec![wrote(Udp, V4)]));
        assert_eq!(on_range.load(std::sync::atomic::Ordering::Relaxed), wanted);
    }
}

#[test]
fn an_applications_server_gets_the_workers_port() {
    let cases: &[(&[Address], &Wrote, &[&str])] = &[
        (
            &[v4()],
            &[(Udp, "127.0.0.1"), (Tcp, "127.0.0.1")],
            &[
                "udp 0.0.0.0 as media.example.com port 40003",
                "tcp 0.0.0.0 as media.example.com port 40003",
            ],
        ),
        (
            &[v4()],
            &[(Tcp, "10.0.0.1"), (Udp, "10.0.0.1"), (Tcp, "::1")],
            &[
                "tcp 0.0.0.0 as media.example.com port 40003",
                "udp 0.0.0.0 as media.example.com port 40003",
            ],
        ),
        (
            &[v6()],
            &[(Udp, "127.0.0.1")],
            &["udp :: as 2001:db8::7 port 40003"],
        ),
        (
            &[v4(), v6()],
            &[(Udp, "127.0.0.1")],
            &[
                "udp 0.0.0.0 as media.example.com port 40003",
                "udp :: as 2001:db8::7 port 40003 v6only",
            ],
        ),
    ];
    for (listen, wrote_infos, expected) in cases {
        let mut rewriter = rewriter(listen);
        let infos = wrote_infos
            .iter()
            .map(|(protocol, ip)| wrote(*protocol, ip));
        let requests = rewritten(&mut rewriter, &server(5, "server", infos.collect()));
        assert_eq!(requests.len(), 1);
        assert_eq!(requests[0].id, 5);
        assert_eq!(lines(&requests[0]), *expected);
    }
}

#[test]
fn one_has_the_workers_port_and_the_others_share_the_range() {
    let mut rewriter = rewriter(&[v4()]);
    let app = |id, name| server(id, name, vec![wrote(Udp, V4)]);
    let own_port = ["udp 0.0.0.0 as media.example.com port 40003"];
    let of_range = ["udp 0.0.0.0 as media.example.com in 41000-41999"];

    let requests = rewritten(&mut rewriter, &app(1, "first"));
    assert_eq!(lines(&requests[0]), own_port);
    let requests = rewritten(&mut rewriter, &app(2, "second"));
    assert_eq!(lines(&requests[0]), of_range);
    let requests = rewritten(&mut rewriter, &webrtc(3, vec![wrote(Udp, "::1")]));
    assert_eq!(requests[0].method, Method::RouterCreateWebrtctransport);
    assert_eq!(lines(&requests[0]), of_range, "no server of the pod");
    let expected = webrtc_on(4, "first");
    assert_eq!(
        rewriter.on_request(&expected).unwrap(),
        ForWorker::Unchanged
    );

    // The second one never had it.
    rewriter.on_request(&close_server(5, "second")).unwrap();
    let requests = rewritten(&mut rewriter, &app(6, "third"));
    assert_eq!(lines(&requests[0]), of_range);

    rewriter.on_request(&close_server(7, "first")).unwrap();
    let requests = rewritten(&mut rewriter, &webrtc(8, vec![wrote(Udp, V4)]));
    assert_eq!(lines(&requests[0])[0], own_port[0], "now it is the pod's");
    let requests = rewritten(&mut rewriter, &app(9, "fourth"));
    assert_eq!(lines(&requests[0]), of_range);
}

#[test]
fn a_refused_server_of_the_application_leaves_the_port_free() {
    let mut rewriter = rewriter(&[v4()]);
    rewritten(&mut rewriter, &server(1, "first", vec![wrote(Udp, V4)]));
    let passed = rewriter.on_response(&refused(1, "no")).unwrap();
    assert_eq!(passed, ForApplication::Unchanged);
    let requests = rewritten(&mut rewriter, &server(2, "second", vec![wrote(Udp, V4)]));
    assert_eq!(listen_infos(&requests[0])[0].port, RTC_PORT);
    rewriter.on_response(&accepted(2)).unwrap();
    let requests = rewritten(&mut rewriter, &server(3, "third", vec![wrote(Udp, V4)]));
    assert_eq!(listen_infos(&requests[0])[0].port, 0);
}

#[test]
fn plain_and_pipe_transports_get_the_address_of_their_family() {
    // Pod, what the application wrote, plain transport's listen info, pipe transport's.
    let cases: &[(&[Address], &str, &str, &str)] = &[
        (
            &[v4()],
            "127.0.0.1",
            "udp 0.0.0.0 as media.example.com in 41000-41999",
            "udp 0.0.0.0 as 10.0.0.7 in 41000-41999",
        ),
        (
            &[v4()],
            "::1",
            "udp 0.0.0.0 as media.example.com in 41000-41999",
            "udp 0.0.0.0 as 10.0.0.7 in 41000-41999",
        ),
        (
            &[v6()],
            "127.0.0.1",
            "udp :: as 2001:db8::7 in 41000-41999",
            "udp :: as 2001:db8::7 in 41000-41999",
        ),
        (
            &[v4(), v6()],
            "::",
            "udp :: as 2001:db8::7 in 41000-41999",
            "udp :: as 2001:db8::7 in 41000-41999",
        ),
        (
            &[v6(), v4()],
            "0.0.0.0",
            "udp 0.0.0.0 as media.example.com in 41000-41999",
            "udp 0.0.0.0 as 10.0.0.7 in 41000-41999",
        ),
        (
            &[address("127.0.0.1", None, None)],
            "192.168.7.7",
            "udp 127.0.0.1 in 41000-41999",
            "udp 127.0.0.1 in 41000-41999",
        ),
    ];
    for (listen, ip, as_plain, as_pipe) in cases {
        let mut rewriter = rewriter(listen);
        let requests = rewritten(&mut rewriter, &plain(1, wrote(Udp, ip), None));
        assert_eq!(lines(&requests[0]), [*as_plain]);
        let both = plain(2, wrote(Udp, ip), Some(wrote(Udp, ip)));
        let requests = rewritten(&mut rewriter, &both);
        assert_eq!(lines(&requests[0]), [*as_plain, *as_plain]);
        let requests = rewritten(&mut rewriter, &pipe(3, wrote(Udp, ip)));
        assert_eq!(lines(&requests[0]), [*as_pipe]);
    }
}

#[test]
fn what_is_not_of_addresses_stays() {
    let keep = |message: Bytes| {
        let mut before = mafalda_channel::request(&message).unwrap();
        let mut after = rewritten(&mut rewriter(&[v4(), v6()]), &message).remove(0);
        for request in [&mut before, &mut after] {
            let info = match request.body.as_mut().unwrap() {
                Body::RouterCreatePlainTransportRequest(body) => &mut body.options.listen_info,
                Body::RouterCreatePipeTransportRequest(body) => &mut body.options.listen_info,
                body => panic!("{body:?}"),
            };
            let kept = ListenInfo {
                protocol: info.protocol,
                send_buffer_size: info.send_buffer_size,
                recv_buffer_size: info.recv_buffer_size,
                ..wrote(Udp, "")
            };
            let ipv6_only = info.flags.ipv6_only;
            **info = kept;
            info.flags.ipv6_only = ipv6_only;
        }
        assert_eq!(before, after);
    };
    let mut info = wrote(Udp, "::");
    info.flags.ipv6_only = true;
    info.send_buffer_size = 300_000;
    info.recv_buffer_size = 400_000;
    keep(plain(1, info.clone(), None));
    keep(pipe(2, info));
    // A protocol that these have not: the worker says so itself.
    keep(plain(3, wrote(Tcp, V4), None));
    keep(pipe(4, wrote(Tcp, V4)));
}

#[test]
fn the_largest_buffers_that_were_asked_for_are_given() {
    let sized = |protocol, send, recv| ListenInfo {
        send_buffer_size: send,
        recv_buffer_size: recv,
        ..wrote(protocol, V4)
    };
    let infos = vec![sized(Udp, 10, 40), sized(Tcp, 5, 0), sized(Udp, 30, 20)];
    let requests = rewritten(&mut rewriter(&[v4()]), &webrtc(1, infos.clone()));
    let own: Vec<_> = listen_infos(&requests[0])
        .iter()
        .map(|info| (info.protocol, info.send_buffer_size, info.recv_buffer_size))
        .collect();
    assert_eq!(own, [(Udp, 30, 40), (Tcp, 5, 0)]);
    let requests = rewritten(&mut rewriter(&[v4()]), &server(1, "server", infos));
    assert_eq!(listen_infos(&requests[0])[0].send_buffer_size, 30);
}

#[test]
fn a_dump_of_the_worker_shows_what_the_application_made() {
    let mut rewriter = rewriter(&[v4()]);
    let before = dump_response(1, &[]);
    let passed = rewriter.on_response(&before).unwrap();
    assert_eq!(passed, ForApplication::Unchanged);

    let requests = rewritten(&mut rewriter, &webrtc(2, vec![wrote(Udp, V4)]));
    rewriter.on_response(&accepted(requests[0].id)).unwrap();
    let worker_says = dump_response(3, &["a", OWN_WEBRTC_SERVER, "b"]);
    let ForApplication::Instead(dump) = rewriter.on_response(&worker_says).unwrap() else {
        panic!("the pod's own server went to the application");
    };
    let expected = mafalda_channel::response(&dump_response(3, &["a", "b"])).unwrap();
    assert_eq!(mafalda_channel::response(&dump).unwrap(), expected);
}

#[test]
fn the_pods_own_server_is_not_the_applications() {
    let mut rewriter = rewriter(&[v4()]);
    rewritten(&mut rewriter, &webrtc(1, vec![wrote(Udp, V4)]));
    let dump = request(2, Method::WebrtcserverDump, OWN_WEBRTC_SERVER, None);
    for message in [
        dump,
        close_server(2, OWN_WEBRTC_SERVER),
        webrtc_on(2, OWN_WEBRTC_SERVER),
    ] {
        let (id, class, reason) = answer(&mut rewriter, &message);
        assert_eq!((id, &*class), (2, "NotFoundError"), "{reason}");
    }
    let message = server(2, OWN_WEBRTC_SERVER, vec![wrote(Udp, V4)]);
    assert_eq!(answer(&mut rewriter, &message).1, "Error");
}

#[test]
fn what_makes_no_sense_is_answered_as_mediasoup_does() {
    let many = vec![wrote(Udp, V4); 65];
    let swapped = Some(webrtc_body(Listen::ListenIndividual(Box::new(
        ListenIndividual {
            listen_infos: vec![wrote(Udp, V4)],
        },
    ))));
    let cases = [
        (
            webrtc(3, vec![wrote(Udp, "localhost")]),
            "invalid IP 'localhost'",
        ),
        (
            webrtc(3, vec![wrote(Udp, V4), wrote(Tcp, "")]),
            "invalid IP ''",
        ),
        (
            plain(3, wrote(Udp, "300.1.1.1"), None),
            "invalid IP '300.1.1.1'",
        ),
        (
            plain(3, wrote(Udp, V4), Some(wrote(Udp, "1.1.1.1%eth0"))),
            "invalid IP '1.1.1.1%eth0'",
        ),
        (
            pipe(3, wrote(Udp, "media.example.com")),
            "invalid IP 'media.example.com'",
        ),
        (
            server(3, "s", vec![wrote(Udp, &"1".repeat(9999))]),
            "invalid IP '1111",
        ),
        (webrtc(3, many), "wrong listenInfos (more than 64)"),
        (
            request(3, Method::RouterCreatePipetransport, "router", None),
            "malformed request: ",
        ),
        (
            request(3, Method::RouterCreatePlaintransport, "router", swapped),
            "malformed request: ",
        ),
    ];
    for (message, expected) in cases {
        let mut rewriter = rewriter(&[v4()]);
        let (id, class, reason) = answer(&mut rewriter, &message);
        assert_eq!((id, &*class), (3, "TypeError"));
        assert!(
            reason.starts_with(expected) && reason.len() < 200,
            "{reason}"
        );
        let after = rewritten(&mut rewriter, &server(4, "s", vec![wrote(Udp, V4)]));
        assert_eq!(
            listen_infos(&after[0])[0].port,
            RTC_PORT,
            "nothing was taken"
        );
    }
}

#[test]
fn no_listen_infos_stay_none() {
    let mut rewriter = rewriter(&[v4()]);
    let requests = rewritten(&mut rewriter, &webrtc(1, Vec::new()));
    assert_eq!(requests[0].method, Method::RouterCreateWebrtctransport);
    assert!(listen_infos(&requests[0]).is_empty());
    let requests = rewritten(&mut rewriter, &server(2, "server", Vec::new()));
    assert!(listen_infos(&requests[0]).is_empty());
    let requests = rewritten(&mut rewriter, &server(3, "server", vec![wrote(Udp, V4)]));
    assert_eq!(listen_infos(&requests[0])[0].port, RTC_PORT);
}

#[test]
fn other_messages_pass_as_they_are() {
    let mut rewriter = rewriter(&[v4()]);
    rewritten(&mut rewriter, &webrtc(1, vec![wrote(Udp, V4)]));
    let notification = encode_notification(&fbs::notification::Notification {
        handler_id: "transport".to_owned(),
        event: fbs::notification::Event::ConsumerProducerClose,
        body: None,
    });
    for message in [
        request(2, Method::WorkerDump, "", None),
        request(2, Method::RouterDump, "router", None),
        request(2, Method::WebrtcserverDump, "server", None),
        close_server(2, "server"),
        webrtc_on(2, "server"),
        notification.clone(),
    ] {
        let passed = rewriter.on_request(&message).unwrap();
        assert_eq!(passed, ForWorker::Unchanged);
    }
    for message in [notification, accepted(1), refused(7, "no")] {
        let passed = rewriter.on_response(&message).unwrap();
        assert_eq!(passed, ForApplication::Unchanged);
    }
}

#[test]
fn what_is_no_message_is_an_error() {
    let mut rewriter = rewriter(&[v4()]);
    assert!(
        rewriter
            .on_request(&Bytes::from_static(b"\x03\0\0\0abc"))
            .is_err()
    );
    assert!(rewriter.on_request(&Bytes::new()).is_err());
}

#[test]
fn a_pod_without_addresses_says_so() {
    let mut rewriter = rewriter(&[]);
    assert!(rewriter.addresses.everywhere(&[], Ports::Own).is_empty());
    let (_, class, reason) = answer(&mut rewriter, &pipe(1, wrote(Udp, V4)));
    assert_eq!(
        (&*class, &*reason),
        ("Error", "the media pod has no address")
    );
}
