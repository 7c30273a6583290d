//! What holds whatever an application does.

use super::super::*;
use super::samples::*;
use Protocol::{Tcp, Udp};
use fbs::transport::{PortRange, SocketFlags};
use fbs::web_rtc_transport::Listen;
use mafalda_channel::PREFIX;
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::HashSet;

/// What an application does in the simulation below.
#[derive(Clone, Debug)]
enum Step {
    Transport(Vec<ListenInfo>),
    Plain(ListenInfo),
    Pipe(ListenInfo),
    Server(u8, Vec<ListenInfo>),
    CloseServer(u8),
    Dump,
    /// The worker answers what it was sent.
    Answers,
}

fn any_listen_info() -> impl Strategy<Value = ListenInfo> {
    let ip = prop_oneof![
        Just("127.0.0.1".to_owned()),
        Just("0.0.0.0".to_owned()),
        Just("::".to_owned()),
        Just("localhost".to_owned()),
        any::<std::net::IpAddr>().prop_map(|ip| ip.to_string()),
    ];
    let announced = proptest::option::of(Just("old-host.example.com".to_owned()));
    let ports = (any::<u16>(), any::<u16>(), any::<u16>());
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    (ip, announced, ports, flags).prop_map(|(ip, announced, (port, min, max), flags)| ListenInfo {
        announced_address: announced,
        port,
        port_range: Box::new(PortRange { min, max }),
        expose_internal_ip: flags.0,
        flags: Box::new(SocketFlags {
            ipv6_only: flags.1,
            udp_reuse_port: flags.2,
        }),
        ..wrote(if flags.3 { Udp } else { Tcp }, &ip)
    })
}

fn any_step() -> impl Strategy<Value = Step> {
    let infos = || vec(any_listen_info(), 0..4);
    prop_oneof![
        3 => infos().prop_map(Step::Transport),
        1 => any_listen_info().prop_map(Step::Plain),
        1 => any_listen_info().prop_map(Step::Pipe),
        3 => (0u8..3, infos()).prop_map(|(id, infos)| Step::Server(id, infos)),
        3 => (0u8..3).prop_map(Step::CloseServer),
        1 => Just(Step::Dump),
        3 => Just(Step::Answers),
    ]
}

/// A worker, as far as sockets and servers go.
#[derive(Default)]
struct Worker {
    servers: std::collections::HashMap<String, Vec<ListenInfo>>,
    /// Whether another program has the worker's port.
    port_taken: bool,
    answers: std::collections::VecDeque<Bytes>,
}

impl Worker {
    fn has_port(&self) -> Option<&String> {
        let on_port = |infos: &[ListenInfo]| infos.iter().any(|info| info.port == RTC_PORT);
        let mut holders = self.servers.iter().filter(|(_, infos)| on_port(infos));
        let holder = holders.next().map(|(id, _)| id);
        assert!(holders.next().is_none(), "two have the worker's port");
        holder
    }

    fn take(&mut self, request: &request::Request, pod: &Addresses) {
        let infos = match request.body.as_ref() {
            Some(Body::WorkerCloseWebRtcServerRequest(_)) | None => Vec::new(),
            Some(_) => listen_infos(request),
        };
        for info in &infos {
            let place = pod.listen.iter().find(|at| at.bind.to_string() == info.ip);
            let place = place.expect("an address that is not the pod's");
            let announced = info.announced_address.as_ref();
            assert!(announced == place.announced.as_ref() || announced == place.pipe.as_ref());
            let range = (info.port_range.min, info.port_range.max);
            assert!([(RTC_PORT, (0, 0)), (0, (41_000, 41_999))].contains(&(info.port, range)));
        }
        let id = request.id;
        let answer = match request.body.as_ref() {
            None => {
                let ids: Vec<&str> = self.servers.keys().map(String::as_str).collect();
                dump_response(id, &ids)
            }
            Some(Body::WorkerCreateWebRtcServerRequest(body)) => {
                let server = &body.web_rtc_server_id;
                let wants_port = infos.iter().any(|info| info.port == RTC_PORT);
                if infos.is_empty() || self.servers.contains_key(server) {
                    refused(id, "wrong")
                } else if wants_port && self.port_taken {
                    refused(id, "address already in use")
                } else {
                    assert!(
                        !wants_port || self.has_port().is_none(),
                        "asked for a taken port"
                    );
                    self.servers.insert(server.clone(), infos);
                    accepted(id)
                }
            }
            Some(Body::WorkerCloseWebRtcServerRequest(body)) => {
                match self.servers.remove(&body.web_rtc_server_id) {
                    Some(_) => accepted(id),
                    None => refused(id, "WebRtcServer not found"),
                }
            }
            Some(Body::RouterCreateWebRtcTransportRequest(body)) => match &body.options.listen {
                Listen::ListenServer(listen) => {
                    assert_eq!(listen.web_rtc_server_id, OWN_WEBRTC_SERVER);
                    match self.servers.contains_key(OWN_WEBRTC_SERVER) {
                        true => accepted(id),
                        false => refused(id, "no associated WebRtcServer found"),
                    }
                }
                Listen::ListenIndividual(_) => accepted(id),
            },
            Some(_) => accepted(id),
        };
        self.answers.push_back(answer);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Whatever an application does, however many requests it has in flight: the worker binds the
    /// pod's addresses alone, its own port is asked for only while it is free, and each request
    /// has one response.
    #[test]
    fn nothing_leaves_the_pods_addresses_and_nothing_stays_unanswered(
        steps in vec(any_step(), 1..40),
        port_taken in any::<bool>(),
        families in 0usize..3,
    ) {
        let listen = [vec![v4()], vec![v6()], vec![v4(), v6()]][families].clone();
        let mut rewriter = rewriter(&listen);
        let pod = rewriter.addresses.clone();
        let mut worker = Worker { port_taken, ..Worker::default() };
        let mut unanswered = HashSet::new();
        for (id, step) in (1..).zip(steps.into_iter().chain([Step::Answers])) {
            let message = match step {
                Step::Transport(infos) => webrtc(id, infos),
                Step::Plain(info) => plain(id, info, None),
                Step::Pipe(info) => pipe(id, info),
                Step::Server(name, infos) => server(id, &name.to_string(), infos),
                Step::CloseServer(name) => close_server(id, &name.to_string()),
                Step::Dump => request(id, Method::WorkerDump, "", None),
                Step::Answers => {
                    for answer in std::mem::take(&mut worker.answers) {
                        let for_application = match rewriter.on_response(&answer).unwrap() {
                            ForApplication::Unchanged => answer,
                            ForApplication::Instead(other) => other,
                            ForApplication::Nothing => continue,
                        };
                        let response = mafalda_channel::response(&for_application).unwrap();
                        prop_assert!(unanswered.remove(&response.id));
                        let told = format!("{response:?}");
                        prop_assert!(!told.contains(OWN_WEBRTC_SERVER) && !told.contains("associated"));
                    }
                    continue;
                }
            };
            unanswered.insert(id);
            match rewriter.on_request(&message).unwrap() {
                ForWorker::Unchanged => {
                    worker.take(&mafalda_channel::request(&message).unwrap(), &pod);
                }
                ForWorker::Instead(messages) => {
                    for message in messages {
                        worker.take(&mafalda_channel::request(&message).unwrap(), &pod);
                    }
                }
                ForWorker::Answer(answer) => {
                    prop_assert!(unanswered.remove(&error(&answer).0));
                }
            }
            worker.has_port();
        }
        prop_assert!(unanswered.is_empty(), "{unanswered:?}");
        prop_assert!(rewriter.stranded.is_empty());
    }

    /// Offsets, lengths and tags that lie.
    #[test]
    fn damaged_requests_do_no_harm(
        which in 0usize..4,
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let sample = [
            webrtc(1, vec![wrote(Udp, V4), wrote(Tcp, V6)]),
            plain(1, wrote(Udp, V4), Some(wrote(Udp, V6))),
            pipe(1, wrote(Udp, V4)),
            server(1, "server", vec![wrote(Udp, V4)]),
        ][which].clone();
        let mut message = sample.to_vec();
        for (at, byte) in damage {
            let at = PREFIX + at.index(message.len() - PREFIX);
            message[at] = byte;
        }
        let mut rewriter = rewriter(&[v4(), v6()]);
        if let Ok(ForWorker::Instead(messages)) = rewriter.on_request(&message.into()) {
            for message in messages {
                let request = mafalda_channel::request(&message).unwrap();
                for info in listen_infos(&request) {
                    prop_assert!([V4, V6].contains(&&*info.ip));
                }
            }
        }
    }
}
