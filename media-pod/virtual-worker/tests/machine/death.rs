//! A member's death is the end of what was there and of what it fed, and of nothing else.

use crate::cases;
use crate::config;
use crate::held::{assert_nothing_useless, owned_by, things_on_members};
use crate::model::Thing;
use crate::pods::places;
use crate::program::{Flavour, Step, program, steps};
use crate::requests::{Names, request};
use crate::seen::sort_out;
use crate::world::World;
use mafalda_virtual_worker::{Config, Placement};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// mediasoup has no event for the end of an observer: the application would never know.
#[test]
fn an_observer_outlives_its_member_and_hears_what_lives() {
    let mut config = Config {
        name: "a".to_owned(),
        placement: Placement::Spread,
        ..Config::default()
    };
    config.pipes.max_fan_out = 1;
    let mut world = World::new(3, [config]);
    let go = |world: &mut World, step| {
        world.send(0, request(1, step, Names::of('a')));
        world.settle();
    };
    go(&mut world, Step::CreateRouter(0));
    // Transport `t` is on member `t % 3`, the observer behind them on the last member.
    (0..5).for_each(|t| go(&mut world, Step::CreateTransport(0, t)));
    go(&mut world, Step::CreateObserver(0, 0));
    go(&mut world, Step::Produce(0, 0, false, Flavour::Media));
    go(&mut world, Step::Consume(1, 0, 1, false));
    go(&mut world, Step::Observe(0, 0));
    let hears = |world: &World| {
        let models = world.members.iter().map(|member| &member.model);
        let observers = models.map(|model| match model.things.get("a-observer0") {
            Some(Thing::Observer { producers, .. }) => Some(producers.contains("a-producer0")),
            _ => None,
        });
        observers.collect::<Vec<_>>()
    };
    assert_eq!(hears(&world), [None, None, Some(true)]);
    // It was fed through this one.
    world.kill(1);
    world.settle();
    assert_eq!(hears(&world), [None, None, Some(true)]);
    world.kill(2);
    world.settle();
    assert_eq!(hears(&world), [Some(true), None, None]);
    go(&mut world, Step::CloseObserver(0, 0));
    assert_eq!(hears(&world), [None, None, None]);
    assert_nothing_useless(&world);
}

proptest! {
    #![proptest_config(cases(512))]

    #[test]
    fn a_death_is_the_end_of_what_was_there_and_of_nothing_else(
        body in steps(120),
        moment in 0..120usize,
        victim in 0..4u32,
        places in places(4..5),
        mut config in config(),
    ) {
        config.placement = Placement::Spread;
        let names = Names::of('a');
        let paced = program(&body);
        let program: Vec<Step> = paced.iter().map(|(step, _)| *step).collect();
        let mut world = World::over(&places, [config]);
        for (id, (step, pace)) in paced.iter().enumerate() {
            world.send(0, request(id as u32, *step, names));
            pace.iter().for_each(|choice| { world.advance(*choice); });
            if id == 8 + moment.min(body.len() - 1) {
                world.kill(victim);
            }
        }
        world.settle();
        let (answers, heard) = sort_out(&world.tenants[0].seen, &program, names);
        for id in 0..program.len() as u32 {
            prop_assert_eq!(answers.get(&id).map(Vec::len), Some(1), "answers to {}", id);
        }
        let accepted = |id: usize| answers[&(id as u32)][0].0;
        let mut worker_level = BTreeSet::new();
        for (_, step) in program.iter().enumerate().filter(|(id, _)| accepted(*id)) {
            match step {
                Step::CreateRouter(r) => { worker_level.insert(names.router(*r)); }
                Step::CloseRouter(r) => { worker_level.remove(&names.router(*r)); }
                _ => {}
            }
        }
        let owned = owned_by(&world, 0);
        let owned: BTreeSet<String> = owned.into_iter().filter(|id| !id.contains("-server")).collect();
        let there: BTreeSet<String> = things_on_members(&world).union(&worker_level).cloned().collect();
        prop_assert_eq!(&owned, &there);
        // Whoever heard of a consumer heard of its end.
        for (id, step) in program.iter().enumerate().filter(|(id, _)| accepted(*id)) {
            let Step::Consume(t, _, c, _) = step else { continue };
            let closed = |later: &Step| match later {
                Step::CloseTransport(_, closed) => closed == t,
                Step::CloseRouter(_) | Step::CloseServer(_) => true,
                Step::CloseConsumer(_, closed, _) => closed == c,
                _ => false,
            };
            let name = names.consumer(*c);
            if !owned.contains(&name) && !program[id..].iter().any(closed) {
                let last = heard[&name].last().map_or("", String::as_str);
                prop_assert!(last.ends_with("Close"), "{} is no more, but heard {:?}", name, heard[&name]);
            }
        }
        world.rest();
        assert_nothing_useless(&world);
        world.leave(0);
        world.settle();
        world.assert_empty();
        prop_assert!(world.owners.is_empty(), "owned: {:?}", world.owners);
    }

    /// The members of a pod die one after the other, and the living speak in between.
    #[test]
    fn a_pods_death_hits_what_was_there_and_what_came_through_it(
        body in steps(120),
        after in steps(40),
        places in places(3..8),
        victim in 0..8usize,
        paces in vec(vec(any::<u8>(), 0..6), 8),
        mut config in config(),
    ) {
        let victim = &places[victim % places.len()];
        let dying = (0..).zip(&places).filter(|(_, place)| *place == victim);
        let dying: BTreeSet<u32> = dying.map(|(member, _)| member).collect();
        prop_assume!(dying.len() < places.len());
        config.placement = Placement::Spread;
        let names = Names::of('a');
        let mut world = World::over(&places, [config]);
        for (id, (step, pace)) in (0..).zip(&program(&body)) {
            world.send(0, request(id, *step, names));
            pace.iter().for_each(|choice| { world.advance(*choice); });
        }
        world.settle();
        let (mut lives, hit) = sort_by_fate(&world, &dying);
        world.tenants[0].seen.clear();
        for (member, pace) in dying.iter().zip(&paces) {
            world.kill(*member);
            pace.iter().for_each(|choice| { world.advance(*choice); });
        }
        world.settle();
        prop_assert_eq!(things_on_members(&world), lives.clone());
        lives.extend(world.members.iter().flat_map(|member| member.model.routers.clone()));
        let (answers, heard) = sort_out(&world.tenants[0].seen, &[], names);
        prop_assert!(answers.is_empty());
        for (id, what) in &heard {
            prop_assert!(hit.contains(id), "{} lives and heard {:?}", id, what);
        }
        for consumer in hit.iter().filter(|id| id.contains("consumer")) {
            let heard = heard.get(consumer).map(Vec::as_slice);
            let closed = matches!(heard, Some([end]) if end.ends_with("Close"));
            prop_assert!(closed, "{} heard {:?}", consumer, heard);
        }
        // It goes on as if that pod had never been.
        for (id, (step, pace)) in (2000..).zip(&after) {
            world.send(0, request(id, *step, names));
            pace.iter().for_each(|choice| { world.advance(*choice); });
        }
        world.settle();
        let (answers, _) = sort_out(&world.tenants[0].seen, &[], names);
        prop_assert!(answers.values().all(|answers| answers.len() == 1));
        prop_assert_eq!(answers.len(), after.len());
        world.rest();
        assert_nothing_useless(&world);
        world.leave(0);
        world.settle();
        world.assert_empty();
        prop_assert!(world.owners.is_empty(), "owned: {:?}", world.owners);
    }
}

/// The ids of things that live on when these members die, and of those that do not.
fn sort_by_fate(world: &World, dying: &BTreeSet<u32>) -> (BTreeSet<String>, BTreeSet<String>) {
    // The member that feeds each copy of media.
    let mut feeders = BTreeMap::new();
    for pipe in world.tenants[0].machine.topology().pipes {
        for producer in pipe.producers {
            feeders.insert((producer, pipe.target), pipe.source);
        }
    }
    let is_ours = |id: &str| id.starts_with("mafalda/");
    let mut origins = BTreeMap::new();
    for (member, it) in (0..).zip(&world.members) {
        for (id, thing) in &it.model.things {
            if matches!(thing, Thing::Producer { transport, .. } if !is_ours(transport)) {
                origins.insert(id.as_str(), member);
            }
        }
    }
    let (mut lives, mut hit) = (BTreeSet::new(), BTreeSet::new());
    for (member, it) in (0..).zip(&world.members) {
        for (id, thing) in &it.model.things {
            if is_ours(id)
                || matches!(thing, Thing::Producer { transport, .. } if is_ours(transport))
            {
                continue;
            }
            let dies = match thing {
                // It is made anew elsewhere.
                Thing::Observer { .. } => false,
                Thing::Transport { .. } | Thing::Producer { .. } => dying.contains(&member),
                Thing::Consumer { producer, .. } => {
                    let mut way = vec![origins[producer.as_str()], member];
                    let mut at = member;
                    while let Some(feeder) = feeders.get(&(producer.clone(), at)) {
                        at = *feeder;
                        way.push(at);
                    }
                    way.iter().any(|member| dying.contains(member))
                }
            };
            let fate = if dies { &mut hit } else { &mut lives };
            fate.insert(id.clone());
        }
    }
    (lives, hit)
}
