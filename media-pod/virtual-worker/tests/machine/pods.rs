//! Members in many pods: where things go, and how streams get from pod to pod.

use crate::held::assert_nothing_useless;
use crate::model::Thing;
use crate::program::{DIRECT, Flavour, Step};
use crate::requests::{Names, request};
use crate::settings::{PLACES, place};
use crate::world::{Member, World};
use crate::{cases, config};
use bytes::Bytes;
use mafalda_channel::encode_request;
use mafalda_channel::fbs::request::Body;
use mafalda_channel::fbs::router::CreatePipeTransportRequest;
use mafalda_channel::fbs::rtp_parameters::{CodecMapping, MediaKind, RtpCodecParameters};
use mafalda_channel::fbs::transport::ProduceRequest;
use mafalda_virtual_worker::{
    Action, Between, Config, Locality, MemberId, PipeSettings, Placement,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

/// Of `place()`.
const HOME: usize = 0;
const NEAR: usize = 1;
const FAR: usize = 2;
const OTHER_CLUSTER: usize = 5;

/// Where so many members are.
pub fn places(members: Range<usize>) -> impl Strategy<Value = Vec<Locality>> {
    vec((0..PLACES.len()).prop_map(place), members)
}

fn config_of(placement: Placement, pipes: PipeSettings) -> Config {
    Config {
        name: "a".to_owned(),
        placement,
        pipes,
        locality: place(HOME),
        ..Config::default()
    }
}

/// A router over members at these places.
fn world(pods: &[usize], config: Config) -> World {
    let places: Vec<Locality> = pods.iter().map(|pod| place(*pod)).collect();
    let mut world = World::over(&places, [config]);
    go(&mut world, Step::CreateRouter(0));
    world
}

fn go(world: &mut World, step: Step) {
    world.send(0, request(1, step, Names::of('a')));
    world.settle();
}

/// The member that has this.
fn member_of(world: &World, id: &str) -> usize {
    let mut members = world.members.iter();
    let at = members.position(|member| member.model.things.contains_key(id));
    at.expect("it is somewhere")
}

/// Where a new transport goes.
fn place_of(world: &mut World, t: u8) -> usize {
    go(world, Step::CreateTransport(0, t));
    member_of(world, &Names::of('a').transport(t))
}

#[test]
fn a_session_leaves_its_pod_when_that_is_full_and_comes_back() {
    let config = config_of(Placement::Pack, PipeSettings::default());
    let mut world = world(&[FAR, NEAR, HOME, HOME, NEAR], config);
    let wants_more = |world: &World| world.tenants[0].machine.wants_more();
    (0..20).for_each(|t| assert_eq!(place_of(&mut world, t), 2));
    world.heat(2, 0.7);
    assert_eq!(place_of(&mut world, 20), 3, "home has another worker");
    world.heat(3, 0.7);
    assert_eq!(place_of(&mut world, 21), 1, "the nearest pod");
    world.heat(1, 0.7);
    assert_eq!(place_of(&mut world, 22), 4, "of that the other worker");
    assert!(!wants_more(&world));
    world.tenants[0]
        .machine
        .on_member_cordoned(MemberId(0), true);
    world.heat(4, 0.7);
    assert!(wants_more(&world), "the last cool one is to go");
    world.tenants[0]
        .machine
        .on_member_cordoned(MemberId(0), false);
    assert!(!wants_more(&world));
    assert_eq!(place_of(&mut world, 23), 0);
    world.heat(1, 0.5);
    assert_eq!(place_of(&mut world, 24), 1, "in use, and nearer");
    world.heat(3, 0.5);
    assert_eq!(place_of(&mut world, 25), 3, "home again");
}

/// As in the relay, which runs beside the application and in no pod.
#[test]
fn who_is_in_no_pod_fills_one_after_the_other() {
    let config = Config {
        locality: Locality::default(),
        ..config_of(Placement::Pack, PipeSettings::default())
    };
    let mut world = world(&[FAR, NEAR, NEAR, FAR], config);
    world.heat(0, 0.1);
    // Of each pod the worker that has least to do, then the other.
    for (t, member) in (0..).zip([1, 2, 3, 0]) {
        assert_eq!(place_of(&mut world, t), member as usize);
        world.heat(member, 0.7);
    }
}

#[test]
fn who_has_nothing_wants_nothing() {
    let config = config_of(Placement::Pack, PipeSettings::default());
    let mut world = world(&[HOME], config);
    world.heat(0, 0.9);
    assert!(!world.tenants[0].machine.wants_more());
    go(&mut world, Step::CreateTransport(0, 0));
    assert!(world.tenants[0].machine.wants_more());
    go(&mut world, Step::CloseTransport(0, 0));
    assert!(!world.tenants[0].machine.wants_more());
}

/// What was placed in the last seconds counts before CPU shows it.
#[test]
fn a_rush_wants_more_at_once() {
    let config = Config {
        watermark: 0.1,
        ..config_of(Placement::Pack, PipeSettings::default())
    };
    let mut world = world(&[HOME], config);
    let transports = (DIRECT..u8::MAX).take_while(|t| {
        go(&mut world, Step::CreateTransport(0, *t));
        !world.tenants[0].machine.wants_more()
    });
    // A five hundredth of a core each.
    let transports = transports.count();
    assert!((48..=50).contains(&transports), "{transports}");
}

#[test]
fn a_cordoned_member_goes_on_and_gets_nothing_new() {
    for placement in [Placement::Pack, Placement::Spread] {
        let mut world = world(&[HOME, NEAR], config_of(placement, PipeSettings::default()));
        assert_eq!(place_of(&mut world, 3), 0);
        go(&mut world, Step::Produce(3, 0, false, Flavour::Media));
        let cordon = |world: &mut World, member, cordoned| {
            let machine = &mut world.tenants[0].machine;
            machine.on_member_cordoned(MemberId(member), cordoned);
        };
        cordon(&mut world, 0, true);
        (4..9).for_each(|t| assert_eq!(place_of(&mut world, t), 1, "{placement}"));
        go(&mut world, Step::CreateObserver(0, 0));
        assert_eq!(member_of(&world, "a-observer0"), 1);
        // There is work for those who are there, both ways.
        go(&mut world, Step::Produce(4, 1, false, Flavour::Media));
        go(&mut world, Step::Consume(3, 1, 1, false));
        go(&mut world, Step::Consume(4, 0, 2, false));
        assert_eq!(member_of(&world, "a-consumer1"), 0);
        assert_eq!(member_of(&world, "a-consumer2"), 1);
        // With no other there is no choice.
        cordon(&mut world, 1, true);
        place_of(&mut world, 9);
        cordon(&mut world, 0, false);
        assert_eq!(place_of(&mut world, 10), 0);
    }
}

#[test]
fn a_cordoned_member_empties_and_can_be_given_back() {
    let mut world = world(
        &[HOME, NEAR],
        config_of(Placement::Spread, PipeSettings::default()),
    );
    let carries = |world: &World| world.tenants[0].machine.carries(MemberId(1));
    assert_eq!(carries(&world), 0);
    assert_eq!((place_of(&mut world, 3), place_of(&mut world, 4)), (0, 1));
    go(&mut world, Step::Produce(3, 0, false, Flavour::Media));
    go(&mut world, Step::Consume(4, 0, 1, false));
    world.tenants[0]
        .machine
        .on_member_cordoned(MemberId(1), true);
    // The transport, and the end of a pipe.
    assert_eq!(carries(&world), 2);
    world.send(0, request(1, Step::CloseTransport(0, 4), Names::of('a')));
    world.settle_without(1);
    // The pipe stays for a while, and the answer is to come.
    assert!(carries(&world) > 1);
    world.settle();
    assert_eq!(carries(&world), 1);
    world.rest();
    assert_eq!(carries(&world), 0);
    world.take_back(0, 1);
}

#[test]
fn a_copy_is_not_fed_by_who_is_to_go() {
    let mut world = world(
        &[HOME, NEAR, NEAR],
        config_of(Placement::Spread, PipeSettings::default()),
    );
    (3..6).for_each(|t| assert_eq!(place_of(&mut world, t), usize::from(t) - 3));
    go(&mut world, Step::Produce(3, 0, false, Flavour::Media));
    go(&mut world, Step::Consume(4, 0, 1, false));
    world.tenants[0]
        .machine
        .on_member_cordoned(MemberId(1), true);
    go(&mut world, Step::Consume(5, 0, 2, false));
    let pipes = world.tenants[0].machine.topology().pipes.into_iter();
    let ways: Vec<_> = pipes.map(|pipe| (pipe.source, pipe.target)).collect();
    assert_eq!(ways, [(0, 1), (0, 2)]);
}

/// A producer on the first transport, of video that can be sent again.
fn video() -> Bytes {
    let message = request(
        1,
        Step::Produce(3, 0, false, Flavour::Media),
        Names::of('a'),
    );
    let mut produce = mafalda_channel::request(&message).expect("sound");
    let Some(Body::TransportProduceRequest(body)) = &mut produce.body else {
        panic!("{produce:?}")
    };
    body.kind = MediaKind::Video;
    let [codec] = &mut body.rtp_parameters.codecs[..] else {
        panic!("{:?}", body.rtp_parameters)
    };
    codec.mime_type = "video/VP8".to_owned();
    let resent = RtpCodecParameters {
        mime_type: "video/rtx".to_owned(),
        payload_type: codec.payload_type + 1,
        ..codec.clone()
    };
    body.rtp_mapping.codecs.push(CodecMapping {
        payload_type: resent.payload_type,
        mapped_payload_type: 120,
    });
    body.rtp_parameters.codecs.push(resent);
    encode_request(&produce)
}

/// Encryption, resending on the transport, and whether a copy asks for what is lost.
fn protection(pods: [usize; 2], pipes: PipeSettings) -> (bool, bool, bool) {
    let mut world = world(&pods, config_of(Placement::Spread, pipes));
    (3..5).for_each(|t| go(&mut world, Step::CreateTransport(0, t)));
    world.send(0, video());
    world.settle();
    let consume = request(1, Step::Consume(4, 0, 1, false), Names::of('a'));
    let (mut ends, mut copies) = (Vec::new(), Vec::new());
    for action in world.tenants[0].machine.on_application(consume) {
        let Action::ToMember(_, message) = action else {
            continue;
        };
        match mafalda_channel::request(&message).expect("sound").body {
            Some(Body::RouterCreatePipeTransportRequest(body)) => ends.push(body),
            Some(Body::TransportProduceRequest(body)) => copies.push(body),
            _ => {}
        }
    }
    let settings =
        |end: &CreatePipeTransportRequest| (end.options.enable_srtp, end.options.enable_rtx);
    let asks = |copy: &ProduceRequest| {
        let mut codecs = copy.rtp_parameters.codecs.iter();
        codecs.any(|codec| codec.mime_type == "video/rtx")
    };
    assert_eq!(ends.len(), 2);
    assert_eq!(settings(&ends[0]), settings(&ends[1]));
    let (srtp, rtx) = settings(&ends[0]);
    (srtp, rtx, asks(&copies[0]))
}

#[test]
fn pipes_are_protected_by_where_they_lead() {
    let none = PipeSettings::default;
    let between_pods = || PipeSettings {
        srtp: Between::Pods,
        rtx: Between::Pods,
        ..none()
    };
    let everywhere = || PipeSettings {
        srtp: Between::Members,
        rtx: Between::Members,
        ..none()
    };
    for (pods, pipes, srtp, rtx) in [
        ([HOME, HOME], none(), false, false),
        ([HOME, NEAR], none(), false, false),
        ([HOME, OTHER_CLUSTER], none(), true, false),
        ([HOME, HOME], between_pods(), false, false),
        ([HOME, NEAR], between_pods(), true, true),
        ([HOME, OTHER_CLUSTER], between_pods(), true, true),
        ([HOME, HOME], everywhere(), true, true),
        ([HOME, NEAR], everywhere(), true, true),
    ] {
        let got = protection(pods, pipes.clone());
        assert_eq!(got, (srtp, rtx, rtx), "{pods:?} {pipes:?}");
    }
}

#[test]
fn the_topology_says_where_members_are_as_far_as_it_knows() {
    let mut world = world(
        &[HOME, NEAR],
        config_of(Placement::Spread, PipeSettings::default()),
    );
    (3..5).for_each(|t| go(&mut world, Step::CreateTransport(0, t)));
    go(&mut world, Step::Produce(3, 0, false, Flavour::Media));
    go(&mut world, Step::Consume(4, 0, 1, false));
    world.tenants[0]
        .machine
        .on_member_cordoned(MemberId(1), true);
    let json = |world: &World| {
        serde_json::to_value(world.tenants[0].machine.topology()).expect("serializable")
    };
    let topology = json(&world);
    let expected = serde_json::json!([
        { "id": 0, "pod": "home", "zone": "one", "cordoned": false, "carries": 2 },
        { "id": 1, "pod": "near", "zone": "one", "cordoned": true, "carries": 2 },
    ]);
    assert_eq!(topology["members"], expected);
    let pipe = &topology["pipes"][0];
    assert_eq!(
        (&pipe["sourcePod"], &pipe["targetPod"]),
        (&"home".into(), &"near".into())
    );
    let unknown = World::new(1, [config_of(Placement::Pack, PipeSettings::default())]);
    let expected = serde_json::json!([{ "id": 0, "cordoned": false, "carries": 0 }]);
    assert_eq!(json(&unknown)["members"], expected);
}

/// How often each producer crosses into each pod.
fn crossings(world: &World) -> BTreeMap<(String, Pod), usize> {
    let mut crossings = BTreeMap::new();
    for pipe in world.tenants[0].machine.topology().pipes {
        let at = |member: u32| &world.members[member as usize].locality;
        let (source, target) = (at(pipe.source), at(pipe.target));
        if source != target {
            for producer in pipe.producers {
                *crossings.entry((producer, pod(target))).or_default() += 1;
            }
        }
    }
    crossings
}

/// What goes from pod to pod from elsewhere than the original's, and from no nearer than that is.
fn detours(world: &World) -> Vec<(String, Locality, Locality)> {
    let mut detours = Vec::new();
    for pipe in world.tenants[0].machine.topology().pipes {
        let at = |member: u32| &world.members[member as usize].locality;
        let (source, target) = (at(pipe.source), at(pipe.target));
        for producer in pipe.producers {
            let origin = &world.members[origin_of(world, &producer)].locality;
            let is_nearer = source.distance(target) < origin.distance(target);
            if source != target && source != origin && !is_nearer {
                detours.push((producer, source.clone(), target.clone()));
            }
        }
    }
    detours
}

/// The member on which a producer is the application's own.
fn origin_of(world: &World, producer: &str) -> usize {
    let is_original = |member: &Member| match member.model.things.get(producer) {
        Some(Thing::Producer { transport, .. }) => !transport.starts_with("mafalda/"),
        _ => false,
    };
    let at = world.members.iter().position(is_original);
    at.expect("it is somewhere")
}

/// Pod and cluster.
type Pod = (String, String);

fn pod(locality: &Locality) -> Pod {
    (locality.pod.to_string(), locality.cluster.to_string())
}

/// Transport `n` is on member `n`; a producer of media is on each of these members, as far as there are.
fn room(places: &[Locality], config: Config, origins: &[u8]) -> World {
    let mut world = World::over(places, [config]);
    go(&mut world, Step::CreateRouter(0));
    let count = places.len() as u8;
    (0..count).for_each(|t| go(&mut world, Step::CreateTransport(0, t)));
    for (p, origin) in (0..).zip(origins) {
        go(
            &mut world,
            Step::Produce(origin % count, p, false, Flavour::Media),
        );
    }
    world
}

fn ample() -> PipeSettings {
    PipeSettings {
        max_depth: 9,
        max_fan_out: 99,
        idle: Duration::ZERO,
        ..PipeSettings::default()
    }
}

proptest! {
    #![proptest_config(cases(256))]

    /// As long as trees may be as they need: deep enough for one more pipe in each pod, and wide. And
    /// from the original's pod, unless there is a nearer one. Whoever is hot.
    #[test]
    fn a_stream_comes_to_a_pod_once_and_not_by_way_of_a_third(
        places in places(2..9),
        origins in vec(0..8u8, 1..4),
        uses in vec((0..8u8, 0..4u8, any::<bool>(), vec(any::<u8>(), 0..6)), 1..60),
        heats in vec(option::of((0..8u32, 0.0..1.0f32)), 60),
        depth in 2..9usize,
        mut config in config(),
    ) {
        config.placement = Placement::Spread;
        config.pipes = PipeSettings { max_depth: depth, ..ample() };
        let count = places.len() as u8;
        let mut world = room(&places, config, &origins);
        let mut users: BTreeMap<(u8, u8), Vec<u16>> = BTreeMap::new();
        for (c, ((t, p, leaves, pace), heat)) in (0..).zip(uses.into_iter().zip(heats)) {
            if let Some((member, cpu)) = heat {
                world.heat(member % u32::from(count), cpu);
            }
            let (t, p) = (t % count, p % origins.len() as u8);
            let of_both = users.entry((t, p)).or_default();
            let step = match of_both.pop() {
                Some(c) if leaves => Step::CloseConsumer(t, c, false),
                other => {
                    of_both.extend(other.into_iter().chain([c]));
                    Step::Consume(t, p, c, false)
                }
            };
            world.send(0, request(1, step, Names::of('a')));
            pace.iter().for_each(|choice| { world.advance(*choice); });
            let crossings = crossings(&world);
            prop_assert!(crossings.values().all(|times| *times == 1), "{:?}", crossings);
            prop_assert_eq!(detours(&world), []);
        }
        world.rest();
        assert_nothing_useless(&world);
    }

    /// Where everybody stays, there is a way into each pod in which somebody consumes, and no other.
    #[test]
    fn a_star_over_pods_has_as_few_ways_as_can_be(
        places in places(2..9),
        consumers in vec((0..8u8, 0..2u8), 1..40),
        heats in vec(option::of((0..8u32, 0.0..1.0f32)), 40),
    ) {
        let count = places.len() as u8;
        let origins = [0, 3];
        let mut world = room(&places, config_of(Placement::Spread, ample()), &origins);
        let mut expected = BTreeSet::new();
        for (c, ((t, p), heat)) in (0..).zip(consumers.into_iter().zip(heats)) {
            if let Some((member, cpu)) = heat {
                world.heat(member % u32::from(count), cpu);
            }
            let t = t % count;
            go(&mut world, Step::Consume(t, p, c, false));
            let origin = origins[usize::from(p)] % count;
            let (from, to) = (&places[usize::from(origin)], &places[usize::from(t)]);
            if from != to {
                expected.insert((Names::of('a').producer(p), pod(to)));
            }
        }
        let expected: BTreeMap<_, _> = expected.into_iter().map(|way| (way, 1)).collect();
        prop_assert_eq!(crossings(&world), expected);
    }
}
