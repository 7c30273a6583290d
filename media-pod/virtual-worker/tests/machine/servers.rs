//! The application's WebRtcServers where the members' own stand for them.

use crate::program::Step;
use crate::requests::{Names, request};
use crate::settings::MEMBER_SERVER;
use crate::world::World;
use mafalda_channel::fbs::request::{Body, Method};
use mafalda_channel::fbs::web_rtc_transport::Listen;
use mafalda_channel::{Message, view};
use mafalda_virtual_worker::{Action, Config, MemberId, Placement};

fn world() -> World {
    let config = Config {
        name: "a".to_owned(),
        placement: Placement::Spread,
        member_server: Some(MEMBER_SERVER.to_owned()),
        ..Config::default()
    };
    World::new(2, [config])
}

#[test]
fn its_transports_spread_over_the_members_servers_with_its_protocols() {
    let mut world = world();
    let names = Names::of('a');
    for step in [Step::CreateServer(0), Step::CreateRouter(0)] {
        world.send(0, request(1, step, names));
    }
    let mut members = Vec::new();
    for t in 0..2 {
        let create = request(1, Step::CreateOnServer(0, t, 0), names);
        for action in world.tenants[0].machine.on_application(create) {
            let Action::ToMember(member, message) = action else {
                continue;
            };
            let body = mafalda_channel::request(&message).expect("sound").body;
            let Some(Body::RouterCreateWebRtcTransportRequest(body)) = body else {
                continue;
            };
            members.push(member);
            // The server listens for UDP only.
            assert!(body.options.enable_udp && !body.options.enable_tcp);
            let Listen::ListenServer(listen) = body.options.listen else {
                panic!("on a server")
            };
            assert_eq!(listen.web_rtc_server_id, MEMBER_SERVER);
        }
    }
    assert_eq!(members, [MemberId(0), MemberId(1)]);
}

#[test]
fn a_server_without_ports_and_the_members_own_are_refused() {
    let mut world = world();
    let names = Names::of('a');
    let mut bare =
        mafalda_channel::request(&request(1, Step::CreateServer(0), names)).expect("sound");
    if let Some(Body::WorkerCreateWebRtcServerRequest(body)) = &mut bare.body {
        body.listen_infos = Some(vec![]);
    }
    let mut own = bare.clone();
    own.method = Method::WebrtcserverDump;
    own.handler_id = MEMBER_SERVER.to_owned();
    own.body = None;
    let mut named =
        mafalda_channel::request(&request(2, Step::CreateRouter(0), names)).expect("sound");
    if let Some(Body::WorkerCreateRouterRequest(body)) = &mut named.body {
        body.router_id = MEMBER_SERVER.to_owned();
    }
    let messages = [
        (bare, "TypeError"),
        (own, "NotFoundError"),
        (named, "Error"),
    ];
    for (message, class) in messages {
        let message = mafalda_channel::encode_request(&message);
        let actions = world.tenants[0].machine.on_application(message);
        let [Action::ToApplication(answer)] = &actions[..] else {
            panic!("{actions:?}")
        };
        let Ok(Message::Response(answer)) = view(answer) else {
            panic!("an answer")
        };
        assert_eq!(answer.error, Some(class));
    }
}
