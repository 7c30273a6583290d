//! Two applications on the same members: neither sees nor harms the other.

use crate::held::{ids_of, owned_by};
use crate::model::Model;
use crate::pods::places;
use crate::program::{Pace, Step, program, step, steps};
use crate::requests::{Names, request};
use crate::seen::{assert_heard, sort_out};
use crate::world::World;
use crate::{cases, config};
use bytes::Bytes;
use mafalda_channel::fbs::data_producer::SendNotification;
use mafalda_channel::fbs::notification::{Body, Event, Notification};
use mafalda_channel::fbs::request::{Body as RequestBody, Method, Request};
use mafalda_channel::fbs::worker::UpdateSettingsRequest;
use mafalda_channel::{Message, encode_notification, encode_request, view};
use mafalda_virtual_worker::{Action, Config, MemberId};
use proptest::collection::vec;
use proptest::prelude::*;

/// What one application does to another: a step, and which of its ids are the other's.
fn attack() -> impl Strategy<Value = (Step, u8)> {
    (step(), 1..64u8)
}

fn names(own: char, foreign: u8) -> Names {
    Names {
        own,
        router: foreign & 1 > 0,
        transport: foreign & 2 > 0,
        producer: foreign & 4 > 0,
        consumer: foreign & 8 > 0,
        observer: foreign & 16 > 0,
        server: foreign & 32 > 0,
    }
}

/// Whether something of the other's is used. To make something of the same id is no harm.
fn aims(step: Step, names: Names) -> bool {
    use Step as S;
    let (r, t, p, o) = (
        names.router,
        names.transport,
        names.producer,
        names.observer,
    );
    let (c, s) = (names.consumer, names.server);
    match step {
        S::CreateRouter(_) | S::CreateServer(_) | S::DumpWorker => false,
        S::CreateTransport(..) | S::CreateObserver(..) | S::CloseRouter(_) | S::Dump(_) => r,
        S::CreateOnServer(..) => r || s,
        S::Produce(..) => t,
        S::Consume(..) | S::CloseProducer(..) => t || p,
        S::CloseTransport(..) => r || t,
        S::CloseObserver(..) => r || o,
        S::Observe(..) | S::StopObserving(..) => o || p,
        S::Pause(..) => p,
        S::CloseConsumer(..) => t || c,
        S::CloseServer(_) | S::DumpServer(_) => s,
    }
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn neither_sees_nor_harms_the_other(
        bodies in [steps(60), steps(60)],
        attacks in vec(attack(), 120),
        places in places(1..4),
        a in config(),
        b in config(),
    ) {
        let (a, b) = (
            Config { shared: true, ..a },
            Config { name: "b".to_owned(), shared: true, ..b },
        );
        let programs = bodies.map(|body| program(&body));
        let letters = ['a', 'b'];
        let mut world = World::over(&places, [a, b]);
        let mut ideals = [Model::default(), Model::default()];
        let mut expected: [Vec<Bytes>; 2] = Default::default();
        let mut attacks = attacks.into_iter();
        let mut tried = [Vec::new(), Vec::new()];
        let longest = programs.iter().map(Vec::len).max().unwrap_or(0);
        for at in 0..longest {
            for tenant in 0..2 {
                let Some((step, pace)) = programs[tenant].get(at) else { continue };
                let message = request(at as u32, *step, Names::of(letters[tenant]));
                expected[tenant].extend(ideals[tenant].handle(&message));
                world.send(tenant, message);
                pace.iter().for_each(|choice| { world.advance(*choice); });
                let Some((step, foreign)) = attacks.next() else { continue };
                let names = names(letters[tenant], foreign);
                if aims(step, names) {
                    let id = 10_000 + at as u32;
                    world.send(tenant, request(id, step, names));
                    tried[tenant].push((id, step, foreign));
                }
            }
        }
        world.settle();
        for tenant in 0..2 {
            let names = Names::of(letters[tenant]);
            let program: Vec<Step> = programs[tenant].iter().map(|(step, _): &(Step, Pace)| *step).collect();
            let (answers, heard) = sort_out(&world.tenants[tenant].seen, &program, names);
            let (ideal_answers, ideal_heard) = sort_out(&expected[tenant], &program, names);
            for (id, step) in program.iter().enumerate() {
                let id = id as u32;
                prop_assert_eq!(answers.get(&id), ideal_answers.get(&id), "{} {:?}", id, step);
            }
            assert_heard(&heard, &ideal_heard, &program, names);
            prop_assert_eq!(owned_by(&world, tenant), ids_of(&ideals[tenant]));
            for (id, step, foreign) in &tried[tenant] {
                let refused = answers.get(id).is_some_and(|all| all.len() == 1 && !all[0].0);
                prop_assert!(refused, "{:?} with {:b}: {:?}", step, foreign, answers.get(id));
            }
        }
        // One leaves: the other keeps what it has.
        let before = owned_by(&world, 1);
        world.leave(0);
        world.rest();
        prop_assert_eq!(owned_by(&world, 0).len(), 0);
        prop_assert_eq!(owned_by(&world, 1), before);
        world.leave(1);
        world.rest();
        world.assert_empty();
    }
}

proptest! {
    #![proptest_config(cases(256))]

    /// As two workers of one application after `pipeToRouter()`.
    #[test]
    fn two_with_the_same_ids_go_on_as_if_alone(
        bodies in [steps(60), steps(60)],
        places in places(1..4),
        a in config(),
        b in config(),
    ) {
        let (a, b) = (
            Config { shared: true, ..a },
            Config { name: "b".to_owned(), shared: true, ..b },
        );
        let programs = bodies.map(|body| program(&body));
        let names = Names::of('a');
        let mut world = World::over(&places, [a, b]);
        let mut ideals = [Model::default(), Model::default()];
        let mut expected: [Vec<Bytes>; 2] = Default::default();
        let longest = programs.iter().map(Vec::len).max().unwrap_or(0);
        for at in 0..longest {
            for tenant in 0..2 {
                let Some((step, pace)) = programs[tenant].get(at) else { continue };
                let message = request(at as u32, *step, names);
                expected[tenant].extend(ideals[tenant].handle(&message));
                world.send(tenant, message);
                pace.iter().for_each(|choice| { world.advance(*choice); });
            }
        }
        world.settle();
        for tenant in 0..2 {
            let program: Vec<Step> = programs[tenant].iter().map(|(step, _): &(Step, Pace)| *step).collect();
            let (answers, heard) = sort_out(&world.tenants[tenant].seen, &program, names);
            let (ideal_answers, ideal_heard) = sort_out(&expected[tenant], &program, names);
            for (id, step) in program.iter().enumerate() {
                let id = id as u32;
                prop_assert_eq!(answers.get(&id), ideal_answers.get(&id), "{} {:?}", id, step);
            }
            assert_heard(&heard, &ideal_heard, &program, names);
        }
        world.leave(0);
        world.rest();
        world.leave(1);
        world.rest();
        world.assert_empty();
        prop_assert!(world.owners.is_empty(), "owned: {:?}", world.owners);
    }
}

fn shared(name: &str) -> Config {
    Config {
        name: name.to_owned(),
        shared: true,
        ..Config::default()
    }
}

fn step_of(world: &mut World, tenant: usize, step: Step) {
    let names = Names::of(['a', 'b'][tenant]);
    world.send(tenant, request(1, step, names));
    world.settle();
}

#[test]
fn messages_to_what_is_anothers_go_nowhere() {
    let mut world = World::new(1, [shared("a"), shared("b")]);
    step_of(&mut world, 0, Step::CreateRouter(0));
    step_of(&mut world, 0, Step::CreateTransport(0, 0));
    let flavour = crate::program::Flavour::Direct;
    step_of(&mut world, 0, Step::Produce(0, 0, false, flavour));
    let send = encode_notification(&Notification {
        handler_id: "a-producer0".to_owned(),
        event: Event::DataproducerSend,
        body: Some(Body::DataProducerSendNotification(Box::new(
            SendNotification {
                ppid: 51,
                data: vec![1],
                subchannels: None,
                required_subchannel: None,
                ignored_subchannel: None,
            },
        ))),
    });
    let own = vec![Action::ToMember(MemberId(0), send.clone())];
    assert_eq!(world.tenants[0].machine.on_application(send.clone()), own);
    assert_eq!(world.tenants[1].machine.on_application(send), []);
}

#[test]
fn the_whole_process_is_not_one_applications() {
    let mut world = World::new(1, [shared("a")]);
    for (level, accepted) in [("Debug", true), ("chicken", false)] {
        let body = UpdateSettingsRequest {
            log_level: Some(level.to_owned()),
            log_tags: None,
        };
        let settings = encode_request(&Request {
            id: 5,
            method: Method::WorkerUpdateSettings,
            handler_id: String::new(),
            body: Some(RequestBody::WorkerUpdateSettingsRequest(Box::new(body))),
        });
        let actions = world.tenants[0].machine.on_application(settings);
        let [Action::ToApplication(answer)] = &actions[..] else {
            panic!("{actions:?}")
        };
        let Ok(Message::Response(answer)) = view(answer) else {
            panic!("an answer")
        };
        assert_eq!(answer.accepted, accepted, "{level}");
    }
    step_of(&mut world, 0, Step::CreateRouter(0));
    step_of(&mut world, 0, Step::CreateTransport(0, 0));
    let close = encode_notification(&Notification {
        handler_id: String::new(),
        event: Event::WorkerClose,
        body: None,
    });
    world.send(0, close);
    world.settle();
    world.assert_empty();
    assert!(world.owners.is_empty());
}

#[test]
fn ids_of_ours_are_nobodys() {
    let mut world = World::new(1, [shared("a")]);
    for id in ["mafalda/b/1", "mafalda/"] {
        let body = mafalda_channel::fbs::worker::CreateRouterRequest {
            router_id: id.to_owned(),
        };
        let create = encode_request(&Request {
            id: 5,
            method: Method::WorkerCreateRouter,
            handler_id: String::new(),
            body: Some(RequestBody::WorkerCreateRouterRequest(Box::new(body))),
        });
        world.send(0, create);
        let answer = world.tenants[0].seen.last().map(|answer| view(answer));
        let refused = matches!(answer, Some(Ok(Message::Response(r))) if !r.accepted);
        assert!(refused, "{id}");
    }
}
