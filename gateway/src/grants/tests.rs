use super::*;
use crate::nodes::tests::{at, nodes, report};

const STAGE: &str = "stage";

/// A hot session on `a` that wants more, and what its lenders say of when they were used.
fn hot(generation: u64, lenders: &[(&str, Option<u64>)]) -> Report {
    let mut report = report(0.9, &[(STAGE, generation)]);
    let session = &mut report.sessions[0];
    session.wants_more = true;
    session.expected_participants = Some(40);
    session.pods = lenders
        .iter()
        .map(|(name, unused_since)| crate::report::Lender {
            name: (*name).to_owned(),
            unused_since: *unused_since,
        })
        .collect();
    report
}

fn cool(mut report: Report) -> Report {
    report.sessions[0].wants_more = false;
    report
}

/// Nodes `a`, `b` and `c`, of which `a` said that.
fn three(said: Report) -> Nodes {
    let mut nodes = nodes(&["a", "b", "c"]);
    nodes.report(&"a".into(), said, at(0));
    nodes.report(&"b".into(), report(0.2, &[]), at(0));
    nodes.report(&"c".into(), report(0.1, &[]), at(0));
    nodes
}

/// What is due, as `stage: b c, WorkersHot`.
fn notes(nodes: &Nodes, unused: &mut Unused, seconds: u64) -> Vec<String> {
    let note = |change: Change| {
        let pods = change.pods.iter().filter_map(|pod| pod["name"].as_str());
        let reasons = change.reasons.iter().map(|(_, reason)| reason.name());
        let (pods, reasons): (Vec<_>, Vec<_>) = (pods.collect(), reasons.collect());
        format!(
            "{}: {}, {}",
            change.session,
            pods.join(" "),
            reasons.join(" ")
        )
    };
    due(nodes, unused, 0.6, at(seconds))
        .into_iter()
        .map(note)
        .collect()
}

#[test]
fn a_hot_session_is_granted_one_node_after_the_other() {
    let now = |said| notes(&three(said), &mut Unused::default(), 0);
    assert_eq!(now(hot(1, &[])), ["stage: c, WorkersHot"]);
    assert_eq!(
        now(hot(1, &[])),
        now(hot(1, &[])),
        "each gateway decides alike"
    );
    assert_eq!(now(hot(1, &[("c", None)])), ["stage: c b, WorkersHot"]);
    assert!(
        now(hot(1, &[("c", Some(9))])).is_empty(),
        "c is not used yet"
    );
    assert!(
        now(hot(1, &[("c", None), ("b", None)])).is_empty(),
        "no more are there"
    );
    let with = |change: fn(&mut Session)| {
        let mut said = hot(1, &[]);
        change(&mut said.sessions[0]);
        now(said)
    };
    assert!(with(|session| session.wants_more = false).is_empty());
    assert!(with(|session| session.max_pods = Some(1)).is_empty());
    assert!(
        with(|session| session.expected_participants = Some(2)).is_empty(),
        "it is small"
    );
    assert_eq!(
        with(|session| session.expected_participants = None).len(),
        1
    );
}

#[test]
fn a_node_that_is_full_drains_or_is_silent_lends_nothing() {
    let mut nodes = three(hot(1, &[]));
    let mut draining = report(0.0, &[]);
    draining.draining = true;
    nodes.report(&"c".into(), draining, at(0));
    let mut full = report(0.5, &[]);
    full.connections.attached = 1;
    nodes.report(&"b".into(), full, at(0));
    assert!(notes(&nodes, &mut Unused::default(), 0).is_empty());
    nodes.report(&"b".into(), report(0.5, &[]), at(0));
    assert_eq!(
        notes(&nodes, &mut Unused::default(), 0),
        ["stage: b, WorkersHot"]
    );
    nodes.alive(&"a".into(), at(3));
    nodes.alive(&"c".into(), at(3));
    assert!(notes(&nodes, &mut Unused::default(), 3).is_empty());
}

/// Protects sessions from hosts whose clocks differ: the time is counted here.
#[test]
fn what_is_not_used_is_returned_after_a_while_by_the_gateways_own_clock() {
    let mut nodes = three(cool(hot(1, &[("c", Some(5))])));
    let mut unused = Unused::default();
    for seconds in [0, 29, 30] {
        for name in ["a", "b", "c"] {
            nodes.alive(&name.into(), at(seconds));
        }
        let expected: &[&str] = match seconds {
            30 => &["stage: , LenderUnused"],
            _ => &[],
        };
        assert_eq!(notes(&nodes, &mut unused, seconds), expected, "{seconds} s");
    }
    // It was used in the meantime: that begins anew.
    nodes.report(&"a".into(), cool(hot(1, &[("c", Some(6))])), at(30));
    assert!(notes(&nodes, &mut unused, 30).is_empty());
    nodes.report(&"a".into(), hot(1, &[("c", Some(5))]), at(30));
    assert!(
        notes(&nodes, &mut unused, 30).is_empty(),
        "not while it wants more"
    );
}

#[test]
fn lenders_that_drain_or_are_gone_are_returned() {
    let said = || cool(hot(1, &[("c", None)]));
    let mut draining = report(0.0, &[]);
    draining.draining = true;
    let mut nodes = three(said());
    nodes.report(&"c".into(), draining, at(0));
    assert_eq!(
        notes(&nodes, &mut Unused::default(), 0),
        ["stage: , LenderDrains"]
    );

    let mut nodes = three(said());
    nodes.refuses(&"c".into(), at(0));
    assert_eq!(
        notes(&nodes, &mut Unused::default(), 0),
        ["stage: , LenderGone"]
    );

    // Taken off the list.
    let mut nodes = three(said());
    let left = nodes.all().map(|node| node.listed.clone());
    let left = left.filter(|node| node.name != "c".into()).collect();
    nodes.set(left, at(0));
    assert_eq!(
        notes(&nodes, &mut Unused::default(), 0),
        ["stage: , LenderGone"]
    );

    // On the list of another gateway: theirs to take back while it is used.
    let nodes = three(cool(hot(1, &[("x", None)])));
    assert!(notes(&nodes, &mut Unused::default(), 0).is_empty());
}

#[test]
fn nodes_are_told_of_by_the_names_they_have_for_each_other() {
    let mut named = report(0.0, &[]);
    named.pod.name = "n3".to_owned();
    let mut nodes = three(hot(1, &[("n3", None)]));
    nodes.report(&"c".into(), named, at(0));
    let changes = due(&nodes, &mut Unused::default(), 0.6, at(0));
    let [change] = &changes[..] else {
        panic!("{changes:?}");
    };
    assert_eq!(change.before, ["n3"]);
    assert_eq!(change.pods[0]["name"], "n3");
    assert_eq!(change.pods[0]["url"], "ws://c:4400");
    assert_eq!(change.pods[1]["name"], "b");
}

#[test]
fn a_session_whose_home_is_lost_is_placed_anew_and_no_other() {
    let next = |nodes: &Nodes, seconds| super::next(nodes, STAGE, 0.6, at(seconds));
    let mut nodes = three(hot(4, &[]));
    assert_eq!(next(&nodes, 0), Next::Wait, "it answers");
    assert_eq!(super::next(&nodes, "other", 0.6, at(0)), Next::Stays);
    let placed = |next| match next {
        Next::Place(generation, reason) => Some((generation.0, reason.name())),
        _ => None,
    };
    // Silent, while the others answer.
    nodes.alive(&"b".into(), at(3));
    nodes.alive(&"c".into(), at(3));
    assert_eq!(placed(next(&nodes, 3)), Some((5, "HomeSilent")));
    // All are: it may be the gateway that is cut off.
    assert_eq!(next(&nodes, 6), Next::Unsure("a".into()));
    // Nobody listens there.
    let mut nodes = three(hot(4, &[]));
    nodes.refuses(&"a".into(), at(0));
    assert_eq!(placed(next(&nodes, 0)), Some((5, "HomeSilent")));
}

/// Protects a session from a gateway that does not know what others do: another node may be its home.
#[test]
fn what_a_gateway_does_not_know_it_does_not_place_anew() {
    let mut nodes = nodes(&["a", "b", "c"]);
    nodes.report(&"a".into(), hot(4, &[]), at(0));
    nodes.report(&"b".into(), report(0.2, &[]), at(0));
    nodes.refuses(&"a".into(), at(0));
    let next = |nodes: &Nodes| super::next(nodes, STAGE, 0.6, at(0));
    assert_eq!(next(&nodes), Next::Unsure("c".into()));
    nodes.refuses(&"c".into(), at(0));
    assert!(matches!(next(&nodes), Next::Place(Generation(5), _)));
}
