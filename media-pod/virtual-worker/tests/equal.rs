//! Whatever an application does, and however its members dawdle: what it sees is what one ideal
//! worker shows, and nothing is left behind.

mod model;

use bytes::Bytes;
use mafalda_channel::fbs::request::{Body, Method, Request};
use mafalda_channel::fbs::response::{self, Response};
use mafalda_channel::fbs::rtp_parameters::{
    CodecMapping, MediaKind, RtcpParameters, RtpCodecParameters, RtpMapping, RtpParameters, Type,
};
use mafalda_channel::fbs::{
    audio_level_observer, data_consumer, data_producer, direct_transport, router, rtp_observer,
    sctp_parameters, transport, worker,
};
use mafalda_channel::{Message, encode_request, view};
use mafalda_virtual_worker::{Action, Config, Ledger, MemberId, Placement, VirtualWorker};
use model::{Model, Thing};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Ids are few, so that they meet: wrong ones are part of the game.
#[derive(Clone, Copy, Debug)]
enum Step {
    CreateRouter(u8),
    CloseRouter(u8),
    CreateTransport(u8, u8),
    CloseTransport(u8, u8),
    CreateObserver(u8, u8),
    CloseObserver(u8, u8),
    Observe(u8, u8),
    StopObserving(u8, u8),
    Produce(u8, u8, bool, Flavour),
    CloseProducer(u8, u8, bool),
    Pause(u8, bool, bool),
    Consume(u8, u8, u16, bool),
    CloseConsumer(u8, u16, bool),
    Dump(u8),
}

#[derive(Clone, Copy, Debug)]
enum Flavour {
    Media,
    Refused,
    Sctp,
    Direct,
}

fn step() -> impl Strategy<Value = Step> {
    let (r, t, p, c, o) = (0..2u8, 0..6u8, 0..4u8, 0..8u16, 0..2u8);
    let b = any::<bool>;
    let flavour = prop_oneof![
        6 => Just(Flavour::Media),
        1 => Just(Flavour::Refused),
        2 => Just(Flavour::Sctp),
        2 => Just(Flavour::Direct)
    ];
    prop_oneof![
        2 => r.clone().prop_map(Step::CreateRouter),
        1 => r.clone().prop_map(Step::CloseRouter),
        8 => (r.clone(), t.clone()).prop_map(|(r, t)| Step::CreateTransport(r, t)),
        2 => (r.clone(), t.clone()).prop_map(|(r, t)| Step::CloseTransport(r, t)),
        2 => (r.clone(), o.clone()).prop_map(|(r, o)| Step::CreateObserver(r, o)),
        1 => (r.clone(), o.clone()).prop_map(|(r, o)| Step::CloseObserver(r, o)),
        3 => (o.clone(), p.clone()).prop_map(|(o, p)| Step::Observe(o, p)),
        1 => (o, p.clone()).prop_map(|(o, p)| Step::StopObserving(o, p)),
        8 => (t.clone(), p.clone(), b(), flavour).prop_map(|(t, p, b, f)| Step::Produce(t, p, b, f)),
        2 => (t.clone(), p.clone(), b()).prop_map(|(t, p, d)| Step::CloseProducer(t, p, d)),
        4 => (p.clone(), b(), b()).prop_map(|(p, b, d)| Step::Pause(p, b, d)),
        14 => (t.clone(), 0..6u8, c.clone(), b()).prop_map(|(t, p, c, d)| Step::Consume(t, p, c, d)),
        4 => (t, c, b()).prop_map(|(t, c, d)| Step::CloseConsumer(t, c, d)),
        1 => r.prop_map(Step::Dump),
    ]
}

fn stream() -> Box<sctp_parameters::SctpStreamParameters> {
    Box::new(sctp_parameters::SctpStreamParameters {
        stream_id: 7,
        ordered: Some(true),
        max_packet_life_time: None,
        max_retransmits: None,
    })
}

fn rtp_parameters(codecs: bool) -> Box<RtpParameters> {
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
        codecs: if codecs { vec![codec] } else { vec![] },
        header_extensions: vec![],
        encodings: vec![],
        rtcp: Box::new(RtcpParameters {
            cname: None,
            reduced_size: true,
        }),
        msid: None,
    })
}

/// Producers that are refused have ids of their own and each consumer has: to use one again before
/// its refusal or its end was told is the one thing that a virtual worker answers otherwise.
fn own_ids(steps: impl IntoIterator<Item = Step>) -> Vec<Step> {
    let mut refused = 4..6;
    let mut latest = [1000; 8];
    let own = |(index, step)| match step {
        Step::Produce(t, _, paused, Flavour::Refused) => match refused.next() {
            Some(p) => Step::Produce(t, p, paused, Flavour::Refused),
            None => Step::Dump(0),
        },
        Step::Consume(t, p, c, data) => {
            latest[c as usize] = index as u16;
            Step::Consume(t, p, index as u16, data)
        }
        Step::CloseConsumer(t, c, data) => Step::CloseConsumer(t, latest[c as usize], data),
        other => other,
    };
    steps.into_iter().enumerate().map(own).collect()
}

fn request(id: u32, step: Step) -> Bytes {
    let (router, transport) = (|r| format!("router{r}"), |t| format!("transport{t}"));
    let (producer, consumer) = (|p| format!("producer{p}"), |c| format!("consumer{c}"));
    let observer = |o| format!("observer{o}");
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
                rtp_parameters: rtp_parameters(codecs),
                rtp_mapping: Box::new(RtpMapping {
                    codecs: vec![mapping],
                    encodings: vec![],
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
                sctp_stream_parameters: sctp.then(stream),
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
                rtp_parameters: rtp_parameters(true),
                type_: Type::Simple,
                consumable_rtp_encodings: vec![],
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
            let body = transport::ConsumeDataRequest {
                data_consumer_id: consumer(c),
                data_producer_id: producer(p),
                type_: data_consumer::Type::Direct,
                sctp_stream_parameters: None,
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
    };
    encode_request(&Request {
        id,
        method,
        handler_id,
        body,
    })
}

/// The virtual worker, its members, and the wires between, each with its own pace.
struct World {
    machine: VirtualWorker,
    members: Vec<(Model, VecDeque<Bytes>, VecDeque<Bytes>)>,
    seen: Vec<Bytes>,
}

impl World {
    fn new(members: u32, placement: Placement) -> Self {
        let config = Config {
            process_id: 1,
            name: "0".to_owned(),
            placement,
            ..Config::default()
        };
        let mut machine = VirtualWorker::new(config, Ledger::default());
        for member in 0..members {
            assert_eq!(machine.on_member_added(MemberId(member), false), []);
        }
        let members = (0..members).map(|_| Default::default()).collect();
        Self {
            machine,
            members,
            seen: Vec::new(),
        }
    }

    fn apply(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::ToApplication(message) => self.seen.push(message),
                Action::ToMember(MemberId(m), message) => {
                    self.members[m as usize].1.push_back(message)
                }
                Action::Owns(_) | Action::Disowns(_) | Action::Died => {}
            }
        }
    }

    fn send(&mut self, message: Bytes) {
        let actions = self.machine.on_application(message);
        self.apply(actions);
    }

    /// Lets one message arrive, if any is under way.
    fn advance(&mut self, choice: u8) -> bool {
        let count = self.members.len() * 2;
        for offset in 0..count {
            let wire = (choice as usize + offset) % count;
            let (model, to, from) = &mut self.members[wire / 2];
            if wire.is_multiple_of(2) {
                if let Some(message) = to.pop_front() {
                    from.extend(model.handle(&message));
                    return true;
                }
            } else if let Some(message) = from.pop_front() {
                let actions = self.machine.on_member(MemberId((wire / 2) as u32), message);
                self.apply(actions);
                return true;
            }
        }
        false
    }

    fn settle(&mut self) {
        while self.advance(0) {}
    }
}

/// What matters of an answer.
fn gist(response: Response) -> (bool, Option<String>, Option<response::Body>) {
    let body = response.body.map(|mut body| {
        if let response::Body::RouterDumpResponse(dump) = &mut body {
            dump.transport_ids.sort();
            dump.rtp_observer_ids.sort();
            dump.map_consumer_id_producer_id
                .sort_by(|a, b| a.key.cmp(&b.key));
            dump.map_data_consumer_id_data_producer_id
                .sort_by(|a, b| a.key.cmp(&b.key));
            for arrays in [
                &mut dump.map_producer_id_consumer_ids,
                &mut dump.map_producer_id_observer_ids,
                &mut dump.map_data_producer_id_data_consumer_ids,
            ] {
                arrays.sort_by(|a, b| a.key.cmp(&b.key));
                arrays.iter_mut().for_each(|array| array.values.sort());
            }
        }
        body
    });
    (response.accepted, response.error, body)
}

type Answers = BTreeMap<u32, Vec<(bool, Option<String>, Option<response::Body>)>>;

/// Answers by request, and what each consumer heard, its own answer included.
fn sort_out(seen: &[Bytes], program: &[Step]) -> (Answers, BTreeMap<String, Vec<String>>) {
    let mut answers = Answers::new();
    let mut heard: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for message in seen {
        match view(message).expect("sound") {
            Message::Response(response) => {
                if let Some(Step::Consume(_, _, c, _)) = program.get(response.id as usize)
                    && response.accepted
                {
                    heard
                        .entry(format!("consumer{c}"))
                        .or_default()
                        .push("made".to_owned());
                }
                let owned = mafalda_channel::response(message).expect("sound");
                answers.entry(response.id).or_default().push(gist(owned));
            }
            Message::Notification(notification) => {
                let event = format!("{:?}", notification.event);
                heard
                    .entry(notification.handler_id.to_owned())
                    .or_default()
                    .push(event);
            }
            _ => panic!("a virtual worker says no more"),
        }
    }
    (answers, heard)
}

/// Each copy has a use, and nothing of ours is without a copy.
fn nothing_useless(members: &[(Model, VecDeque<Bytes>, VecDeque<Bytes>)]) {
    let ours = |id: &str| id.starts_with("mafalda/");
    for (model, _, _) in members {
        let mut used = BTreeSet::new();
        for (id, thing) in &model.things {
            match thing {
                Thing::Producer { transport, .. } if ours(transport) => {
                    let uses = model.things.iter().any(|(user, t)| match t {
                        Thing::Consumer { producer, .. } => producer == id && !ours(user),
                        Thing::Observer { producers, .. } => producers.contains(id),
                        _ => false,
                    });
                    assert!(uses, "the copy {id} has no use");
                    used.insert(transport);
                }
                Thing::Consumer { transport, .. } if ours(id) => {
                    used.insert(transport);
                }
                _ => {}
            }
        }
        for (id, thing) in &model.things {
            let transport = matches!(thing, Thing::Transport { .. });
            assert!(
                !transport || !ours(id) || used.contains(id),
                "{id} has no use"
            );
        }
        let empty = |router: &String| {
            !model.things.values().any(|t| match t {
                Thing::Transport { router: of } | Thing::Observer { router: of, .. } => {
                    of == router
                }
                _ => false,
            })
        };
        assert!(!model.routers.iter().any(empty), "an empty router");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn equals_one_ideal_worker(
        body in vec((step(), vec(any::<u8>(), 0..6)), 1..120),
        members in 1..5u32,
        spread in any::<bool>(),
    ) {
        let placement = if spread { Placement::Spread } else { Placement::Pack };
        let program: Vec<Step> = [Step::CreateRouter(0), Step::CreateRouter(1)]
            .into_iter()
            .chain((0..6).map(|t| Step::CreateTransport(u8::from(t == 5), t)))
            .chain(own_ids(body.iter().map(|(step, _)| *step)))
            .collect();
        let mut paces = body.iter().map(|(_, pace)| pace.as_slice());
        let mut ideal = Model::default();
        let mut expected = Vec::new();
        let mut world = World::new(members, placement);
        for (id, step) in program.iter().enumerate() {
            let message = request(id as u32, *step);
            expected.extend(ideal.handle(&message));
            world.send(message);
            let pace = if id < 8 { &[] } else { paces.next().unwrap_or(&[]) };
            pace.iter().for_each(|choice| { world.advance(*choice); });
        }
        world.settle();
        let (answers, heard) = sort_out(&world.seen, &program);
        let (ideal_answers, ideal_heard) = sort_out(&expected, &program);
        for (id, step) in program.iter().enumerate() {
            let id = id as u32;
            prop_assert_eq!(answers.get(&id), ideal_answers.get(&id), "{} {:?}", id, step);
        }
        prop_assert_eq!(heard, ideal_heard);
        nothing_useless(&world.members);
        if !program.iter().any(|step| matches!(step, Step::Produce(_, _, _, Flavour::Refused))) {
            for (model, _, _) in &world.members {
                let ours: Vec<_> = model.refused.iter().filter(|id| **id >= 0x8000_0000).collect();
                prop_assert!(ours.is_empty(), "a member refused what we asked in our own name");
            }
        }
        // All that was made is closed, one by one: nothing remains.
        for r in 0..2 {
            (0..6).for_each(|t| world.send(request(5000, Step::CloseTransport(r, t))));
            (0..2).for_each(|o| world.send(request(5000, Step::CloseObserver(r, o))));
            world.settle();
        }
        for (model, _, _) in &world.members {
            prop_assert!(model.things.is_empty() && model.routers.is_empty(), "left: {model:?}");
        }
    }

    #[test]
    fn a_death_is_the_end_of_what_was_there_and_of_nothing_else(
        body in vec((step(), vec(any::<u8>(), 0..6)), 1..120),
        moment in 0..120usize,
        victim in 0..3u32,
    ) {
        let program: Vec<Step> = [Step::CreateRouter(0), Step::CreateRouter(1)]
            .into_iter()
            .chain((0..6).map(|t| Step::CreateTransport(u8::from(t == 5), t)))
            .chain(own_ids(body.iter().map(|(step, _)| *step)))
            .collect();
        let mut paces = body.iter().map(|(_, pace)| pace.as_slice());
        let mut world = World::new(3, Placement::Spread);
        for (id, step) in program.iter().enumerate() {
            world.send(request(id as u32, *step));
            let pace = if id < 8 { &[] } else { paces.next().unwrap_or(&[]) };
            pace.iter().for_each(|choice| { world.advance(*choice); });
            if id == 8 + moment.min(body.len() - 1) {
                world.members[victim as usize] = Default::default();
                let actions = world.machine.on_member_gone(MemberId(victim));
                world.apply(actions);
            }
        }
        world.settle();
        let (answers, _) = sort_out(&world.seen, &program);
        for id in 0..program.len() as u32 {
            prop_assert_eq!(answers.get(&id).map(Vec::len), Some(1), "answers to {}", id);
        }
        nothing_useless(&world.members);
        for r in 0..2 {
            (0..6).for_each(|t| world.send(request(5000, Step::CloseTransport(r, t))));
            (0..2).for_each(|o| world.send(request(5000, Step::CloseObserver(r, o))));
            world.settle();
        }
        for (model, _, _) in &world.members {
            prop_assert!(model.things.is_empty() && model.routers.is_empty(), "left: {model:?}");
        }
    }
}
