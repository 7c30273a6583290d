//! What happens to sessions when their pod is not well, or runs what it should not.

mod common;

use common::*;
use mafalda_plan::*;

const NOTHING: [&str; 0] = [];

/// A session on c-0, an idle c-1. Both are too young to be drained.
fn pair() -> Observed {
    let mut home = pod(0, 0.3);
    let session = on("a", &mut home);
    let mut pods = vec![home, pod(1, 0.0)];
    for pod in &mut pods {
        pod.ready_since = Some(NOW - s(100));
    }
    observed(pods, vec![session])
}

#[test]
fn a_session_stays_while_its_pod_is_well() {
    assert_eq!(planned(pair()), NOTHING);
    let mut hot = pair();
    hot.pods[0].cpu = vec![1.0; 2];
    assert_eq!(planned(hot), NOTHING, "even if it is hot");
    let mut addressless = pair();
    addressless.pods[0].address_known = false;
    assert_eq!(planned(addressless), NOTHING, "even without an address");
}

#[test]
fn three_missed_polls_move_it_elsewhere() {
    for (silence, expected) in [
        (2, vec![]),
        (
            3,
            vec![
                "suspect c-0: PodSilent",
                "move a from c-0 to c-1 as 2: HomeSilent",
            ],
        ),
        (
            60,
            vec![
                "suspect c-0: PodSilent",
                "move a from c-0 to c-1 as 2: HomeSilent",
                "delete c-0: PodLost",
            ],
        ),
    ] {
        let mut silent = pair();
        silent.pods[0].last_seen = Some(NOW - s(silence));
        assert_eq!(planned(silent), expected, "{silence} s");
    }
}

#[test]
fn a_pod_that_is_gone_or_failed_loses_its_sessions() {
    let mut gone = pair();
    gone.pods.remove(0);
    assert_eq!(planned(gone), ["move a from c-0 to c-1 as 2: HomeGone"]);
    let mut failed = pair();
    failed.pods[0].phase = PodPhase::Failed;
    assert_eq!(
        planned(failed),
        [
            "move a from c-0 to c-1 as 2: HomeFailed",
            "delete c-0: PodFailed"
        ]
    );
}

#[test]
fn without_another_pod_it_waits_and_takes_up_again() {
    let mut alone = pair();
    alone.pods.pop();
    alone.pods[0].last_seen = Some(NOW - s(3));
    assert_eq!(
        planned(alone.clone()),
        [
            "suspect c-0: PodSilent",
            "create c-100: SessionsWait",
            "hold a: NoPodReady",
        ]
    );
    let actions = plan(&alone);
    alone.apply(&actions);
    alone.pods[0].last_seen = Some(NOW);
    assert_eq!(
        planned(alone),
        ["clear c-0: PodAnswers", "adopt a on c-0 as 1: HomeAnswers"]
    );
}

/// Protects who is in a call from waiting for pods that nobody makes: busy workers are better than none, up
/// to the whole of their cores. Who never had a home waits for one below the watermark.
#[test]
fn who_lost_a_home_takes_what_is_above_the_watermark() {
    let full = |loads: [f64; 2]| {
        let mut lost = pair();
        lost.cluster.pool = Pool {
            min: 1,
            max: 3,
            spare: 0,
        };
        lost.pods[0].phase = PodPhase::Failed;
        lost.pods[1] = pod(1, loads[0]);
        lost.pods.push(pod(2, loads[1]));
        // They are somebody's.
        for pod in &mut lost.pods[1..] {
            pod.anonymous = 1;
        }
        lost.sessions.push(session("first", 4));
        planned(lost)
    };
    let hold = "hold first: PodsFull".to_owned();
    for (loads, expected) in [
        ([1.3, 1.2], "move a from c-0 to c-2 as 2: HomeFailed"),
        ([1.2, 1.3], "move a from c-0 to c-1 as 2: HomeFailed"),
        ([1.2, 0.5], "move a from c-0 to c-2 as 2: HomeFailed"),
        ([1.99, 1.99], "hold a: PodsFull"),
    ] {
        let notes = full(loads);
        assert!(notes.contains(&expected.to_owned()), "{loads:?}: {notes:?}");
        let waits = loads[1] > 1.0;
        assert_eq!(notes.contains(&hold), waits, "{loads:?}: {notes:?}");
    }
}

/// Protects a session that is larger than a pod, which none but an empty one takes: the pod that lost it is
/// empty, and so are those that lent to it.
#[test]
fn a_large_session_that_was_lost_finds_its_own_pods_empty() {
    let large = |pods: usize| {
        let mut home = pod(0, 0.0);
        let mut session = on("a", &mut home);
        session.expected_participants = Some(100);
        session.max_pods = 2;
        session.lenders.push(Lender {
            pod: "c-1".into(),
            since: s(3000),
        });
        home.sessions.clear();
        let mut pods: Vec<_> = [home, pod(1, 0.2), pod(2, 0.0)]
            .into_iter()
            .take(pods)
            .collect();
        // Somebody else's.
        pods.iter_mut().skip(2).for_each(|pod| pod.anonymous = 1);
        let mut lost = observed(pods, vec![session]);
        lost.cluster.pool = Pool {
            min: 1,
            max: 3,
            spare: 0,
        };
        planned(lost)
    };
    for pods in [1, 2, 3] {
        let to = if pods == 1 { 0 } else { 1 };
        let expected = format!("move a from c-0 to c-{to} as 2: SessionMissing");
        let notes = large(pods);
        assert!(notes.contains(&expected), "{pods}: {notes:?}");
    }
}

#[test]
fn when_most_pods_are_silent_it_is_the_operator() {
    let mut cut = pair();
    cut.pods.push(pod(2, 0.0));
    cut.cluster.pool.min = 3;
    for pod in &mut cut.pods {
        pod.last_seen = Some(NOW - s(90));
    }
    assert_eq!(
        planned(cut.clone()),
        [
            "suspect c-0: ManyPodsSilent",
            "suspect c-1: ManyPodsSilent",
            "suspect c-2: ManyPodsSilent",
        ]
    );
    cut.pods[0].phase = PodPhase::Failed;
    cut.pods[1].last_seen = Some(NOW);
    let notes = planned(cut);
    assert!(
        notes.contains(&"move a from c-0 to c-1 as 2: HomeFailed".into()),
        "until Kubernetes says so: {notes:?}"
    );
}

/// Protects the calls of a machine that lost power from the doubt whether it is the operator: its
/// other nodes answer.
#[test]
fn a_dark_node_with_most_pods_is_not_the_operator() {
    let mut home = pod(0, 0.3);
    let session = on("a", &mut home);
    let mut lost = observed(
        vec![home, pod(1, 0.0), pod(2, 0.0), pod(3, 0.0)],
        vec![session],
    );
    lost.cluster.pool.min = 4;
    lost.pods[3].node = Some("other".into());
    for pod in &mut lost.pods[..3] {
        pod.last_seen = Some(NOW - s(3));
    }
    let moved = "move a from c-0 to c-3 as 2: HomeSilent".to_owned();
    assert!(planned(lost.clone()).contains(&moved));
    lost.pods[2].node = Some("third".into());
    let notes = planned(lost);
    assert!(!notes.contains(&moved), "two of three nodes: {notes:?}");
}

/// Protects calls from a doubt that there is none of: what refuses connections is dead, however many
/// others are silent.
#[test]
fn what_is_down_is_no_silence() {
    let many = |silent: usize, down: usize| {
        let mut home = pod(0, 0.3);
        let session = on("a", &mut home);
        let mut pods = vec![home];
        pods.extend((1..7).map(|ordinal| pod(ordinal, 0.0)));
        for pod in &mut pods[..down] {
            pod.down = true;
        }
        for pod in &mut pods[down..down + silent] {
            pod.last_seen = Some(NOW - s(9));
        }
        for (pod, node) in pods.iter_mut().zip(0..) {
            pod.node = Some(format!("n{node}").into());
            pod.ready_since = Some(NOW - s(100));
        }
        let mut many = observed(pods, vec![session]);
        many.cluster.pool.min = 1;
        planned(many)
    };
    let moves_a = |note: &String| note.starts_with("move a from c-0 to ");
    for (silent, down, moves) in [(0, 1, true), (0, 6, true), (5, 1, true), (6, 0, false)] {
        let notes = many(silent, down);
        assert_eq!(
            notes.iter().any(moves_a),
            moves,
            "{silent} {down}: {notes:?}"
        );
    }
    assert!(many(0, 1).contains(&"suspect c-0: PodDown".to_owned()));
    assert!(many(5, 1).contains(&"suspect c-1: ManyPodsSilent".to_owned()));
}

/// Protects a pod that starts: nobody listens in it yet.
#[test]
fn what_never_answered_is_not_down() {
    let mut starts = pair();
    starts.pods[1].last_seen = None;
    starts.pods[1].ready_since = None;
    starts.pods[1].down = true;
    starts.pods[1].created = NOW - s(20);
    assert_eq!(planned(starts), NOTHING);
}

#[test]
fn a_pod_that_comes_back_is_fenced() {
    let mut back = pair();
    back.pods[0].suspect = true;
    back.sessions[0].generation = Generation(2);
    back.sessions[0].home = Some(Home {
        pod: "c-1".into(),
        since: NOW - s(2),
    });
    assert_eq!(
        planned(back.clone()),
        [
            "clear c-0: PodAnswers",
            "fence a on c-0 up to 1: OlderGeneration"
        ]
    );
    back.pods[0].last_seen = Some(NOW - s(9));
    assert_eq!(planned(back), NOTHING, "nobody can tell it anything yet");
}

#[test]
fn two_homes_in_one_generation_are_one_too_many() {
    let mut twins = pair();
    let hosted = twins.pods[0].sessions.clone();
    twins.pods[1].sessions = hosted;
    assert_eq!(planned(twins), ["fence a on c-1 up to 1: NotItsHome"]);
}

#[test]
fn what_ended_is_ended_everywhere() {
    let mut ended = pair();
    ended.sessions[0].phase = SessionPhase::Ended;
    assert_eq!(planned(ended), ["fence a on c-0 up to 1: SessionEnded"]);
    let mut deleted = pair();
    deleted.sessions.clear();
    assert_eq!(planned(deleted), ["fence a on c-0 up to 1: SessionEnded"]);
}

/// Protects sessions from their wishes when their home dies: the best pod that is left takes them.
#[test]
fn a_lost_session_prefers_its_version_and_labels_and_takes_what_there_is() {
    let mut lost = pair();
    lost.pods[0].phase = PodPhase::Failed;
    lost.sessions[0].hints = Hints {
        node_labels: [("gpu".into(), "yes".into())].into(),
        mediasoup: Some("3.26.0".into()),
        ..Hints::default()
    };
    let moved_to = |observed: Observed| {
        let notes = planned(observed);
        notes.into_iter().find(|note| note.starts_with("move"))
    };
    let only = moved_to(lost.clone());
    assert_eq!(
        only.as_deref(),
        Some("move a from c-0 to c-1 as 2: HomeFailed")
    );
    let mut same = pod(2, 0.0);
    same.mediasoup = Some("3.26.0".into());
    same.revision = "old".into();
    lost.pods.push(same);
    lost.pods[1].node_labels = [("gpu".into(), "yes".into())].into();
    let best = moved_to(lost);
    assert_eq!(
        best.as_deref(),
        Some("move a from c-0 to c-2 as 2: HomeFailed")
    );
}

#[test]
fn sessions_end_with_their_time_to_live() {
    for (title, empty_since, empty, total, expected) in [
        ("no limits", Some(NOW - s(9999)), None, None, None),
        (
            "not yet empty for long",
            Some(NOW - s(59)),
            Some(60),
            None,
            None,
        ),
        (
            "empty for long",
            Some(NOW - s(60)),
            Some(60),
            None,
            Some("EmptyTooLong"),
        ),
        ("somebody there", None, Some(60), None, None),
        ("old", None, None, Some(98_000), Some("TooOld")),
        ("not yet old", None, None, Some(98_001), None),
    ] {
        let mut timed = pair();
        timed.sessions[0].empty_since = empty_since;
        timed.sessions[0].time_to_live = TimeToLive {
            empty: empty.map(s),
            total: total.map(s),
        };
        let expected: Vec<_> = expected
            .into_iter()
            .flat_map(|reason| {
                [
                    format!("expire a: {reason}"),
                    "fence a on c-0 up to 1: SessionEnded".into(),
                ]
            })
            .collect();
        assert_eq!(planned(timed), expected, "{title}");
    }
}

#[test]
fn a_container_that_began_anew_gets_its_session_again() {
    let mut fresh = pair();
    fresh.pods[0].sessions.clear();
    fresh.pods[1].address_known = false;
    assert_eq!(
        planned(fresh.clone()),
        ["move a from c-0 to c-0 as 2: SessionMissing"]
    );
    fresh.sessions[0].home = Some(Home {
        pod: "c-0".into(),
        since: NOW - s(1),
    });
    assert_eq!(planned(fresh), NOTHING, "it was placed just now");
}

#[test]
fn what_an_earlier_operator_placed_is_adopted() {
    let mut lost = pair();
    lost.pods[1].sessions = vec![Hosted::new("a".into(), Generation(4))];
    assert_eq!(
        planned(lost),
        [
            "adopt a on c-1 as 4: RunsAlready",
            "fence a on c-0 up to 1: OlderGeneration"
        ]
    );
}

/// Protects clusters without an operator: a gateway places anew what has lost its home, and nothing else.
#[test]
fn a_home_is_lost_by_the_rules_of_the_plan() {
    let silent = |seconds| {
        let mut pair = pair();
        pair.pods[0].last_seen = Some(NOW - s(seconds));
        pair
    };
    let lost = |observed: &Observed| lost_home(observed, &"a".into()).map(|reason| reason.name());
    assert_eq!(lost(&pair()), None);
    assert_eq!(lost(&silent(2)), None);
    assert_eq!(lost(&silent(3)), Some("HomeSilent"));
    assert_eq!(lost_home(&silent(3), &"b".into()), None, "nobody knows it");
    let mut gone = pair();
    gone.pods.remove(0);
    assert_eq!(lost(&gone), Some("HomeGone"));
    let mut draining = pair();
    draining.pods[0].drain = drain(DrainPhase::Draining, DrainCause::Requested, s(100));
    assert_eq!(lost(&draining), None, "it may finish");
    // Most of them at once: it may be who observes that is cut off.
    let mut many = silent(3);
    for ordinal in 2..4 {
        let mut other = pod(ordinal, 0.0);
        other.last_seen = Some(NOW - s(3));
        other.node = Some(format!("n{ordinal}").as_str().into());
        many.pods.push(other);
    }
    many.pods[1].node = Some("n1".into());
    assert_eq!(lost(&many), None);
}
