//! How a pod goes.

mod common;

use common::*;
use mafalda_plan::*;

const NOTHING: [&str; 0] = [];

/// A session on a pod that drains for so long, with another pod to go to. Two are wanted.
fn leaving(phase: DrainPhase, age: u64, someone_there: bool) -> Observed {
    let mut home = pod(0, 0.3);
    let mut session = on("a", &mut home);
    session.empty_since = (!someone_there).then_some(NOW - s(5));
    home.drain = drain(phase, DrainCause::Requested, s(age));
    home.drain_requested = true;
    let mut observed = observed(vec![home, pod(1, 0.0), pod(2, 0.0)], vec![session]);
    observed.cluster.pool.min = 2;
    observed
}

#[test]
fn a_drain_has_two_phases_and_an_end() {
    use DrainPhase::{Cordoned, Draining};
    for (title, phase, age, someone_there, expected) in [
        ("cordoned: all stay", Cordoned, 10, false, vec![]),
        (
            "then it drains, by the deadline",
            Cordoned,
            30,
            true,
            vec!["drain c-0 by 103570: CordonOver"],
        ),
        ("people stay", Draining, 3599, true, vec![]),
        (
            "empty sessions move, and the pod with them gone goes",
            Draining,
            40,
            false,
            vec![
                "move a from c-0 to c-1 as 2: NobodyThere",
                "fence a on c-0 up to 1: OlderGeneration",
                "delete c-0: Emptied",
            ],
        ),
        (
            "at the deadline everybody leaves",
            Draining,
            3600,
            true,
            vec![
                "move a from c-0 to c-1 as 2: HomeDrained",
                "fence a on c-0 up to 1: OlderGeneration",
                "delete c-0: DeadlineReached",
            ],
        ),
    ] {
        let got = planned(leaving(phase, age, someone_there));
        assert_eq!(got, expected, "{title}");
    }
}

/// Protects who is about to join: an application that is connected keeps its worker until the deadline,
/// also while nobody is in its session.
#[test]
fn a_session_whose_application_is_connected_stays_until_the_deadline() {
    let attended = |age| {
        let mut empty = leaving(DrainPhase::Draining, age, false);
        empty.sessions[0].attended = true;
        planned(empty)
    };
    assert_eq!(attended(3599), NOTHING);
    assert_eq!(
        attended(3600),
        [
            "move a from c-0 to c-1 as 2: HomeDrained",
            "fence a on c-0 up to 1: OlderGeneration",
            "delete c-0: DeadlineReached",
        ]
    );
}

#[test]
fn the_deadline_holds_even_if_there_is_no_other_place() {
    let mut full = leaving(DrainPhase::Draining, 3600, true);
    full.pods.truncate(1);
    (full.cluster.pool.min, full.cluster.pool.max) = (1, 1);
    assert_eq!(
        planned(full),
        [
            "delete c-0: DeadlineReached",
            "create c-100: SessionsWait",
            "hold a: NoPodReady",
        ]
    );
}

#[test]
fn an_empty_pod_goes_when_its_cordon_is_over() {
    let cordoned = |age, anonymous| {
        let leaving = Pod {
            drain: drain(DrainPhase::Cordoned, DrainCause::ScaleDown, s(age)),
            anonymous,
            ..pod(0, 0.0)
        };
        planned(observed(vec![leaving, pod(1, 0.0)], vec![]))
    };
    // Something may have been on its way there when it was cordoned.
    assert_eq!(cordoned(29, 0), NOTHING);
    assert_eq!(cordoned(30, 0), ["delete c-0: Emptied"]);
    assert_eq!(
        cordoned(30, 1),
        ["drain c-0 by 103570: CordonOver"],
        "a worker without a session is somebody's call too"
    );
}

#[test]
fn a_drain_that_was_asked_for_can_be_taken_back() {
    let mut asked = leaving(DrainPhase::Draining, 100, true);
    asked.pods[0].drain_requested = false;
    asked.cluster.pool.min = 3;
    assert_eq!(planned(asked.clone()), ["cancel c-0: RequestWithdrawn"]);
    asked.cluster.pool.min = 2;
    asked.pods[0].drain = None;
    asked.pods[0].drain_requested = true;
    assert_eq!(planned(asked), ["cordon c-0: DrainRequested"]);
}

#[test]
fn a_cancelled_drain_takes_sessions_again() {
    let mut asked = leaving(DrainPhase::Draining, 100, true);
    asked.pods[0].drain_requested = false;
    asked.pods.truncate(1);
    asked.cluster.pool.min = 1;
    asked.sessions.push(session("b", 4));
    assert_eq!(
        planned(asked),
        [
            "cancel c-0: RequestWithdrawn",
            "place b on c-0 as 1: Placed"
        ]
    );
}

#[test]
fn a_pod_somebody_else_deletes_drains_as_well() {
    let terminating = |age, someone_there| {
        let mut ending = leaving(DrainPhase::Draining, 0, someone_there);
        ending.pods[0].drain = None;
        ending.pods[0].terminating_since = Some(NOW - s(age));
        planned(ending)
    };
    assert_eq!(terminating(100, true), NOTHING);
    let moved = |reason| {
        [
            format!("move a from c-0 to c-1 as 2: {reason}"),
            "fence a on c-0 up to 1: OlderGeneration".into(),
        ]
    };
    assert_eq!(terminating(100, false), moved("NobodyThere"));
    assert_eq!(terminating(3600, true), moved("HomeDrained"));
}
