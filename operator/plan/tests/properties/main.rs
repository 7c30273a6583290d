//! What holds whatever happens to a cluster.

#[path = "../common/mod.rs"]
mod common;
mod model;

use common::{notes, observed, pod, s};
use mafalda_plan::*;
use model::{Model, event};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

fn find<'a>(observed: &'a Observed, name: &PodName) -> Option<&'a Pod> {
    observed.pods.iter().find(|pod| pod.name == *name)
}

fn state(observed: &Observed, pod: &Pod) -> State {
    pod.state(&observed.cluster, observed.now)
}

fn in_state(observed: &Observed, states: &[State]) -> u32 {
    let fits = |pod: &&Pod| states.contains(&state(observed, pod));
    observed.pods.iter().filter(fits).count() as u32
}

/// Each session has a home that serves it, or waits with a reason.
fn no_session_is_lost(before: &Observed, after: &Observed, held: bool) {
    assert_eq!(before.sessions.len(), after.sessions.len());
    for session in &after.sessions {
        let name = &session.name;
        match session.phase {
            SessionPhase::Ended => {
                let life = session.time_to_live;
                assert!(life.empty.is_some() || life.total.is_some(), "{name} ended");
            }
            SessionPhase::Pending if session.home.is_none() => {
                assert!(session.waiting.is_some(), "{name} waits without a reason");
            }
            SessionPhase::Pending => {}
            SessionPhase::Active => {
                let home = session.home.as_ref().expect("an active session's home");
                let pod = find(after, &home.pod);
                let serves = pod.is_some_and(|pod| match state(after, pod) {
                    State::Failed => false,
                    State::Suspect => held && !pod.down,
                    _ => true,
                });
                assert!(serves, "{name} is on {} that serves nobody", home.pod);
            }
        }
    }
}

/// Nothing goes to a pod that must not have it, and nothing leaves a pod that is well.
fn placements_are_right(before: &Observed, after: &Observed, actions: &[Action]) {
    for action in actions {
        let (session, pod, from) = match &action.step {
            Step::PlaceSession { session, pod, .. } => (session, pod, None),
            Step::MoveSession {
                session, from, to, ..
            } => (session, to, Some(from)),
            _ => continue,
        };
        let wants = &before
            .sessions
            .iter()
            .find(|other| other.name == *session)
            .expect("a placed session")
            .hints;
        // It may be cordoned after, not before: see that no drain was asked for.
        let mut pod = find(after, pod).expect("a pod that is there").clone();
        if is_cordoned_by(actions, &pod.name) {
            pod.drain = None;
        }
        assert_eq!(state(after, &pod), State::Available, "{action:?}");
        assert!(pod.address_known && pod.ready_since.is_some());
        assert!(!pod.drain_requested);
        let worse = wishes_missed(wants, &pod);
        for other in &after.pods {
            let was = find(before, &other.name);
            if was.is_some_and(|was| is_free(before, was)) && is_free(after, other) {
                let missed = wishes_missed(wants, other);
                assert!(worse <= missed, "{} is better: {action:?}", other.name);
            }
        }
        let left = from.and_then(|from| find(before, from));
        if let Some(left) = left.filter(|left| state(before, left) == State::Available) {
            let runs = left
                .sessions
                .iter()
                .any(|hosted| hosted.session == *session);
            let missing = matches!(action.reason, Reason::SessionMissing { .. });
            assert!(
                missing && !runs || left.deadline(&before.cluster).is_some(),
                "{action:?}"
            );
        }
    }
}

/// What of a session's wishes a pod does not fulfil, the most important first.
fn wishes_missed(wants: &Hints, pod: &Pod) -> (bool, bool, usize) {
    let foreign = wants.mediasoup.is_some() && wants.mediasoup != pod.mediasoup;
    let far = wants.region.is_some() && wants.region != pod.region;
    let has = |(key, value): &(&String, &String)| pod.node_labels.get(*key) == Some(*value);
    let lacks = wants.node_labels.len() - wants.node_labels.iter().filter(has).count();
    (foreign, far, lacks)
}

/// Whether a pod would take any session: it serves and is nobody's.
fn is_free(observed: &Observed, pod: &Pod) -> bool {
    let is_its = |session: &Session| {
        let home = session.home.as_ref().map(|home| &home.pod);
        let mut pods = home
            .into_iter()
            .chain(session.lenders.iter().map(|l| &l.pod));
        session.phase != SessionPhase::Ended && pods.any(|name| *name == pod.name)
    };
    let is_anybodys = pod.anonymous > 0 || observed.sessions.iter().any(is_its);
    state(observed, pod) == State::Available && !is_anybodys
}

/// The pool is as large as it has to be, and no larger than it may be.
fn pool_is_bounded(before: &Observed, after: &Observed, actions: &[Action]) {
    use State::{Addressless, Available, Cordoned, Draining, Starting, Stuck, Suspect};
    let pool = before.cluster.pool;
    let there = [Available, Addressless, Starting, Stuck, Cordoned, Draining];
    let present = in_state(after, &there);
    let created = actions
        .iter()
        .any(|action| matches!(action.step, Step::CreatePod { .. }));
    let replaced = after.pods.iter().any(|pod| {
        let cause = pod.drain.map(|drain| drain.cause);
        pod.revision != before.cluster.revision
            || matches!(cause, Some(DrainCause::Outdated | DrainCause::Requested))
    });
    if created {
        let surge = (f64::from(pool.max) * SURGE).ceil().max(1.0) as u32;
        let most = pool.max + if replaced { surge } else { 0 };
        assert!(present <= most, "{present} of {most}: {:?}", notes(actions));
    }
    let serving = in_state(after, &[Available, Starting, Addressless, Suspect]);
    // Where one finds no node, another would not.
    let is_current = |pod: &&Pod| pod.revision == after.cluster.revision;
    let waits = |pod: &&Pod| pod.unschedulable && state(after, pod) == Stuck;
    let waiting = after.pods.iter().filter(is_current).filter(waits).count();
    let enough = serving + waiting as u32 >= pool.min || present >= pool.max;
    assert!(enough, "{serving} serve, {} have to", pool.min);
    let falls = |action: &Action| matches!(action.reason, Reason::NeedFalls { .. });
    let both = created && actions.iter().any(falls);
    assert!(!both, "up and down at once: {:?}", notes(actions));
    for action in actions {
        let Step::CancelDrain { pod } = &action.step else {
            continue;
        };
        let returns = matches!(action.reason, Reason::NeedReturns { .. });
        let flaps = returns && is_cordoned_by(actions, pod);
        assert!(!flaps, "to and fro: {:?}", notes(actions));
    }
}

/// Whether these actions begin a drain of the pod.
fn is_cordoned_by(actions: &[Action], pod: &PodName) -> bool {
    let cordons = |action: &Action| matches!(&action.step, Step::CordonPod { pod: other, .. } if other == pod);
    actions.iter().any(cordons)
}

/// A session is lent workers of pods that serve, of its own release, and no more than it may have.
fn lending_is_right(before: &Observed, after: &Observed, actions: &[Action]) {
    for action in actions {
        let Step::GrantPod { session, pod } = &action.step else {
            continue;
        };
        let session = after.sessions.iter().find(|other| other.name == *session);
        let session = session.expect("a session that was lent something");
        let home = find(after, &session.home.as_ref().expect("its home").pod).expect("a home");
        let pod = find(after, pod).expect("a pod that is there");
        assert_eq!(state(after, pod), State::Available, "{action:?}");
        assert_eq!(pod.mediasoup, home.mediasoup);
        assert!(!is_held(before), "{action:?}");
    }
    for session in &after.sessions {
        let lenders: BTreeSet<_> = session.lenders.iter().map(|lender| &lender.pod).collect();
        assert_eq!(
            lenders.len(),
            session.lenders.len(),
            "one twice: {session:?}"
        );
        assert!(
            lenders.len() < session.max_pods as usize,
            "too many: {session:?}"
        );
        let home = session.home.as_ref().map(|home| &home.pod);
        assert!(
            home.is_none_or(|home| !lenders.contains(home)),
            "{session:?}"
        );
        if session.phase != SessionPhase::Active {
            continue;
        }
        for lender in lenders {
            let pod = find(after, lender).expect("a lender that is there");
            let goes = matches!(
                state(after, pod),
                State::Failed | State::Cordoned | State::Draining
            );
            assert!(!goes, "{} lends on", pod.name);
        }
    }
}

/// A drain is over at its deadline.
fn drains_end(after: &Observed) {
    for pod in &after.pods {
        let deadline = pod.deadline(&after.cluster);
        let late = deadline.is_some_and(|deadline| deadline <= after.now);
        assert!(!late || !pod.is_running(), "{} drains on", pod.name);
    }
}

/// Whether so many pods are silent, on so many nodes, that it may be the operator.
fn is_held(observed: &Observed) -> bool {
    let asked = |pod: &&Pod| pod.is_running() && !pod.down && pod.last_seen.is_some();
    let asked: Vec<&Pod> = observed.pods.iter().filter(asked).collect();
    let is_silent = |pod: &Pod| state(observed, pod) == State::Suspect;
    let silent = asked.iter().filter(|pod| is_silent(pod)).count();
    let nodes: BTreeSet<_> = asked.iter().map(|pod| &pod.node).collect();
    let answers = |node: &&&Option<NodeName>| {
        let here = |pod: &&&Pod| pod.node == ***node;
        asked.iter().filter(here).any(|pod| !is_silent(pod))
    };
    let lit = nodes.iter().filter(answers).count();
    silent >= 3 && silent * 2 > asked.len() && (nodes.len() - lit) * 2 > nodes.len()
}

proptest! {
    // What failed once belongs in a table with a name, not in a file of seeds.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens(events in prop::collection::vec(event(), 1..120)) {
        let mut model = Model::new();
        for event in events {
            model.happen(event);
            model.poll();
            let before = model.observed.clone();
            let actions = plan(&before);
            prop_assert_eq!(&plan(&before), &actions, "the same again");
            let mut after = before.clone();
            after.apply(&actions);
            let again = plan(&after);
            prop_assert!(again.is_empty(), "{:?}, then {:?}", notes(&actions), notes(&again));
            no_session_is_lost(&before, &after, is_held(&before));
            placements_are_right(&before, &after, &actions);
            pool_is_bounded(&before, &after, &actions);
            drains_end(&after);
            lending_is_right(&before, &after, &actions);
            model.carry_out(&actions);
        }
    }

    /// The load of a pool that has found its size goes up and down by a little.
    #[test]
    fn noise_does_not_flap(
        loads in prop::collection::vec(0.0..1.0f64, 1..12),
        noise in prop::collection::vec(-0.01..0.01f64, 40),
    ) {
        let pods = loads.iter().zip(0..).map(|(&load, ordinal)| Pod {
            anonymous: 1,
            ..pod(ordinal, load)
        });
        let mut observed = observed(pods.collect(), vec![]);
        let mut changes: BTreeMap<&str, u32> = BTreeMap::new();
        for noise in noise {
            observed.now += s(10);
            for (pod, &load) in observed.pods.iter_mut().zip(&loads) {
                // Pods that are made stay empty.
                pod.cpu = vec![(load + noise) / 2.0; 2];
            }
            for pod in &mut observed.pods {
                pod.ready_since = pod.ready_since.or(Some(observed.now));
                pod.last_seen = Some(observed.now);
                pod.address_known = true;
            }
            let actions = plan(&observed);
            for action in &actions {
                *changes.entry(action.reason.name()).or_default() += 1;
            }
            observed.apply(&actions);
        }
        let grew = changes.contains_key("NeedRises");
        let fell = changes.contains_key("NeedFalls");
        let returned = changes.contains_key("NeedReturns");
        prop_assert!(!(returned || grew && fell), "{:?}", changes);
    }

    /// A drain that is cancelled leaves the pod as it was.
    #[test]
    fn a_cancelled_drain_restores(load in 0.0..0.6f64, age in 0u64..3599, draining: bool) {
        let well = Pod { anonymous: 1, ..pod(0, load) };
        let phase = if draining { DrainPhase::Draining } else { DrainPhase::Cordoned };
        let leaving = Pod {
            drain: common::drain(phase, DrainCause::ScaleDown, s(age)),
            ..well.clone()
        };
        let mut observed = observed(vec![leaving], vec![]);
        let actions = plan(&observed);
        prop_assert_eq!(notes(&actions), vec!["cancel c-0: NeedReturns"]);
        observed.apply(&actions);
        let restored = Pod { restored_at: Some(observed.now), ..well };
        prop_assert_eq!(&observed.pods[0], &restored);
    }
}
