//! One application, any settings: as on one ideal worker.

use crate::held::{assert_nothing_useless, ids_of, owned_by};
use crate::model::Model;
use crate::program::{Flavour, Step, close_all, program, steps};
use crate::requests::{Names, request};
use crate::seen::{assert_heard, sort_out};
use crate::world::World;
use crate::{cases, config};
use proptest::prelude::*;

proptest! {
    #![proptest_config(cases(512))]

    #[test]
    fn equals_one_ideal_worker(
        body in steps(120),
        members in 1..6u32,
        config in config(),
        leaves in any::<bool>(),
    ) {
        let names = Names::of('a');
        let paced = program(&body);
        let program: Vec<Step> = paced.iter().map(|(step, _)| *step).collect();
        let mut ideal = Model::default();
        let mut expected = Vec::new();
        let mut world = World::new(members, [config]);
        for (id, (step, pace)) in paced.iter().enumerate() {
            let message = request(id as u32, *step, names);
            expected.extend(ideal.handle(&message));
            world.send(0, message);
            pace.iter().for_each(|choice| { world.advance(*choice); });
        }
        world.settle();
        let (answers, heard) = sort_out(&world.tenants[0].seen, &program, names);
        let (ideal_answers, ideal_heard) = sort_out(&expected, &program, names);
        for (id, step) in program.iter().enumerate() {
            let id = id as u32;
            prop_assert_eq!(answers.get(&id), ideal_answers.get(&id), "{} {:?}", id, step);
        }
        assert_heard(&heard, &ideal_heard, &program, names);
        prop_assert_eq!(owned_by(&world, 0), ids_of(&ideal));
        let refusals = |step: &Step| matches!(step, Step::Produce(_, _, _, Flavour::Refused));
        if !program.iter().any(refusals) {
            let refused: usize = world.members.iter().map(|member| member.refused_ours).sum();
            prop_assert_eq!(refused, 0, "a member refused what was asked in our own name");
        }
        world.rest();
        assert_nothing_useless(&world);
        if leaves {
            world.leave(0);
        } else {
            // All that was made is closed, one by one.
            let last = [0, 1].into_iter().flat_map(|n| [Step::CloseServer(n), Step::CloseRouter(n)]);
            for step in close_all().chain(last) {
                world.send(0, request(5000, step, names));
                world.settle();
            }
        }
        world.rest();
        world.assert_empty();
        prop_assert!(world.owners.is_empty(), "owned: {:?}", world.owners);
    }
}
