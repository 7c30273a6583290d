//! Pipes: as few as needed, in trees within their bounds, for as long as needed, measured.

use crate::held::{assert_nothing_useless, owned_by, things_on_members};
use crate::model::{Model, Thing};
use crate::program::{Flavour, Step, program, steps};
use crate::requests::{Names, request};
use crate::seen::sort_out;
use crate::settings::place;
use crate::world::{Member, World};
use crate::{cases, config};
use mafalda_virtual_worker::{Between, Config, MemberId, PipeSettings, Placement};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

fn config_of(pipes: PipeSettings) -> Config {
    Config {
        name: "a".to_owned(),
        placement: Placement::Spread,
        pipes,
        ..Config::default()
    }
}

/// Transport `n` is on member `n`; a producer of media is on the first.
fn room(members: u32, pipes: PipeSettings) -> World {
    let mut world = World::new(members, [config_of(pipes)]);
    go(&mut world, Step::CreateRouter(0));
    for t in 0..members as u8 {
        go(&mut world, Step::CreateTransport(0, t));
    }
    go(&mut world, Step::Produce(0, 0, false, Flavour::Media));
    world
}

fn go(world: &mut World, step: Step) {
    world.send(0, request(1, step, Names::of('a')));
    world.settle();
}

fn consume(world: &mut World, on: u8) {
    go(world, Step::Consume(on, 0, on.into(), false));
}

/// How many copies each member feeds.
fn fed(world: &World) -> Vec<usize> {
    let ours = |(id, thing): &(&String, &Thing)| {
        matches!(thing, Thing::Consumer { .. }) && id.starts_with("mafalda/")
    };
    let models = world.members.iter().map(|member| &member.model);
    models
        .map(|model| model.things.iter().filter(ours).count())
        .collect()
}

#[test]
fn a_small_room_is_a_star() {
    let mut world = room(5, PipeSettings::default());
    (0..5).for_each(|on| consume(&mut world, on));
    assert_eq!(fed(&world), [4, 0, 0, 0, 0]);
}

#[test]
fn trees_keep_their_bounds_and_a_branch_stays_while_it_carries() {
    let pipes = PipeSettings {
        max_fan_out: 1,
        max_depth: 9,
        idle: Duration::ZERO,
        ..PipeSettings::default()
    };
    let mut world = room(4, pipes);
    (1..4).for_each(|on| consume(&mut world, on));
    assert_eq!(fed(&world), [1, 1, 1, 0]);
    // The ones in the middle have no user any more, but the last has.
    go(&mut world, Step::CloseConsumer(1, 1, false));
    go(&mut world, Step::CloseConsumer(2, 2, false));
    assert_eq!(fed(&world), [1, 1, 1, 0]);
    go(&mut world, Step::CloseConsumer(3, 3, false));
    assert_eq!(fed(&world), [0, 0, 0, 0]);
    assert_nothing_useless(&world);
}

#[test]
fn the_death_of_one_in_the_middle_ends_what_hangs_below_it() {
    let pipes = PipeSettings {
        max_fan_out: 1,
        max_depth: 9,
        ..PipeSettings::default()
    };
    let mut world = room(4, pipes);
    (0..4).for_each(|on| consume(&mut world, on));
    world.kill(2);
    // What hung below it is fed by another from now on.
    go(&mut world, Step::Consume(3, 0, 30, false));
    let (_, heard) = sort_out(&world.tenants[0].seen, &[], Names::of('a'));
    let ended: Vec<&str> = heard.keys().map(String::as_str).collect();
    assert_eq!(ended, ["a-consumer2", "a-consumer3"]);
    assert_eq!(fed(&world), [1, 1, 0, 0]);
    assert!(things_on_members(&world).contains("a-consumer30"));
}

/// Each answer waits for all pipes on its way, and for nothing else.
#[test]
fn an_answer_waits_until_media_can_come() {
    let pipes = PipeSettings {
        max_fan_out: 1,
        max_depth: 9,
        ..PipeSettings::default()
    };
    let mut world = room(3, pipes);
    let answered = |world: &World| {
        let (answers, _) = sort_out(&world.tenants[0].seen, &[], Names::of('a'));
        (51..54).filter(|id| answers.contains_key(id)).count()
    };
    let names = Names::of('a');
    for (id, step) in (51..).zip([
        Step::Consume(1, 0, 1, false),
        Step::Consume(2, 0, 2, false),
        // Behind the one that waits, on the same transport.
        Step::Produce(2, 1, false, Flavour::Media),
    ]) {
        world.send(0, request(id, step, names));
    }
    // The original's member dawdles: the pipe between the two others is no use alone.
    world.settle_without(0);
    assert_eq!(answered(&world), 0);
    world.settle();
    assert_eq!(answered(&world), 3);
    // Or until nobody would wait any longer.
    let mut world = room(2, PipeSettings::default());
    world.send(0, request(51, Step::Consume(1, 0, 1, false), names));
    world.settle_without(0);
    world.tick(Duration::from_secs(1));
    assert_eq!(answered(&world), 0);
    world.tick(Duration::from_secs(1));
    assert_eq!(answered(&world), 1);
}

/// A pipe that nothing crosses any more may never be ready: mediasoup connects SCTP when it is used.
#[test]
fn an_answer_waits_for_no_media_that_will_not_come() {
    for end in [
        Step::CloseProducer(0, 0, false),
        Step::CloseTransport(0, 0),
        Step::CloseConsumer(1, 1, false),
    ] {
        let mut world = room(2, PipeSettings::default());
        let names = Names::of('a');
        world.send(0, request(51, Step::Consume(1, 0, 1, false), names));
        world.send(0, request(52, end, names));
        world.settle_without(0);
        let (answers, _) = sort_out(&world.tenants[0].seen, &[], names);
        assert!(answers.contains_key(&51), "{end:?}");
    }
}

#[test]
fn a_pipe_lingers_and_is_used_again() {
    let mut world = room(2, PipeSettings::default());
    consume(&mut world, 1);
    let pipes = |world: &World| world.tenants[0].machine.topology().pipes.len();
    for _ in 0..3 {
        go(&mut world, Step::CloseConsumer(1, 1, false));
        assert_eq!((fed(&world), pipes(&world)), (vec![0, 0], 1));
        world.tick(Duration::from_secs(4));
        consume(&mut world, 1);
        assert_eq!((fed(&world), pipes(&world)), (vec![1, 0], 1));
        world.tick(Duration::from_secs(4));
    }
    go(&mut world, Step::CloseConsumer(1, 1, false));
    world.tick(Duration::from_secs(4));
    assert_eq!(pipes(&world), 1);
    world.tick(Duration::from_secs(1));
    world.settle();
    assert_eq!(pipes(&world), 0);
    assert_nothing_useless(&world);
}

#[test]
fn a_member_that_is_taken_away_carries_nothing_of_ours() {
    let mut world = room(2, PipeSettings::default());
    consume(&mut world, 1);
    assert!(world.ledger.carries(MemberId(1)) > 0);
    let actions = world.tenants[0].machine.on_member_gone(MemberId(1));
    world.apply(0, actions);
    assert_eq!(world.ledger.carries(MemberId(1)), 0);
}

#[test]
fn each_end_of_an_encrypted_pipe_has_the_others_key() {
    let pipes = PipeSettings {
        srtp: Between::Members,
        ..PipeSettings::default()
    };
    let mut world = room(2, pipes);
    consume(&mut world, 1);
    let keys = world.members.iter().flat_map(|member| &member.model.keys);
    let keys: BTreeMap<&str, Option<&str>> = keys
        .map(|(id, key)| (id.as_str(), key.as_deref()))
        .collect();
    let ids: Vec<&str> = keys.keys().copied().collect();
    let [one, other] = ids[..] else {
        panic!("{keys:?}")
    };
    assert_eq!(keys[one], Some(format!("key of {other}").as_str()));
    assert_eq!(keys[other], Some(format!("key of {one}").as_str()));
}

#[test]
fn the_topology_shows_pipes_and_what_crossed_them() {
    let mut world = room(2, PipeSettings::default());
    consume(&mut world, 1);
    let before = world.tenants[0].machine.topology();
    assert_eq!(
        (before.pipes[0].bytes, before.pipes[0].bytes_per_second),
        (None, None)
    );
    let actions = world.tenants[0].machine.measure_pipes();
    world.apply(0, actions);
    assert!(world.tenants[0].machine.is_measuring());
    world.settle();
    assert!(!world.tenants[0].machine.is_measuring());
    let after = world.tenants[0].machine.topology();
    let pipe = &after.pipes[0];
    assert_eq!((pipe.source, pipe.target, pipe.consumers), (0, 1, 1));
    assert_eq!(pipe.producers, ["a-producer0"]);
    assert_eq!(
        (pipe.bytes, pipe.bytes_per_second),
        (Some(1000), Some(1000))
    );
    assert_eq!(after.routers[0].members, [0, 1]);
    let transports = after.transports.iter();
    let counts = transports.map(|t| (t.member, t.producers, t.consumers));
    assert_eq!(counts.collect::<Vec<_>>(), [(0, 1, 0), (1, 0, 1)]);
}

/// A counter may not go down, or count twice, whatever becomes of the pipes.
#[test]
fn what_crosses_between_pods_is_told_once() {
    let config = config_of(PipeSettings::default());
    let mut world = World::over(&[place(0), place(0), place(1)], [config]);
    go(&mut world, Step::CreateRouter(0));
    (0..3).for_each(|t| go(&mut world, Step::CreateTransport(0, t)));
    go(&mut world, Step::Produce(0, 0, false, Flavour::Media));
    let crossed = |world: &mut World| {
        let actions = world.tenants[0].machine.measure_pipes();
        world.apply(0, actions);
        world.settle();
        let crossed = world.tenants[0].machine.take_crossed().into_iter();
        let crossed = crossed.map(|((from, to), bytes)| (format!("{from} {to}"), bytes));
        crossed.collect::<Vec<_>>()
    };
    consume(&mut world, 1);
    assert!(!world.tenants[0].machine.spans_pods());
    assert_eq!(crossed(&mut world), [], "within a pod");
    consume(&mut world, 2);
    assert!(world.tenants[0].machine.spans_pods());
    let way = |bytes| [("home near".to_owned(), bytes)];
    assert_eq!(crossed(&mut world), way(1000));
    assert_eq!(crossed(&mut world), way(0), "the model sends no more");
    // Another pipe counts from its own beginning.
    go(&mut world, Step::CloseConsumer(2, 2, false));
    world.rest();
    assert_eq!(crossed(&mut world), []);
    consume(&mut world, 2);
    assert_eq!(crossed(&mut world), way(1000));
}

#[test]
fn where_no_pipe_can_be_a_consumer_is_refused() {
    for (refuses, dawdles) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let mut world = room(2, PipeSettings::default());
        world.members[refuses].model.refuses_pipes = true;
        world.send(
            0,
            request(77, Step::Consume(1, 0, 1, false), Names::of('a')),
        );
        // The refusal comes before the answer, or behind.
        world.settle_without(dawdles);
        world.settle();
        let (answers, heard) = sort_out(&world.tenants[0].seen, &[], Names::of('a'));
        let (accepted, class, _) = &answers[&77][0];
        assert_eq!(
            (*accepted, class.as_deref()),
            (false, Some("NotFoundError"))
        );
        assert!(heard.is_empty(), "{heard:?}");
        assert!(!world.owners.contains_key("a-consumer1"));
        assert_eq!(fed(&world), [0, 0]);
        // When it can be, it is.
        world.members[refuses].model.refuses_pipes = false;
        consume(&mut world, 1);
        assert_eq!(fed(&world), [1, 0]);
    }
}

/// Where copies are, by producer and member.
fn copies(world: &World) -> BTreeSet<(String, usize)> {
    let members = world.members.iter().enumerate();
    members
        .flat_map(|(at, member)| {
            let things = member.model.things.iter();
            things.filter_map(move |(id, thing)| match thing {
                Thing::Producer { transport, .. } if transport.starts_with("mafalda/") => {
                    Some((id.clone(), at))
                }
                _ => None,
            })
        })
        .collect()
}

/// Where users of producers are, by producer and member, but for where the original is.
fn uses(ideal: &Model, world: &World) -> BTreeSet<(String, usize)> {
    let at = |id: &str| {
        let has = |member: &Member| member.model.things.contains_key(id);
        world.members.iter().position(has).expect("it is somewhere")
    };
    let origin = |producer: &str| match &ideal.things[producer] {
        Thing::Producer { transport, .. } => at(transport),
        _ => panic!("{producer} is no producer"),
    };
    let users = ideal.things.iter().flat_map(|(id, thing)| match thing {
        Thing::Consumer {
            transport,
            producer,
            ..
        } => vec![(producer.clone(), at(transport))],
        Thing::Observer { producers, .. } => producers
            .iter()
            .map(|producer| (producer.clone(), at(id)))
            .collect(),
        _ => Vec::new(),
    });
    users
        .filter(|(producer, member)| origin(producer) != *member)
        .collect()
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn a_producer_is_piped_where_somebody_uses_it_and_nowhere_else(
        body in steps(120),
        members in 1..6u32,
        star in any::<bool>(),
        fan_out in 1..4usize,
    ) {
        let names = Names::of('a');
        let pipes = PipeSettings {
            idle: Duration::ZERO,
            max_depth: 9,
            max_fan_out: if star { 9 } else { fan_out },
            ..PipeSettings::default()
        };
        let mut ideal = Model::default();
        let mut world = World::new(members, [config_of(pipes.clone())]);
        for (id, (step, pace)) in program(&body).iter().enumerate() {
            let message = request(id as u32, *step, names);
            ideal.handle(&message);
            world.send(0, message);
            pace.iter().for_each(|choice| { world.advance(*choice); });
        }
        world.settle();
        let (copies, uses) = (copies(&world), uses(&ideal, &world));
        if star {
            prop_assert_eq!(copies, uses);
        } else {
            prop_assert!(copies.is_superset(&uses));
        }
        for member in &world.members {
            let mut fed: BTreeMap<&str, usize> = BTreeMap::new();
            for (id, thing) in &member.model.things {
                if let Thing::Consumer { producer, .. } = thing && id.starts_with("mafalda/") {
                    *fed.entry(producer).or_default() += 1;
                }
            }
            prop_assert!(fed.values().all(|count| *count <= pipes.max_fan_out), "{:?}", fed);
        }
    }

    #[test]
    fn refused_pipes_leave_nothing_and_no_question_open(
        body in steps(100),
        mut config in config(),
        refuses in 0..4usize,
    ) {
        config.placement = Placement::Spread;
        let names = Names::of('a');
        let paced = program(&body);
        let mut world = World::new(4, [config]);
        world.members[refuses].model.refuses_pipes = true;
        for (id, (step, pace)) in paced.iter().enumerate() {
            world.send(0, request(id as u32, *step, names));
            pace.iter().for_each(|choice| { world.advance(*choice); });
        }
        world.settle();
        let program: Vec<Step> = paced.iter().map(|(step, _)| *step).collect();
        let (answers, _) = sort_out(&world.tenants[0].seen, &program, names);
        for id in 0..program.len() as u32 {
            prop_assert_eq!(answers.get(&id).map(Vec::len), Some(1), "answers to {}", id);
        }
        let there = things_on_members(&world);
        let owned = owned_by(&world, 0).into_iter();
        let owned = owned.filter(|id| !id.contains("-server") && !id.contains("-router"));
        prop_assert_eq!(owned.collect::<BTreeSet<_>>(), there);
        world.rest();
        assert_nothing_useless(&world);
        world.leave(0);
        world.settle();
        world.assert_empty();
        prop_assert!(world.owners.is_empty(), "owned: {:?}", world.owners);
    }
}
