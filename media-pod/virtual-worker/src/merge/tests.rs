use super::*;
use mafalda_channel::fbs::common::StringString;
use mafalda_channel::fbs::web_rtc_server::{IceUserNameFragment, IpPort};

fn owned(ids: &[&str]) -> Vec<String> {
    ids.iter().map(|&id| id.to_owned()).collect()
}

fn ids<C: FromIterator<Id>>(ids: &[&str]) -> C {
    ids.iter().map(|&id| id.into()).collect()
}

fn array(key: &str, values: &[&str]) -> StringStringArray {
    StringStringArray {
        key: key.to_owned(),
        values: owned(values),
    }
}

/// Answers in the order in which they come, which is the opposite of the members'.
fn merged(whole: Whole, answers: Vec<Response>) -> Response {
    let members = (0..).map(MemberId);
    let mut answers: Vec<_> = members.zip(answers).collect();
    answers.reverse();
    Gather {
        id: 7,
        whole,
        missing: HashSet::new(),
        answers,
    }
    .merged()
}

fn yes(body: Body) -> Response {
    acceptance(1, Some(body))
}

fn no() -> Response {
    refusal(3, Refusal::type_error("no".to_owned()))
}

#[test]
fn a_router_dump_is_that_of_one_router_and_shows_nothing_of_ours() {
    let dump = |transports: &[&str], consumers: Vec<StringStringArray>, consumer: &str| {
        Body::RouterDumpResponse(Box::new(router::DumpResponse {
            transport_ids: owned(transports),
            map_producer_id_consumer_ids: consumers,
            map_consumer_id_producer_id: vec![StringString {
                key: consumer.to_owned(),
                value: "p".to_owned(),
            }],
            ..empty_dump(&"router".into())
        }))
    };
    let source = dump(
        &["t1", "mafalda/0/1"],
        vec![array("p", &["mafalda/0/3"])],
        "mafalda/0/3",
    );
    let target = dump(&["mafalda/0/2", "t2"], vec![array("p", &["c"])], "c");
    let answers = vec![yes(source), yes(target)];
    let merged = merged(Whole::Router("router".into()), answers);
    let expected = dump(&["t1", "t2"], vec![array("p", &["c"])], "c");
    assert_eq!(merged, acceptance(7, Some(expected)));
}

#[test]
fn a_worker_dump_shows_what_is_ours_once_and_nothing_of_others() {
    let dump = |pid, servers: &[&str], routers: &[&str], handlers: &[&str]| {
        Body::WorkerDumpResponse(Box::new(worker::DumpResponse {
            pid,
            web_rtc_server_ids: owned(servers),
            router_ids: owned(routers),
            channel_message_handlers: Box::new(worker::ChannelMessageHandlers {
                channel_request_handlers: owned(handlers),
                channel_notification_handlers: owned(handlers),
            }),
        }))
    };
    let one = dump(11, &["s"], &["r1"], &["s", "r1", "p", "mafalda/0/1"]);
    let two = dump(
        12,
        &["theirs"],
        &["r1", "r3"],
        &["theirs", "r1", "r3", "p", "q"],
    );
    let shown = WorkerDump {
        process_id: 99,
        routers: ids(&["r1", "r2"]),
        virtual_servers: ids(&["v"]),
        real_servers: ids(&["s"]),
        things: ids(&["p"]),
    };
    let merged = merged(Whole::Worker(shown), vec![yes(one), yes(two)]);
    let Some(Body::WorkerDumpResponse(got)) = merged.body else {
        panic!("a dump")
    };
    assert_eq!(got.pid, 99);
    assert_eq!(got.web_rtc_server_ids, ["v", "s"]);
    assert_eq!(got.router_ids, ["r1", "r2"]);
    let handlers = got.channel_message_handlers;
    assert_eq!(
        handlers.channel_request_handlers,
        ["r1", "r2", "v", "s", "p"]
    );
    assert_eq!(handlers.channel_notification_handlers, ["s", "p"]);
}

#[test]
fn a_server_dump_unites_sockets_and_shows_only_its_transports() {
    let port = |port| IpPort {
        ip: "10.0.0.1".to_owned(),
        port,
    };
    let dump = |udp, transports: &[&str]| {
        Body::WebRtcServerDumpResponse(Box::new(web_rtc_server::DumpResponse {
            id: "member's".to_owned(),
            udp_sockets: vec![port(udp)],
            tcp_servers: vec![port(udp)],
            web_rtc_transport_ids: owned(transports),
            local_ice_username_fragments: transports
                .iter()
                .map(|id| IceUserNameFragment {
                    local_ice_username_fragment: format!("of {id}"),
                    web_rtc_transport_id: (*id).to_owned(),
                })
                .collect(),
        }))
    };
    let shown = ServerDump {
        id: "s".into(),
        udp: true,
        tcp: false,
        transports: ids(&["t1", "t2"]),
    };
    let answers = vec![yes(dump(1, &["t1", "theirs"])), no(), yes(dump(2, &["t2"]))];
    let merged = merged(Whole::Server(shown), answers);
    let Some(Body::WebRtcServerDumpResponse(got)) = merged.body else {
        panic!("a dump")
    };
    assert_eq!(got.id, "s");
    assert_eq!(got.udp_sockets, [port(1), port(2)]);
    assert_eq!(got.tcp_servers, []);
    assert_eq!(got.web_rtc_transport_ids, ["t1", "t2"]);
    let fragments = got.local_ice_username_fragments;
    let fragments: Vec<_> = fragments.iter().map(|f| &f.web_rtc_transport_id).collect();
    assert_eq!(fragments, ["t1", "t2"]);
}

#[test]
fn usage_adds_up_and_one_refusal_is_the_answer() {
    let usage = |ru_utime| {
        Body::WorkerResourceUsageResponse(Box::new(worker::ResourceUsageResponse {
            ru_utime,
            ..Default::default()
        }))
    };
    let answer = merged(Whole::First, vec![yes(usage(1)), yes(usage(2))]);
    assert_eq!(answer, acceptance(7, Some(usage(3))));
    let answer = merged(Whole::First, vec![yes(usage(1)), no()]);
    assert_eq!((answer.id, answer.reason.as_deref()), (7, Some("no")));
}
