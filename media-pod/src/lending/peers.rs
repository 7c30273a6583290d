//! Which pods lend to whom.

use super::kept::Wanted;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// A pod that lends.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
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
    /// As [`Granted::serial`].
    to_all_serial: u64,
    to_sessions: BTreeMap<String, Granted>,
    /// How many grants there were.
    grants: u64,
    /// How it stands with the connection to each, by name.
    connections: HashMap<String, ConnectionState>,
}

/// What a session was granted.
struct Granted {
    grant: Grant,
    /// The later grant has the higher.
    serial: u64,
    /// The pods that have nothing of it, and since when, in seconds since 1970.
    unused: HashMap<String, u64>,
}

/// A pod that lends to a session.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LenderState {
    /// What it is called.
    pub name: String,
    /// Since when it has nothing of the session, in seconds since 1970.
    pub unused_since: Option<u64>,
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
        {
            let mut state = self.state();
            state.to_all_serial = state.next_grant();
            state.to_all = grant;
        }
        self.changed();
    }

    /// These lend to the virtual workers of a session from now on, and no others do, although they lend to
    /// all: also if these are none. `now` is the time since 1970.
    pub fn lend_to_session(&self, session: &str, grant: Grant, now: Duration) {
        {
            let mut state = self.state();
            let before = state.to_sessions.remove(session);
            let known = |pod: &str| {
                let before = before.as_ref()?;
                let lent = before.grant.pods.iter().any(|peer| peer.name == pod);
                lent.then(|| before.unused.get(pod).copied())
            };
            let since = |peer: &Peer| {
                let since = known(&peer.name).unwrap_or(Some(now.as_secs()));
                Some((peer.name.clone(), since?))
            };
            let unused = grant.pods.iter().filter_map(since).collect();
            let serial = state.next_grant();
            let granted = Granted {
                grant,
                serial,
                unused,
            };
            state.to_sessions.insert(session.to_owned(), granted);
        }
        self.changed();
    }

    /// A session is no more.
    pub fn forget_session(&self, session: &str) {
        self.state().to_sessions.remove(session);
        self.changed();
    }

    /// The sessions that pods lend to.
    pub fn sessions(&self) -> Vec<String> {
        let state = self.state();
        let granted = state.to_sessions.iter();
        let granted = granted.filter(|(_, granted)| !granted.grant.pods.is_empty());
        granted.map(|(session, _)| session.clone()).collect()
    }

    /// Notes on which pods something of the session is, and whether it wants more: for that time what
    /// is not used yet counts as not used from now on. `now` is the time since 1970.
    pub fn note_use(
        &self,
        session: &str,
        used: &BTreeSet<Arc<str>>,
        wants_more: bool,
        now: Duration,
    ) {
        if let Some(Granted { grant, unused, .. }) = self.state().to_sessions.get_mut(session) {
            if wants_more {
                unused.clear();
            }
            unused.retain(|pod, _| !used.contains(pod.as_str()));
            for peer in &grant.pods {
                if !used.contains(peer.name.as_str()) {
                    unused.entry(peer.name.clone()).or_insert(now.as_secs());
                }
            }
        }
    }

    /// The pods that lend to a session alone.
    pub fn lenders(&self, session: &str) -> Vec<LenderState> {
        let state = self.state();
        let Some(granted) = state.to_sessions.get(session) else {
            return Vec::new();
        };
        let of = |peer: &Peer| LenderState {
            name: peer.name.clone(),
            unused_since: granted.unused.get(&peer.name).copied(),
        };
        granted.grant.pods.iter().map(of).collect()
    }

    fn changed(&self) {
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// Tells of changes.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Whether the pod lends to a virtual worker of that session, or of none. For a session that pods
    /// are granted to those alone count.
    pub fn lends(&self, pod: &str, session: Option<&str>) -> bool {
        let state = self.state();
        let of_session = session.and_then(|session| state.to_sessions.get(session));
        let grant = of_session.map_or(&state.to_all, |granted| &granted.grant);
        grant.pods.iter().any(|peer| peer.name == pod)
    }

    /// Notes how it stands with the connection to a pod.
    pub fn connection(&self, pod: &str, state: ConnectionState) {
        self.state().connections.insert(pod.to_owned(), state);
    }

    /// Nobody keeps a connection to that pod any more.
    pub fn no_connection(&self, pod: &str) {
        self.state().connections.remove(pod);
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
        wanted.into_values().map(|it| of(it.peer)).collect()
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

    /// All pods that lend to somebody, but for the one called `own`, by name. Of what is said of one
    /// more than once the latest counts.
    pub fn wanted(&self, own: &str) -> BTreeMap<String, Wanted> {
        let state = self.state();
        let to_sessions = state.to_sessions.values();
        let to_sessions = to_sessions.map(|granted| (granted.serial, &granted.grant));
        let to_all = (state.to_all_serial, &state.to_all);
        let mut grants: Vec<_> = to_sessions.chain([to_all]).collect();
        grants.sort_by_key(|(serial, _)| *serial);
        let mut wanted: BTreeMap<String, Wanted> = BTreeMap::new();
        for (_, grant) in grants {
            for peer in grant.pods.iter().filter(|peer| peer.name != own) {
                let before = wanted.remove(&peer.name).and_then(|wanted| wanted.token);
                let latest = Wanted {
                    peer: peer.clone(),
                    token: grant.token.clone().or(before),
                };
                wanted.insert(peer.name.clone(), latest);
            }
        }
        wanted
    }
}

impl State {
    fn next_grant(&mut self) -> u64 {
        self.grants += 1;
        self.grants
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

    const NOW: Duration = Duration::from_secs(1000);

    #[test]
    fn a_pod_lends_to_those_it_was_granted_to() {
        let peers = Peers::default();
        let changes = peers.changes();
        peers.lend_to_all(grant(&["a", "own"], None));
        peers.lend_to_session("stage", grant(&["a", "b"], Some("secret")), NOW);
        assert!(changes.has_changed().unwrap());
        assert!(peers.lends("a", None) && peers.lends("a", Some("other")));
        assert!(peers.lends("a", Some("stage")) && peers.lends("b", Some("stage")));
        assert!(!peers.lends("b", None) && !peers.lends("b", Some("other")));
        let wanted = peers.wanted("own");
        let wanted: Vec<_> = wanted
            .iter()
            .map(|(name, wanted)| (name.as_str(), wanted.token.as_deref()))
            .collect();
        assert_eq!(wanted, [("a", Some("secret")), ("b", Some("secret"))]);

        peers.lend_to_session("stage", grant(&[], None), NOW);
        assert!(!peers.lends("b", Some("stage")));
        assert!(!peers.lends("a", Some("stage")), "it was granted none");
        assert_eq!(peers.wanted("own").len(), 1);
        peers.forget_session("stage");
        assert!(peers.lends("a", Some("stage")), "nothing is known of it");
    }

    #[test]
    fn a_pod_is_wanted_once_and_the_latest_word_on_it_counts() {
        let peers = Peers::default();
        let told = |session: &str, zone: &str, token: Option<&str>| {
            let mut grant = grant(&["a"], token);
            zone.clone_into(&mut grant.pods[0].zone);
            peers.lend_to_session(session, grant, NOW);
        };
        let wanted = || {
            let wanted = peers.wanted("own").into_values();
            wanted
                .map(|wanted| (wanted.peer.zone, wanted.token))
                .collect::<Vec<_>>()
        };
        let said = |zone: &str, token: &str| [(zone.to_owned(), Some(token.to_owned()))];
        told("b", "z", Some("1"));
        told("a", "y", Some("2"));
        assert_eq!(wanted(), said("y", "2"));
        told("b", "z", Some("3"));
        assert_eq!(wanted(), said("z", "3"), "not the last by name");
        peers.lend_to_all(grant(&["a"], None));
        assert_eq!(wanted(), said("", "3"), "no token says nothing of it");
    }

    #[test]
    fn what_is_not_used_says_since_when() {
        let peers = Peers::default();
        peers.lend_to_session("stage", grant(&["a"], None), NOW);
        let since = || {
            let lenders = peers.lenders("stage").into_iter();
            lenders
                .map(|lender| lender.unused_since)
                .collect::<Vec<_>>()
        };
        assert_eq!(since(), [Some(1000)], "from the grant on");
        peers.note_use("stage", &BTreeSet::from(["a".into()]), true, NOW * 2);
        peers.lend_to_session("stage", grant(&["a", "b"], None), NOW * 3);
        assert_eq!(since(), [None, Some(3000)], "what is in use stays so");
        peers.note_use("stage", &BTreeSet::new(), false, NOW * 4);
        peers.note_use("stage", &BTreeSet::new(), false, NOW * 5);
        assert_eq!(since(), [Some(4000), Some(3000)]);
        peers.note_use("stage", &BTreeSet::new(), true, NOW * 6);
        peers.note_use("stage", &BTreeSet::new(), false, NOW * 7);
        assert_eq!(since(), [Some(6000); 2], "not while it wants more");
        assert!(peers.lenders("other").is_empty());
    }
}
