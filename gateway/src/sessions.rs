//! Which node is a session's home, which generation is next, and which copies of a session must go. Pure.

use crate::nodes::Nodes;
use mafalda_plan::{Generation, PodName};
use std::collections::BTreeMap;
use std::time::Duration;

/// The longest name of a session, in characters: that of a Kubernetes object.
const LONGEST_NAME: usize = 253;

/// Whether a session can have that name.
pub fn is_name(name: &str) -> bool {
    let fits = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.');
    (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(fits)
}

/// Where a session runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    /// The node.
    pub pod: PodName,
    /// How often it was placed.
    pub generation: Generation,
}

/// Who says where sessions run.
#[derive(Clone, Debug)]
pub enum Directory {
    /// The nodes themselves: of several the one with the highest generation.
    Nodes,
    /// Somebody who places them: Kubernetes. `None` until it was heard.
    Told(Option<BTreeMap<String, Home>>),
}

impl Directory {
    /// Where a session runs, as far as anybody knows. The node may be silent.
    pub fn home(&self, nodes: &Nodes, name: &str) -> Option<Home> {
        match self {
            Self::Told(homes) => homes.as_ref()?.get(name).cloned(),
            Self::Nodes => homes(nodes, name).next_back(),
        }
    }

    /// All sessions with their homes.
    pub fn all(&self, nodes: &Nodes) -> BTreeMap<String, Home> {
        match self {
            Self::Told(homes) => homes.clone().unwrap_or_default(),
            Self::Nodes => {
                // As `homes` has it, in one go.
                let mut last: BTreeMap<&str, (u64, u64, &PodName)> = BTreeMap::new();
                for node in nodes.all() {
                    let sessions = node.report.as_ref().map(|report| report.sessions.iter());
                    for session in sessions.into_iter().flatten() {
                        let said = (session.generation, session.created_at, &node.listed.name);
                        let known = last.entry(&session.name).or_insert(said);
                        *known = said.max(*known);
                    }
                }
                let home = |(name, (generation, _, pod)): (&str, (u64, u64, &PodName))| {
                    let home = Home {
                        pod: pod.clone(),
                        generation: Generation(generation),
                    };
                    (name.to_owned(), home)
                };
                last.into_iter().map(home).collect()
            }
        }
    }
}

/// All nodes that say they run a session, its home last: the newest generation, and of one generation the
/// youngest, as who placed it later knew no other.
fn homes(nodes: &Nodes, name: &str) -> std::vec::IntoIter<Home> {
    let mut homes: Vec<_> = nodes
        .all()
        .flat_map(|node| {
            let report = node.report.as_ref();
            let sessions = report.map(|report| report.sessions.as_slice());
            sessions
                .unwrap_or_default()
                .iter()
                .filter(|session| session.name == name)
                .map(|session| {
                    (
                        session.generation,
                        session.created_at,
                        node.listed.name.clone(),
                    )
                })
        })
        .collect();
    homes.sort();
    let home = |(generation, _, pod)| Home {
        pod,
        generation: Generation(generation),
    };
    homes.into_iter().map(home).collect::<Vec<_>>().into_iter()
}

/// A session that a node runs though its home is another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stray {
    /// The node.
    pub pod: PodName,
    /// The session.
    pub session: String,
    /// The generation that it has at home: what is there of it or an older one must go.
    pub generation: Generation,
}

/// Sessions that nodes which answer run though their home is another one that answers.
pub fn strays(nodes: &Nodes, now: Duration) -> Vec<Stray> {
    let answers = |name: &PodName| {
        nodes
            .get(name)
            .is_some_and(|node| node.state(now).answers())
    };
    let mut strays = Vec::new();
    for (session, home) in Directory::Nodes.all(nodes) {
        if !answers(&home.pod) {
            continue;
        }
        let others = homes(nodes, &session).filter(|other| other.pod != home.pod);
        strays.extend(
            others
                .filter(|other| answers(&other.pod))
                .map(|other| Stray {
                    pod: other.pod,
                    session: session.clone(),
                    generation: home.generation,
                }),
        );
    }
    strays
}

/// What is to be done when a session is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Put {
    /// It is there: its home decides.
    AtHome(Home),
    /// It is placed on a node, with this generation.
    Place(Generation),
    /// A newer generation is known.
    Older(Home),
}

/// Decides on a wish for a session; `asked` is the generation that it names, if any.
pub fn put(nodes: &Nodes, name: &str, asked: Option<Generation>, now: Duration) -> Put {
    let Some(home) = Directory::Nodes.home(nodes, name) else {
        return Put::Place(asked.unwrap_or(Generation(1)));
    };
    if asked.is_some_and(|asked| asked < home.generation) {
        return Put::Older(home);
    }
    let node = nodes.get(&home.pod);
    if node.is_some_and(|node| node.state(now).answers()) {
        return Put::AtHome(home);
    }
    Put::Place(asked.unwrap_or_default().max(home.generation.next()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodes::tests::{at, nodes, report};

    fn home(pod: &str, generation: u64) -> Home {
        Home {
            pod: pod.into(),
            generation: Generation(generation),
        }
    }

    #[test]
    fn the_newest_generation_is_at_home() {
        let mut nodes = nodes(&["a", "b", "c"]);
        nodes.report(&"a".into(), report(0.1, &[("s", 3), ("t", 1)]), at(0));
        nodes.report(&"b".into(), report(0.1, &[("s", 2)]), at(0));
        assert_eq!(Directory::Nodes.home(&nodes, "s"), Some(home("a", 3)));
        assert_eq!(Directory::Nodes.home(&nodes, "u"), None);
        assert_eq!(Directory::Nodes.all(&nodes).len(), 2);
        let stray = Stray {
            pod: "b".into(),
            session: "s".to_owned(),
            generation: Generation(3),
        };
        assert_eq!(strays(&nodes, at(0)), [stray]);
        nodes.alive(&"b".into(), at(3));
        assert_eq!(strays(&nodes, at(3)), [], "the home may be gone for good");
    }

    #[test]
    fn of_one_generation_the_youngest_is_at_home() {
        let mut nodes = nodes(&["a", "b"]);
        let mut young = report(0.1, &[("s", 1)]);
        young.sessions[0].created_at = 9;
        nodes.report(&"a".into(), young, at(0));
        nodes.report(&"b".into(), report(0.1, &[("s", 1)]), at(0));
        assert_eq!(Directory::Nodes.home(&nodes, "s"), Some(home("a", 1)));
        assert_eq!(strays(&nodes, at(0))[0].pod, "b".into());
        assert_eq!(Directory::Nodes.all(&nodes)["s"], home("a", 1));
    }

    #[test]
    fn a_session_is_placed_once_and_anew_when_its_home_is_gone() {
        let mut nodes = nodes(&["a", "b"]);
        let asked = |generation| Some(Generation(generation));
        assert_eq!(put(&nodes, "s", None, at(0)), Put::Place(Generation(1)));
        assert_eq!(put(&nodes, "s", asked(7), at(0)), Put::Place(Generation(7)));
        nodes.report(&"a".into(), report(0.1, &[("s", 2)]), at(0));
        assert_eq!(put(&nodes, "s", None, at(0)), Put::AtHome(home("a", 2)));
        assert_eq!(put(&nodes, "s", asked(3), at(0)), Put::AtHome(home("a", 2)));
        assert_eq!(put(&nodes, "s", asked(1), at(0)), Put::Older(home("a", 2)));
        // Silent.
        assert_eq!(put(&nodes, "s", None, at(3)), Put::Place(Generation(3)));
        assert_eq!(put(&nodes, "s", asked(9), at(3)), Put::Place(Generation(9)));
        assert_eq!(put(&nodes, "s", asked(1), at(3)), Put::Older(home("a", 2)));
    }

    #[test]
    fn who_is_told_of_homes_asks_no_node() {
        let mut nodes = nodes(&["a"]);
        nodes.report(&"a".into(), report(0.1, &[("s", 2)]), at(0));
        let told = [("s".to_owned(), home("b", 3))].into();
        assert_eq!(
            Directory::Told(Some(told)).home(&nodes, "s"),
            Some(home("b", 3))
        );
        assert_eq!(Directory::Told(None).home(&nodes, "s"), None);
    }

    #[test]
    fn names_are_those_of_kubernetes() {
        for name in ["a", "a-b.c1", &"a".repeat(253)] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "A", "a/b", "a b", "ä", &"a".repeat(254)] {
            assert!(!is_name(name), "{name}");
        }
    }
}
