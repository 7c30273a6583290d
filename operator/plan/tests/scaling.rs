//! How many pods there are, and which ones go.

mod common;

use common::*;
use mafalda_plan::*;

const NOTHING: [&str; 0] = [];

fn used(ordinal: u64, load: f64) -> Pod {
    Pod {
        anonymous: 1,
        ..pod(ordinal, load)
    }
}

fn with_pool(pods: Vec<Pod>, min: u32, max: u32, spare: u32) -> Observed {
    let mut observed = observed(pods, vec![]);
    observed.cluster.pool = Pool { min, max, spare };
    observed
}

#[test]
fn the_pool_grows_before_it_is_full() {
    for (title, observed, expected) in [
        (
            "the minimum from nothing",
            with_pool(vec![], 2, 5, 0),
            vec!["create c-100: NeedRises", "create c-101: NeedRises"],
        ),
        (
            "a spare one beside what carries",
            with_pool(vec![used(0, 0.4)], 1, 5, 1),
            vec!["create c-100: NeedRises"],
        ),
        (
            "one that starts is on its way",
            with_pool(
                vec![
                    used(0, 0.4),
                    Pod {
                        ready_since: None,
                        last_seen: None,
                        created: NOW - s(20),
                        ..pod(1, 0.0)
                    },
                ],
                1,
                5,
                1,
            ),
            vec![],
        ),
        (
            "one that should have started is not",
            with_pool(
                vec![
                    used(0, 0.4),
                    Pod {
                        ready_since: None,
                        last_seen: None,
                        created: NOW - s(301),
                        ..pod(1, 0.0)
                    },
                ],
                1,
                5,
                1,
            ),
            vec!["create c-100: NeedRises"],
        ),
        (
            "not above the maximum",
            with_pool(vec![used(0, 0.9), used(1, 0.9)], 1, 2, 1),
            vec![],
        ),
        (
            "without an address anywhere, more would not help",
            with_pool(
                vec![Pod {
                    address_known: false,
                    ..pod(0, 0.0)
                }],
                1,
                5,
                0,
            ),
            vec![],
        ),
        (
            "one without an address beside one with serves nobody",
            with_pool(
                vec![
                    Pod {
                        address_known: false,
                        ..pod(0, 0.0)
                    },
                    used(1, 0.1),
                ],
                2,
                5,
                0,
            ),
            vec!["create c-100: NeedRises"],
        ),
    ] {
        assert_eq!(planned(observed), expected, "{title}");
    }
}

#[test]
fn a_name_is_never_used_again() {
    let mut observed = with_pool(vec![used(120, 0.4)], 2, 5, 0);
    assert_eq!(planned(observed.clone()), ["create c-121: NeedRises"]);
    observed.cluster.next_ordinal = 130;
    assert_eq!(planned(observed), ["create c-130: NeedRises"]);
}

#[test]
fn a_session_no_pod_has_room_for_makes_one_pod_and_not_another() {
    // The load as a whole fits on two pods, the room is in pieces.
    let pieces = || vec![used(0, 0.7), used(1, 0.7)];
    let mut observed = observed(pieces(), vec![session("a", 10)]);
    assert_eq!(
        planned(observed.clone()),
        ["create c-100: SessionsWait", "hold a: PodsFull"]
    );
    // An empty pod on the wrong node is better than to wait for one on the right one.
    observed.sessions[0].hints.node_labels = [("zone".into(), "x".into())].into();
    for pod in &mut observed.pods {
        pod.node_labels = [("zone".into(), "x".into())].into();
    }
    observed.pods.push(pod(2, 0.0));
    assert_eq!(planned(observed), ["place a on c-2 as 1: Placed"]);
}

#[test]
fn the_emptiest_pod_goes_one_at_a_time() {
    let (mut one, mut two) = (pod(1, 0.2), pod(2, 0.1));
    let sessions = vec![on("a", &mut one), on("b", &mut two), on("c", &mut two)];
    let pods = vec![used(0, 0.1), one, two, used(3, 0.15)];
    let mut observed = observed(pods, sessions);
    assert_eq!(planned(observed.clone()), ["cordon c-0: NeedFalls"]);
    observed.pods[0].anonymous = 9;
    assert_eq!(planned(observed.clone()), ["cordon c-3: NeedFalls"]);
    // Neither a pod that is new nor one that was taken back a moment ago.
    observed.pods[3].restored_at = Some(NOW - s(100));
    assert_eq!(planned(observed), ["cordon c-1: NeedFalls"]);
}

#[test]
fn little_noise_makes_and_drains_nothing() {
    for load in [1.6, 1.8, 2.0] {
        let pods = vec![used(0, load - 1.0), used(1, 0.5), used(2, 0.5)];
        // 2 pods would carry it, but not half a pod more.
        assert_eq!(planned(observed(pods, vec![])), NOTHING, "{load}");
    }
    let pods = vec![used(0, 0.3), used(1, 0.5), used(2, 0.5)];
    assert_eq!(
        planned(observed(pods, vec![])),
        ["cordon c-0: NeedFalls"],
        "1.3"
    );
}

#[test]
fn a_drain_is_taken_back_before_a_pod_is_made() {
    let leaving = |ordinal, phase| Pod {
        drain: drain(phase, DrainCause::ScaleDown, s(50)),
        ..used(ordinal, 0.1)
    };
    let pods = vec![
        used(0, 0.9),
        leaving(1, DrainPhase::Draining),
        leaving(2, DrainPhase::Draining),
    ];
    // It takes the session that nothing else had room for.
    let mut observed = observed(pods, vec![session("a", 10)]);
    observed.cluster.pool.spare = 1;
    assert_eq!(
        planned(observed),
        [
            "cancel c-1: NeedReturns",
            "cancel c-2: NeedReturns",
            "place a on c-1 as 1: Placed",
        ]
    );
}

#[test]
fn an_upgrade_makes_new_pods_first() {
    let old = |ordinal, load| Pod {
        revision: "old".into(),
        ..used(ordinal, load)
    };
    let pods: Vec<_> = (0..4).map(|ordinal| old(ordinal, 0.9)).collect();
    let mut observed = with_pool(pods, 1, 4, 0);
    assert_eq!(
        planned(observed.clone()),
        ["create c-100: Surge"],
        "one more than the maximum, and no drain yet"
    );
    observed.pods.push(Pod {
        created: NOW - s(9),
        ready_since: Some(NOW - s(1)),
        ..pod(100, 0.0)
    });
    observed.pods[2].cpu = vec![0.4; 2];
    assert_eq!(
        planned(observed.clone()),
        ["cordon c-2: Outdated"],
        "as soon as another serves, the emptiest"
    );
    observed.pods[2].drain = drain(DrainPhase::Draining, DrainCause::Outdated, s(100));
    assert_eq!(
        planned(observed.clone()),
        NOTHING,
        "the next one waits until it is gone"
    );
    observed.pods.remove(2);
    observed.pods[3] = used(100, 0.9);
    assert_eq!(planned(observed), ["create c-101: Surge"]);
}

#[test]
fn an_upgrade_that_is_taken_back_takes_the_drains_back() {
    let mut leaving = used(0, 0.5);
    leaving.drain = drain(DrainPhase::Draining, DrainCause::Outdated, s(50));
    assert_eq!(
        planned(observed(vec![leaving], vec![])),
        ["cancel c-0: RevisionReturns"]
    );
}

#[test]
fn a_pod_that_never_came_up_is_replaced_when_the_template_changes() {
    let broken = Pod {
        revision: "old".into(),
        ready_since: None,
        last_seen: None,
        ..pod(0, 0.0)
    };
    assert_eq!(
        planned(observed(vec![broken], vec![])),
        ["delete c-0: Outdated", "create c-100: NeedRises"]
    );
}

/// Protects a pool from nodes on which nothing starts: what never came up goes after twice its time, so
/// that its place is free for another one. What waits for a node or for its address is no better
/// elsewhere, and stays.
#[test]
fn a_pod_that_never_comes_up_gives_its_place_away() {
    let stuck = |age| Pod {
        ready_since: None,
        last_seen: None,
        created: NOW - s(age),
        ..pod(1, 0.0)
    };
    let no_node = |age| Pod {
        node: None,
        unschedulable: true,
        ..stuck(age)
    };
    let no_address = |age| Pod {
        address_known: false,
        ..stuck(age)
    };
    let borrowed = |age| Pod {
        anonymous: 1,
        ..stuck(age)
    };
    let (goes, another) = ("delete c-1: NeverReady", "create c-100: NeedRises");
    for (title, pod, max, expected) in [
        ("it starts", stuck(299), 3, vec![]),
        ("another in its place", stuck(300), 3, vec![another]),
        ("it is in nobody's way yet", stuck(599), 2, vec![]),
        ("its place is another's", stuck(600), 2, vec![goes, another]),
        ("without a node it waits", no_node(900), 3, vec![]),
        ("without an address as well", no_address(900), 2, vec![]),
        ("somebody had it", borrowed(900), 2, vec![]),
    ] {
        let observed = with_pool(vec![used(0, 0.4), pod], 2, max, 0);
        assert_eq!(planned(observed), expected, "{title}");
    }
}

/// Protects the API server and the cluster's autoscaler from pods that nobody has room for: as many wait
/// as are needed, however long it takes.
#[test]
fn no_more_pods_wait_for_a_node_than_are_needed() {
    let waits = |ordinal| Pod {
        ready_since: None,
        last_seen: None,
        node: None,
        unschedulable: true,
        ..pod(ordinal, 0.0)
    };
    let pods = vec![used(0, 0.4), waits(1)];
    assert_eq!(planned(with_pool(pods.clone(), 2, 9, 0)), NOTHING);
    assert_eq!(
        planned(with_pool(pods, 3, 9, 0)),
        ["create c-100: NeedRises"]
    );
}
