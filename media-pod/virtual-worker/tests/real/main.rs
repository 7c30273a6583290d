//! Where `machine` has ideal workers, these are mediasoup's: an application sees of many what one
//! shows it, and nothing stays behind.

mod fleet;
mod process;
#[path = "../machine/program.rs"]
mod program;
#[path = "../machine/requests.rs"]
mod requests;
#[path = "../machine/seen.rs"]
mod seen;
mod session;
#[path = "../machine/settings.rs"]
mod settings;

use fleet::Fleet;
use mafalda_virtual_worker::{Config, Placement};
use program::{Pace, Step, close_all, program, steps};
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use requests::{Names, request};
use seen::{Answers, Heard, assert_heard, sort_out};
use session::Session;
use std::cell::Cell;
use std::collections::BTreeSet;

fn names() -> Names {
    Names::of('a')
}

/// What one worker shows.
struct Ideal {
    answers: Answers,
    heard: Heard,
    /// All that is there in the end.
    ids: BTreeSet<String>,
}

/// All that a program can have made is closed, one by one.
fn closing() -> impl Iterator<Item = Step> {
    let last = [0, 1].map(|n| [Step::CloseServer(n), Step::CloseRouter(n)]);
    close_all().chain(last.into_iter().flatten())
}

fn on_one(fleet: &mut Fleet, program: &[Step]) -> Ideal {
    let requests = (0..).zip(program);
    let requests = requests.map(|(id, step)| request(id, *step, names()));
    let seen = fleet.ask_ideal(requests);
    let (answers, heard) = sort_out(&seen, program, names());
    let ids = fleet.dump_ideal();
    fleet.ask_ideal(closing().map(|step| request(0, step, names())));
    assert_eq!(fleet.dump_ideal(), BTreeSet::new());
    Ideal {
        answers,
        heard,
        ids,
    }
}

fn on_many(
    fleet: &mut Fleet,
    members: u32,
    config: Config,
    paced: &[(Step, Pace)],
    leaves: bool,
    ideal: &Ideal,
) {
    let program: Vec<Step> = paced.iter().map(|(step, _)| *step).collect();
    let mut session = Session::new(fleet, members, config);
    for (id, (step, pace)) in (0..).zip(paced) {
        session.send(request(id, *step, names()));
        pace.iter().for_each(|choice| session.advance(*choice));
    }
    session.settle();
    let (answers, heard) = sort_out(&session.seen, &program, names());
    for (id, step) in (0..).zip(&program) {
        assert_eq!(answers.get(&id), ideal.answers.get(&id), "{id} {step:?}");
    }
    assert_heard(&heard, &ideal.heard, &program, names());
    assert_eq!(session.owned, ideal.ids);
    if leaves {
        session.leave();
    } else {
        closing().for_each(|step| session.send(request(5000, step, names())));
    }
    session.rest();
    session.assert_empty();
    fleet.assert_empty();
}

/// The same programs each time: `PROPTEST_CASES` for more of them.
#[test]
fn equals_one_real_worker() {
    let config = ProptestConfig {
        max_shrink_iters: 500,
        ..settings::cases(24)
    };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    // What a failure leaves behind is no matter of the next program.
    let kept = Cell::new(None);
    let programs = (steps(120), settings::config(), any::<bool>());
    let result = TestRunner::new_with_rng(config, rng).run(&programs, |(body, config, leaves)| {
        let mut fleet = kept.take().unwrap_or_else(|| Fleet::start(3));
        let paced = program(&body);
        let program: Vec<Step> = paced.iter().map(|(step, _)| *step).collect();
        let ideal = on_one(&mut fleet, &program);
        for (members, placement) in [
            (1, Placement::Pack),
            (3, Placement::Pack),
            (3, Placement::Spread),
        ] {
            let config = Config {
                placement,
                process_id: fleet.ideal_pid(),
                ..config.clone()
            };
            on_many(&mut fleet, members, config, &paced, leaves, &ideal);
        }
        kept.set(Some(fleet));
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}
