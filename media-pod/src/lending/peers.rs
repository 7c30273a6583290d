//! Which pods lend to whom.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// A pod that lends.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Peer {
    /// What no other pod is called.
    pub name: String,
    /// `ws://host:port` or `wss://host:port`.
    pub url: String,
    /// Its zone, if somebody said so.
    #[serde(default)]
    pub zone: String,
    /// Its region.
    #[serde(default)]
    pub region: String,
}

/// Pods that lend to somebody, and what to show them.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Grant {
    /// The pods.
    #[serde(default)]
    pub pods: Vec<Peer>,
    /// A token that they take; else the pod's own setting.
    #[serde(default)]
    pub token: Option<String>,
}

/// Which pods lend to whom, and tells when that changes.
#[derive(Default)]
pub struct Peers {
    state: Mutex<State>,
    changes: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    to_all: Grant,
    to_sessions: HashMap<String, Grant>,
    /// How it stands with the connection to each, by name.
    connections: HashMap<String, ConnectionState>,
}

/// How it stands with the connection to a pod that lends.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionState {
    /// Whether there is one.
    pub connected: bool,
    /// Why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// A pod that lends, and how it stands with it.
#[derive(Clone, Debug, Serialize)]
pub struct PeerState {
    #[serde(flatten)]
    peer: Peer,
    #[serde(flatten)]
    connection: ConnectionState,
}

impl Peers {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// These lend to every virtual worker.
    pub fn lend_to_all(&self, grant: Grant) {
        self.state().to_all = grant;
        self.changed();
    }

    /// These lend to the virtual workers of a session.
    pub fn lend_to_session(&self, session: &str, grant: Grant) {
        {
            let mut state = self.state();
            if grant.pods.is_empty() {
                state.to_sessions.remove(session);
            } else {
                state.to_sessions.insert(session.to_owned(), grant);
            }
        }
        self.changed();
    }

    fn changed(&self) {
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// Tells of changes.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Whether the pod lends to a virtual worker of that session, or of none.
    pub fn lends(&self, pod: &str, session: Option<&str>) -> bool {
        let state = self.state();
        let has = |grant: &Grant| grant.pods.iter().any(|peer| peer.name == pod);
        let of_session = session.and_then(|session| state.to_sessions.get(session));
        has(&state.to_all) || of_session.is_some_and(has)
    }

    /// Notes how it stands with the connection to a pod.
    pub fn connection(&self, pod: &str, state: ConnectionState) {
        self.state().connections.insert(pod.to_owned(), state);
    }

    /// All pods that lend to somebody, but for the one called `own`, and how it stands with each.
    pub fn states(&self, own: &str) -> Vec<PeerState> {
        let wanted = self.wanted(own);
        let state = self.state();
        let of = |peer: Peer| PeerState {
            connection: state
                .connections
                .get(&peer.name)
                .cloned()
                .unwrap_or_default(),
            peer,
        };
        wanted.into_keys().map(of).collect()
    }

    /// Why the pods that are not connected are not, in one line.
    pub fn problems(&self) -> String {
        let state = self.state();
        let mut problems: Vec<String> = state
            .connections
            .iter()
            .filter_map(|(pod, state)| Some(format!("{pod}: {}", state.problem.as_ref()?)))
            .collect();
        problems.sort();
        problems.join("; ")
    }

    /// All pods that lend to somebody, but for the one called `own`, each with the token to show it.
    pub fn wanted(&self, own: &str) -> BTreeMap<Peer, Option<String>> {
        let state = self.state();
        let grants = state.to_sessions.values().chain([&state.to_all]);
        let mut wanted = BTreeMap::new();
        for grant in grants {
            for peer in grant.pods.iter().filter(|peer| peer.name != own) {
                let token: &mut Option<String> = wanted.entry(peer.clone()).or_default();
                if grant.token.is_some() {
                    token.clone_from(&grant.token);
                }
            }
        }
        wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(names: &[&str], token: Option<&str>) -> Grant {
        let peer = |name: &&str| Peer {
            name: (*name).to_owned(),
            url: format!("ws://{name}:4400"),
            zone: String::new(),
            region: String::new(),
        };
        Grant {
            pods: names.iter().map(peer).collect(),
            token: token.map(str::to_owned),
        }
    }

    #[test]
    fn a_pod_lends_to_those_it_was_granted_to() {
        let peers = Peers::default();
        let changes = peers.changes();
        peers.lend_to_all(grant(&["a", "own"], None));
        peers.lend_to_session("stage", grant(&["a", "b"], Some("secret")));
        assert!(changes.has_changed().unwrap());
        assert!(peers.lends("a", None) && peers.lends("a", Some("other")));
        assert!(peers.lends("b", Some("stage")));
        assert!(!peers.lends("b", None) && !peers.lends("b", Some("other")));
        let wanted = peers.wanted("own");
        let wanted: Vec<_> = wanted
            .iter()
            .map(|(peer, token)| (peer.name.as_str(), token.as_deref()))
            .collect();
        assert_eq!(wanted, [("a", Some("secret")), ("b", Some("secret"))]);

        peers.lend_to_session("stage", grant(&[], None));
        assert!(!peers.lends("b", Some("stage")));
        assert_eq!(peers.wanted("own").len(), 1);
    }
}
