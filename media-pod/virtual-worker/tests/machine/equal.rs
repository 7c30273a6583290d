//! One application, any settings: as on one ideal worker.

use crate::held::{assert_nothing_useless, ids_of, owned_by};
use crate::model::Model;
use crate::pods::places;
use crate::program::{Flavour, Step, close_all, program, steps};
use crate::requests::{Names, request};
use crate::seen::{assert_heard, sort_out};
use crate::settings::MEMBER_SERVER;
use crate::world::Member;
use crate::world::World;
use crate::{cases, config};
use mafalda_virtual_worker::MemberId;
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeSet;

/// What happens to members while an application goes on.
#[derive(Clone, Copy, Debug)]
enum Change {
    Cordon(u32, bool),
    TakeBack(u32),
    Lend(u32),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (0..5u32, any::<bool>()).prop_map(|(member, cordoned)| Change::Cordon(member, cordoned)),
        (0..5u32).prop_map(Change::TakeBack),
        (0..5u32).prop_map(Change::Lend),
    ]
}

impl Change {
    fn happen(self, world: &mut World, lent: &mut BTreeSet<u32>) {
        match self {
            Self::Cordon(member, cordoned) => {
                let machine = &mut world.tenants[0].machine;
                machine.on_member_cordoned(MemberId(member), cordoned);
            }
            Self::TakeBack(member) => {
                let carries = world.tenants[0].machine.carries(MemberId(member));
                if carries == 0 && lent.len() > 1 && lent.remove(&member) {
                    world.take_back(0, member);
                }
            }
            Self::Lend(member) => {
                if (member as usize) < world.members.len() && lent.insert(member) {
                    world.lend(0, member);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(cases(512))]

    #[test]
    fn equals_one_ideal_worker(
        body in steps(120),
        places in places(1..6),
        config in config(),
        changes in vec((0..120usize, change()), 0..40),
        leaves in any::<bool>(),
    ) {
        let names = Names::of('a');
        let paced = program(&body);
        let program: Vec<Step> = paced.iter().map(|(step, _)| *step).collect();
        let mut ideal = Model::default();
        let mut expected = Vec::new();
        let mut world = World::over(&places, [config]);
        let mut lent: BTreeSet<u32> = (0..places.len() as u32).collect();
        for (id, (step, pace)) in paced.iter().enumerate() {
            let message = request(id as u32, *step, names);
            expected.extend(ideal.handle(&message));
            world.send(0, message);
            pace.iter().for_each(|choice| { world.advance(*choice); });
            for (_, change) in changes.iter().filter(|(at, _)| at + 8 == id) {
                change.happen(&mut world, &mut lent);
            }
        }
        world.settle();
        for (member, Member { model, .. }) in (0..).zip(&world.members) {
            let carries = world.tenants[0].machine.carries(MemberId(member));
            let is_empty = model.ids().all(|id| id == MEMBER_SERVER);
            prop_assert_eq!(carries == 0, is_empty, "{} carries {}: {:?}", member, carries, model);
        }
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
