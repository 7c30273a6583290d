//! A member's death is the end of what was there and of what it fed, and of nothing else.

use crate::cases;
use crate::config;
use crate::program::{Step, program, steps};
use crate::requests::{Names, request};
use crate::seen::{assert_nothing_useless, owned_by, sort_out, things_on_members};
use crate::world::World;
use mafalda_virtual_worker::Placement;
use proptest::prelude::*;
use std::collections::BTreeSet;

proptest! {
    #![proptest_config(cases(512))]

    #[test]
    fn a_death_is_the_end_of_what_was_there_and_of_nothing_else(
        body in steps(120),
        moment in 0..120usize,
        victim in 0..4u32,
        mut config in config(),
    ) {
        config.placement = Placement::Spread;
        let names = Names::of('a');
        let paced = program(&body);
        let program: Vec<Step> = paced.iter().map(|(step, _)| *step).collect();
        let mut world = World::new(4, [config]);
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
}
