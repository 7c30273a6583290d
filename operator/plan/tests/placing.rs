//! Which pod a session goes to.

mod common;

use common::*;
use mafalda_plan::*;

/// Pods, what is asked for, and the answer.
type Row = (&'static str, Vec<Pod>, Session, Result<&'static str, NoPod>);

fn choice(pods: &[Pod], session: &Session) -> Result<String, NoPod> {
    let cluster = cluster();
    let candidates: Vec<_> = pods
        .iter()
        .map(|pod| Candidate::new(pod, &cluster, NOW))
        .collect();
    choose_pod(
        &Request::home_of(session, cluster.pod_capacity()),
        &candidates,
    )
    .map(|pod| pod.name.to_string())
}

/// Used by an application, so that it is not empty.
fn used(ordinal: u64, load: f64) -> Pod {
    Pod {
        anonymous: 1,
        ..pod(ordinal, load)
    }
}

#[test]
fn filters_leave_only_pods_that_can_take_it() {
    let ten = || session("a", 10); // 0.36 of the 1 that a pod carries
    let draining = |phase| Pod {
        drain: drain(phase, DrainCause::ScaleDown, s(5)),
        ..used(0, 0.1)
    };
    let rows: Vec<Row> = vec![
        ("no pods", vec![], ten(), Err(NoPod::NoneReady)),
        ("one that is well", vec![pod(0, 0.0)], ten(), Ok("c-0")),
        (
            "cordoned",
            vec![draining(DrainPhase::Cordoned)],
            ten(),
            Err(NoPod::NoneReady),
        ),
        (
            "draining",
            vec![draining(DrainPhase::Draining)],
            ten(),
            Err(NoPod::NoneReady),
        ),
        (
            "starting",
            vec![Pod {
                ready_since: None,
                ..pod(0, 0.0)
            }],
            ten(),
            Err(NoPod::NoneReady),
        ),
        (
            "never answered",
            vec![Pod {
                last_seen: None,
                ..pod(0, 0.0)
            }],
            ten(),
            Err(NoPod::NoneReady),
        ),
        (
            "silent",
            vec![Pod {
                last_seen: Some(NOW - s(3)),
                ..pod(0, 0.0)
            }],
            ten(),
            Err(NoPod::NoneReady),
        ),
        (
            "two missed polls are not three",
            vec![Pod {
                last_seen: Some(NOW - s(2)),
                ..pod(0, 0.0)
            }],
            ten(),
            Ok("c-0"),
        ),
        (
            "no address",
            vec![Pod {
                address_known: false,
                ..pod(0, 0.0)
            }],
            ten(),
            Err(NoPod::AddressUnknown),
        ),
        (
            "nothing that is wished for is there: it is placed all the same",
            vec![pod(0, 0.0)],
            Session {
                hints: Hints {
                    region: Some("nowhere".into()),
                    node_labels: [("gpu".into(), "yes".into())].into(),
                    mediasoup: Some("3.26.0".into()),
                },
                ..ten()
            },
            Ok("c-0"),
        ),
        ("full", vec![used(0, 0.65)], ten(), Err(NoPod::Full)),
        ("just fits", vec![used(0, 0.64)], ten(), Ok("c-0")),
        (
            "larger than a pod, an empty one",
            vec![used(0, 0.0), pod(1, 0.0)],
            session("a", 300),
            Ok("c-1"),
        ),
        (
            "larger than a pod, but spread",
            vec![used(0, 0.0)],
            Session {
                max_pods: 4,
                ..session("a", 30)
            },
            Ok("c-0"),
        ),
        (
            "the reason of the one that came nearest",
            vec![used(0, 0.9), draining(DrainPhase::Cordoned)],
            ten(),
            Err(NoPod::Full),
        ),
        (
            "CPU that is no number is busy",
            vec![Pod {
                cpu: vec![f64::NAN; 2],
                ..used(0, 0.0)
            }],
            ten(),
            Err(NoPod::Full),
        ),
    ];
    for (title, pods, session, chosen) in rows {
        let got = choice(&pods, &session);
        assert_eq!(got.as_deref(), chosen.as_ref().map(|name| *name), "{title}");
    }
}

#[test]
fn ranks_by_region_then_revision_then_pack() {
    let far = |ordinal, load| Pod {
        region: Some("far".into()),
        ..used(ordinal, load)
    };
    let old = |ordinal, load| Pod {
        revision: "old".into(),
        ..used(ordinal, load)
    };
    let small = || session("a", 3);
    let in_far = || Session {
        hints: Hints {
            region: Some("far".into()),
            ..Hints::default()
        },
        ..small()
    };
    let rows: Vec<Row> = vec![
        (
            "the fullest that has room",
            vec![pod(0, 0.0), used(1, 0.3), used(2, 0.6), used(3, 0.99)],
            small(),
            Ok("c-2"),
        ),
        (
            "equals: the first name",
            vec![pod(1, 0.0), pod(0, 0.0)],
            small(),
            Ok("c-0"),
        ),
        (
            "its region before the fullest",
            vec![used(0, 0.6), far(1, 0.1)],
            in_far(),
            Ok("c-1"),
        ),
        (
            "another region before none",
            vec![used(0, 0.6), far(1, 0.99)],
            in_far(),
            Ok("c-0"),
        ),
        (
            "the wanted revision before the fullest",
            vec![old(0, 0.6), used(1, 0.1)],
            small(),
            Ok("c-1"),
        ),
        (
            "an old revision before none",
            vec![old(0, 0.6), used(1, 0.99)],
            small(),
            Ok("c-0"),
        ),
    ];
    for (title, pods, session, chosen) in rows {
        let got = choice(&pods, &session);
        assert_eq!(got.as_deref(), chosen.as_ref().map(|name| *name), "{title}");
    }
}

/// Protects sessions from their own wishes: labels of nodes are counted, and what has no room or is
/// not there is no reason to wait.
#[test]
fn the_pod_whose_node_lacks_the_fewest_labels_is_chosen() {
    let labelled = |ordinal, load, labels: &[&str]| Pod {
        node_labels: labels
            .iter()
            .map(|key| ((*key).into(), "yes".into()))
            .collect(),
        ..used(ordinal, load)
    };
    let wishing = |labels: &[&str]| Session {
        hints: Hints {
            node_labels: labels
                .iter()
                .map(|key| ((*key).into(), "yes".into()))
                .collect(),
            ..Hints::default()
        },
        ..session("a", 3)
    };
    let three = || {
        vec![
            labelled(0, 0.6, &[]),
            labelled(1, 0.1, &["gpu"]),
            labelled(2, 0.2, &["gpu", "ssd"]),
        ]
    };
    let full = |ordinal: usize| {
        let mut pods = three();
        pods[ordinal].cpu = vec![0.99; 2];
        pods
    };
    let rows: Vec<Row> = vec![
        ("all of them", three(), wishing(&["gpu", "ssd"]), Ok("c-2")),
        (
            "two of three before one",
            three(),
            wishing(&["gpu", "ssd", "mars"]),
            Ok("c-2"),
        ),
        (
            "the one that has them all is full: one of two before none",
            full(2),
            wishing(&["gpu", "ssd"]),
            Ok("c-1"),
        ),
        (
            "equally many: the fullest",
            three(),
            wishing(&["gpu"]),
            Ok("c-2"),
        ),
        (
            "nobody has it: the fullest",
            three(),
            wishing(&["mars"]),
            Ok("c-0"),
        ),
        (
            "the key with another value is lacking",
            vec![used(0, 0.1), labelled(1, 0.0, &["gpu"])],
            Session {
                hints: Hints {
                    node_labels: [("gpu".into(), "no".into())].into(),
                    ..Hints::default()
                },
                ..session("a", 3)
            },
            Ok("c-0"),
        ),
        (
            "its region before any label",
            vec![
                labelled(0, 0.0, &["gpu"]),
                Pod {
                    region: Some("far".into()),
                    ..used(1, 0.0)
                },
            ],
            Session {
                hints: Hints {
                    region: Some("far".into()),
                    ..wishing(&["gpu"]).hints
                },
                ..session("a", 3)
            },
            Ok("c-1"),
        ),
        (
            "a label before the wanted revision",
            vec![
                used(0, 0.6),
                Pod {
                    revision: "old".into(),
                    ..labelled(1, 0.1, &["gpu"])
                },
            ],
            wishing(&["gpu"]),
            Ok("c-1"),
        ),
    ];
    for (title, pods, session, chosen) in rows {
        let got = choice(&pods, &session);
        assert_eq!(got.as_deref(), chosen.as_ref().map(|name| *name), "{title}");
    }
}

/// Protects applications in an upgrade: one whose session is placed anew finds the mediasoup that it
/// speaks, wherever a pod of that takes it.
#[test]
fn the_mediasoup_version_of_before_comes_before_all_other_wishes() {
    let older = |ordinal, load| Pod {
        revision: "old".into(),
        region: Some("far".into()),
        mediasoup: Some("3.26.0".into()),
        ..used(ordinal, load)
    };
    let spoke = |version: Option<&str>| Session {
        hints: Hints {
            region: Some("here".into()),
            mediasoup: version.map(Into::into),
            ..Hints::default()
        },
        ..session("a", 3)
    };
    let unknown = Pod {
        mediasoup: None,
        ..used(0, 0.6)
    };
    let rows: Vec<Row> = vec![
        (
            "before region, revision and the fullest",
            vec![used(0, 0.6), older(1, 0.1)],
            spoke(Some("3.26.0")),
            Ok("c-1"),
        ),
        (
            "another before none",
            vec![used(0, 0.6), older(1, 0.99)],
            spoke(Some("3.26.0")),
            Ok("c-0"),
        ),
        (
            "a pod that did not say it is another",
            vec![unknown, older(1, 0.1)],
            spoke(Some("3.26.0")),
            Ok("c-1"),
        ),
        (
            "who never had a home has spoken none",
            vec![used(0, 0.1), older(1, 0.6)],
            spoke(None),
            Ok("c-0"),
        ),
    ];
    for (title, pods, session, chosen) in rows {
        let got = choice(&pods, &session);
        assert_eq!(got.as_deref(), chosen.as_ref().map(|name| *name), "{title}");
    }
}

#[test]
fn large_sessions_keep_apart_and_small_ones_pack() {
    let rooms = |participants| {
        let sessions = vec![session("a", participants), session("b", participants)];
        planned(observed(vec![pod(0, 0.0), pod(1, 0.0)], sessions))
    };
    assert_eq!(
        rooms(10),
        ["place a on c-0 as 1: Placed", "place b on c-1 as 1: Placed"]
    );
    assert_eq!(
        rooms(3)[..2],
        ["place a on c-0 as 1: Placed", "place b on c-0 as 1: Placed"]
    );
}

#[test]
fn what_was_just_placed_takes_room_before_it_shows() {
    // Three of 0.36: two fit on a pod of 1, and there is no other pod yet.
    let mut settings = observed(
        vec![pod(0, 0.0)],
        ["a", "b", "c"].map(|name| session(name, 10)).into(),
    );
    settings.cluster.pool.max = 2;
    assert_eq!(
        planned(settings),
        [
            "place a on c-0 as 1: Placed",
            "place b on c-0 as 1: Placed",
            "create c-100: SessionsWait",
            "hold c: PodsFull",
        ]
    );
}

#[test]
fn the_oldest_session_is_placed_first() {
    let later = Session {
        created: s(9000),
        ..session("a", 4)
    };
    let notes = planned(observed(vec![pod(0, 0.0)], vec![later, session("b", 4)]));
    assert_eq!(
        notes,
        ["place b on c-0 as 1: Placed", "place a on c-0 as 1: Placed"]
    );
}
