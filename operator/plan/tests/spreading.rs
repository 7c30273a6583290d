//! Sessions that need more than their home.

mod common;

use common::{NOW, drain, notes, observed, on, planned, pod, s};
use mafalda_plan::*;

/// A large session on a busy pod that wants more, and pods that could lend.
fn hot(pods: &[Pod]) -> Observed {
    let mut home = pod(0, 0.9);
    let mut stage = on("stage", &mut home);
    stage.expected_participants = Some(40);
    stage.max_pods = 3;
    home.sessions[0].wants_more = true;
    observed([&[home], pods].concat(), vec![stage])
}

/// … with a pod lent to it, as its home knows.
fn lent(mut observed: Observed, pod: &str, unused_since: Option<u64>) -> Observed {
    let pod = PodName::from(pod);
    let since = s(4000);
    observed.sessions[0].lenders.push(Lender {
        pod: pod.clone(),
        since,
    });
    let unused_since = unused_since.map(s);
    let lent = Lent { pod, unused_since };
    observed.pods[0].sessions[0].lenders.push(lent);
    observed
}

fn cool(mut observed: Observed) -> Observed {
    observed.pods[0].sessions[0].wants_more = false;
    observed
}

#[test]
fn a_hot_session_gets_a_pod() {
    let far = Pod {
        region: Some("there".into()),
        ..pod(3, 0.0)
    };
    let zone = |mut pod: Pod, zone: &str| {
        let label = "topology.kubernetes.io/zone".to_owned();
        pod.node_labels.insert(label, zone.to_owned());
        pod
    };
    let cases = [
        (
            "the one with the most room",
            hot(&[pod(1, 0.4), pod(2, 0.2)]),
            "c-2",
        ),
        ("a near one", hot(&[far, pod(4, 0.4)]), "c-4"),
        (
            "one without large sessions",
            {
                let mut other = pod(1, 0.0);
                let mut large = on("large", &mut other);
                large.expected_participants = Some(20);
                let mut all = hot(&[other, pod(2, 0.1)]);
                all.sessions.push(large);
                all
            },
            "c-2",
        ),
        (
            "one of the home's zone",
            {
                let mut all = hot(&[zone(pod(1, 0.0), "a"), zone(pod(2, 0.2), "b")]);
                all.pods[0] = zone(all.pods[0].clone(), "b");
                all
            },
            "c-2",
        ),
        (
            "a second one",
            lent(hot(&[pod(1, 0.3), pod(2, 0.3)]), "c-1", None),
            "c-2",
        ),
    ];
    for (case, mut observed, pod) in cases {
        observed.cluster.pool.min = observed.pods.len() as u32;
        let expected = [format!("grant {pod} to stage: WorkersHot")];
        assert_eq!(planned(observed), expected, "{case}");
    }
}

#[test]
fn and_no_other_session_does() {
    let small = |mut observed: Observed| {
        observed.sessions[0].expected_participants = Some(4);
        observed
    };
    let one = |change: fn(&mut Observed)| {
        let mut observed = hot(&[pod(1, 0.1)]);
        change(&mut observed);
        observed
    };
    let cases = [
        ("it has room", cool(hot(&[pod(1, 0.1)]))),
        ("it is small", small(hot(&[pod(1, 0.1)]))),
        ("it may not", one(|all| all.sessions[0].max_pods = 1)),
        (
            "it does not use what it has",
            lent(hot(&[pod(1, 0.3), pod(2, 0.1)]), "c-1", Some(99_990)),
        ),
        ("its home does not know what it has", {
            let mut all = lent(hot(&[pod(1, 0.3), pod(2, 0.1)]), "c-1", None);
            all.pods[0].sessions[0].lenders.clear();
            all
        }),
        (
            "another generation says so",
            one(|all| {
                all.pods[0].sessions[0].generation = Generation(2);
                all.sessions[0].generation = Generation(2);
                all.pods[1]
                    .sessions
                    .push(Hosted::new("stage".into(), Generation(1)));
                all.pods[0].sessions[0].wants_more = false;
                all.pods[1].sessions[0].wants_more = true;
            }),
        ),
        (
            "the other pod has another release",
            one(|all| {
                all.pods[1].mediasoup = Some("3.28.0".into());
                all.cluster.pool.max = 2;
            }),
        ),
    ];
    for (case, mut observed) in cases {
        observed.cluster.pool.min = observed.pods.len() as u32;
        let mut actions = planned(observed);
        actions.retain(|action| !action.starts_with("fence"));
        assert_eq!(actions, [] as [&str; 0], "{case}");
    }
}

#[test]
fn a_small_session_that_is_not_as_small_as_it_said_gets_one_too() {
    let mut observed = hot(&[pod(1, 0.1)]);
    observed.cluster.pool.min = 2;
    observed.sessions[0].expected_participants = Some(2);
    observed.pods[0].sessions[0].consumers = 200;
    assert_eq!(planned(observed), ["grant c-1 to stage: WorkersHot"]);
}

#[test]
fn when_no_pod_can_lend_one_is_made() {
    let used = Pod {
        anonymous: 1,
        ..pod(1, 0.6)
    };
    let mut observed = hot(&[used]);
    observed.cluster.pool.min = 2;
    assert_eq!(planned(observed.clone()), ["create c-100: SessionsWait"]);
    observed.cluster.pool.max = 2;
    assert_eq!(planned(observed), [] as [&str; 0]);
}

#[test]
fn what_is_not_used_or_goes_is_given_back() {
    let cordoned = Pod {
        drain: drain(DrainPhase::Cordoned, DrainCause::Requested, s(5)),
        drain_requested: true,
        borrowers: 1,
        ..pod(1, 0.3)
    };
    let dead = Pod {
        down: true,
        suspect: true,
        ..pod(1, 0.3)
    };
    let cases = [
        (
            "not used for long",
            lent(hot(&[pod(1, 0.0)]), "c-1", Some(50_000)),
            Some("LenderUnused"),
        ),
        (
            "not used for a moment",
            lent(hot(&[pod(1, 0.0)]), "c-1", Some(99_990)),
            None,
        ),
        ("used", lent(hot(&[pod(1, 0.3)]), "c-1", None), None),
        (
            "is to go",
            lent(hot(&[cordoned]), "c-1", None),
            Some("LenderDrains"),
        ),
        (
            "is dead",
            lent(hot(&[dead]), "c-1", None),
            Some("LenderGone"),
        ),
        ("is gone", lent(hot(&[]), "c-1", None), Some("LenderGone")),
    ];
    for (case, observed, reason) in cases {
        let mut observed = cool(observed);
        observed.cluster.pool.min = 1;
        let actions = planned(observed);
        let expected = reason.map(|reason| format!("return c-1 of stage: {reason}"));
        let returned: Vec<_> = actions
            .iter()
            .filter(|action| action.starts_with("return"))
            .collect();
        assert_eq!(returned, expected.iter().collect::<Vec<_>>(), "{case}");
    }
}

/// Protects participants on lent workers: their pod does not go while they are there.
#[test]
fn a_pod_that_lends_is_not_empty() {
    let leaving = |borrowers| Pod {
        drain: drain(DrainPhase::Cordoned, DrainCause::Requested, s(600)),
        drain_requested: true,
        borrowers,
        ..pod(1, 0.0)
    };
    for (borrowers, expected) in [
        (0, vec!["delete c-1: Emptied"]),
        (2, vec!["drain c-1 by 103000: CordonOver"]),
    ] {
        let observed = cool(hot(&[leaving(borrowers)]));
        assert_eq!(planned(observed), expected);
    }
}

#[test]
fn another_home_begins_without_what_was_lent() {
    let mut observed = lent(hot(&[pod(1, 0.0), pod(2, 0.0)]), "c-1", None);
    observed.pods[0].phase = PodPhase::Failed;
    // Both are as empty as they will be: the one that lent to it has not noticed yet.
    observed.pods[1].borrowers = 1;
    observed.pods[2].anonymous = 1;
    observed.sessions[0].expected_participants = Some(1000);
    let actions = plan(&observed);
    assert!(
        notes(&actions)
            .iter()
            .any(|note| note.starts_with("move stage from c-0 to c-1 "))
    );
    observed.apply(&actions);
    assert_eq!(observed.sessions[0].lenders, []);
    assert!(observed.now == NOW);
}

/// Protects large nodes beside small ones: what is small is so for its own home.
#[test]
fn small_is_a_part_of_the_home() {
    let mut observed = hot(&[pod(1, 0.0)]);
    // 0.36 of a worker, where a quarter of this home is 1.
    observed.sessions[0].expected_participants = Some(10);
    observed.pods[0].cpu = vec![0.9; 8];
    assert_eq!(lend(&observed), []);
    observed.pods[0].cpu = vec![0.9; 2];
    assert_eq!(notes(&lend(&observed)), ["grant c-1 to stage: WorkersHot"]);
}

/// Protects clusters without an operator: the gateway lends as the operator does, and does nothing else.
#[test]
fn who_keeps_no_pool_lends_alike() {
    let draining = Pod {
        drain: drain(DrainPhase::Cordoned, DrainCause::Requested, s(5)),
        ..pod(2, 0.0)
    };
    let cases = [
        (
            "grants",
            hot(&[pod(1, 0.1)]),
            vec!["grant c-1 to stage: WorkersHot"],
        ),
        ("no pod can lend, and none is made", hot(&[]), vec![]),
        (
            "takes back and grants another",
            lent(hot(&[pod(1, 0.1), draining]), "c-2", None),
            vec![
                "return c-2 of stage: LenderDrains",
                "grant c-1 to stage: WorkersHot",
            ],
        ),
        (
            "is not used",
            cool(lent(hot(&[pod(1, 0.0)]), "c-1", Some(99_969))),
            vec!["return c-1 of stage: LenderUnused"],
        ),
    ];
    for (case, mut observed, expected) in cases {
        // An operator would make pods.
        observed.cluster.pool.min = 9;
        let actions = lend(&observed);
        assert_eq!(notes(&actions), expected, "{case}");
        observed.apply(&actions);
        assert_eq!(lend(&observed), [], "{case}, and then nothing");
    }
}
