//! Upgrades whose pods find no node: of a pool that has all places, and by a template that fits nowhere.

mod common;

use common::*;
use mafalda_plan::*;
use proptest::prelude::*;

const NOTHING: [&str; 0] = [];

fn old(ordinal: u64) -> Pod {
    Pod {
        revision: "old".into(),
        anonymous: 1,
        ..pod(ordinal, 0.1)
    }
}

fn waits(ordinal: u64) -> Pod {
    Pod {
        ready_since: None,
        last_seen: None,
        node: None,
        unschedulable: true,
        created: NOW - s(60),
        ..pod(ordinal, 0.0)
    }
}

/// Ready since so long ago.
fn fresh(ordinal: u64, age: u64) -> Pod {
    Pod {
        ready_since: Some(NOW - s(age)),
        created: NOW - s(age + 10),
        anonymous: 1,
        ..pod(ordinal, 0.1)
    }
}

fn upgrade(pods: Vec<Pod>, made_room: Option<(&str, u64)>) -> Observed {
    let mut observed = observed(pods, vec![]);
    observed.cluster.pool = Pool {
        min: 3,
        max: 3,
        spare: 0,
    };
    observed.cluster.made_room = made_room.map(|(revision, age)| (revision.into(), NOW - s(age)));
    observed
}

/// Protects calls from a template that fits on no node, and upgrades from a pool that has all places:
/// one pod is given up, and another only when that has helped.
#[test]
fn one_pod_at_a_time_is_given_up_for_one_that_finds_no_node() {
    let three = || vec![old(0), old(1), old(2), waits(3)];
    let two = || vec![old(0), old(1), waits(3)];
    let helped = |age| vec![old(0), old(1), fresh(3, age), waits(4)];
    let makes_room = &["cordon c-0: MakesRoom"][..];
    let one_more = &["create c-100: Surge"][..];
    let next = &["cordon c-1: MakesRoom", "create c-100: NeedRises"][..];
    let nothing = &NOTHING[..];
    let (before, older) = (Some(("new", 90)), Some(("older", 90)));
    for (title, pods, made_room, expected) in [
        ("the pool is whole", three(), None, makes_room),
        ("one was given up already", two(), before, one_more),
        ("and nobody knows of it", two(), None, one_more),
        ("and another one is there", three(), before, nothing),
        ("it helped", helped(30), before, makes_room),
        (
            "it did not: that one was there before",
            helped(99),
            before,
            nothing,
        ),
        ("for another template", three(), older, makes_room),
        (
            "too few, and one has come up",
            helped(30).split_off(1),
            None,
            next,
        ),
    ] {
        assert_eq!(planned(upgrade(pods, made_room)), expected, "{title}");
    }
    // One that waits for something else than a node is no reason.
    let mut starts = upgrade(three(), None);
    starts.pods[3].unschedulable = false;
    assert_eq!(planned(starts), NOTHING);
}

/// A cluster with so many places for pods of the wanted revision, in which each drain ends.
struct Nodes {
    observed: Observed,
    places: usize,
}

impl Nodes {
    fn serving(&self) -> usize {
        let observed = &self.observed;
        let serves = |pod: &&Pod| pod.state(&observed.cluster, observed.now) == State::Available;
        observed.pods.iter().filter(serves).count()
    }

    /// Pods that its load needs now.
    fn need(&self) -> usize {
        let pods = self.observed.pods.iter().filter(|pod| pod.anonymous > 0);
        need(&self.observed.cluster, pods.map(Pod::measured).sum()) as usize
    }

    fn outdated(&self) -> usize {
        let is_old = |pod: &&Pod| pod.revision.as_str() == "old";
        self.observed.pods.iter().filter(is_old).count()
    }

    /// Half a minute: what was asked to end has ended, what finds a place serves.
    fn pass(&mut self) {
        let observed = &mut self.observed;
        observed.now += s(30);
        let now = observed.now;
        observed.pods.retain(|pod| pod.terminating_since.is_none());
        let mut taken = observed
            .pods
            .iter()
            .filter(|pod| pod.node.is_some())
            .count();
        for pod in &mut observed.pods {
            if pod.node.is_none() && taken < self.places {
                taken += 1;
                pod.node = Some("n".into());
                pod.unschedulable = false;
                pod.address_known = true;
                pod.mediasoup = Some("3.27.1".into());
                pod.ready_since = Some(now);
            }
            pod.unschedulable = pod.node.is_none();
            pod.last_seen = pod.node.is_some().then_some(now);
            if pod
                .drain
                .is_some_and(|drain| drain.phase == DrainPhase::Draining)
            {
                pod.anonymous = 0;
            }
        }
        let actions = plan(observed);
        observed.apply(&actions);
    }
}

fn nodes(pods: u64, min: u32, more: u32, places: usize) -> Nodes {
    let mut observed = observed((0..pods).map(old).collect(), vec![]);
    observed.cluster.pool = Pool {
        min,
        max: min.max(pods as u32) + more,
        spare: 0,
    };
    Nodes { observed, places }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Protects a pool from a template that fits on no node: it costs no more than one of the pods that
    /// are needed, whatever the operator forgets meanwhile.
    #[test]
    fn a_template_that_fits_nowhere_costs_one_pod(
        pods in 1..12u64,
        min in 1..12u32,
        more in 0..3u32,
        forgets in prop::collection::vec(prop::bool::weighted(0.1), 120),
    ) {
        let mut nodes = nodes(pods, min, more, 0);
        for forgets in forgets {
            nodes.pass();
            let (need, serving) = (nodes.need(), nodes.serving());
            prop_assert!(serving + 1 >= need.min(pods as usize), "{} of {} serve", serving, need);
            let waiting = nodes.observed.pods.iter().filter(|pod| pod.unschedulable).count();
            let surge = (min.max(2) as usize).div_ceil(4);
            prop_assert!(waiting <= min.max(2) as usize + surge, "{} wait for a node", waiting);
            if forgets {
                nodes.observed.cluster.made_room = None;
            }
        }
    }

    /// The same of one that fits on a few: those come up, and the others cost one pod.
    #[test]
    fn a_template_that_fits_on_few_nodes_costs_one_pod(
        pods in 1..12u64,
        min in 1..12u32,
        few in 0..4u64,
    ) {
        let mut nodes = nodes(pods, min, 0, (pods + few) as usize);
        for _ in 0..240 {
            nodes.pass();
            // What an old pod leaves is no place for a new one.
            nodes.places = nodes.outdated() + few as usize;
            let (need, serving) = (nodes.need(), nodes.serving());
            prop_assert!(serving + 1 >= need.min(pods as usize), "{} of {} serve", serving, need);
        }
    }

    /// Protects upgrades: with a pod on each node that could have one, all of it is replaced, one after
    /// the other.
    #[test]
    fn an_upgrade_without_a_free_place_comes_to_its_end(pods in 1..12u64, more in 0..4u32) {
        let mut nodes = nodes(pods, pods as u32, more, pods as usize);
        for _ in 0..40 * pods {
            nodes.pass();
            let serving = nodes.serving();
            prop_assert!(serving + 1 >= pods as usize, "{} serve", serving);
        }
        prop_assert_eq!(nodes.outdated(), 0);
        prop_assert_eq!(nodes.serving(), pods as usize);
    }
}
