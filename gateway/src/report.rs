//! What a node says of itself: the messages of `/v1/events`. What is not needed here is not read, so that
//! pods of other versions are understood.

use serde::{Deserialize, Serialize};

/// A media pod's status.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Report {
    /// The pod's own release.
    pub version: String,
    /// The releases of mediasoup that it serves.
    pub mediasoup: Mediasoup,
    /// What it is called.
    pub pod: Identity,
    /// It takes nothing new, for whatever reason.
    pub draining: bool,
    /// Its worker processes.
    pub workers: Vec<Worker>,
    /// The sessions that it is the home of.
    pub sessions: Vec<Session>,
    /// Applications' connections.
    pub connections: Connections,
    /// Other pods that have something on its workers.
    pub borrowers: u32,
}

/// The two releases that share a channel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Mediasoup {
    /// Of the npm package.
    pub npm: String,
    /// Of the crate.
    #[serde(rename = "crate")]
    pub rust: String,
}

/// What a pod is called.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Identity {
    /// Its own name, if it was given one.
    pub name: String,
    /// Where it is.
    pub region: String,
    /// Where in the region.
    pub zone: String,
}

/// One worker process.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Worker {
    /// What it does; `starting` until it can be used.
    pub state: String,
    /// Share of a core, 0 to 1.
    pub cpu: f64,
}

/// A session that it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Session {
    /// Its name.
    pub name: String,
    /// How often it was placed.
    pub generation: u64,
    /// Applications that are connected.
    pub connections: u32,
    /// Since when it is there, in seconds since 1970.
    pub created_at: u64,
    /// Connections of its applications at most.
    pub max_connections: Option<usize>,
    /// How many are let in.
    pub max_participants: Option<u32>,
    /// Over how many nodes it may spread, its home among them.
    pub max_pods: Option<u32>,
    /// How many are expected in it.
    pub expected_participants: Option<u32>,
    /// Why it is there, or why other nodes lend to it or do not any more.
    pub last_reason: Option<String>,
    /// What it has.
    pub carries: Carries,
    /// None of its workers is below the watermark.
    pub wants_more: bool,
    /// The nodes that lend it workers.
    pub pods: Vec<Lender>,
}

/// What a session has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Carries {
    /// Consumers.
    pub consumers: u32,
}

/// A node that lends a session workers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Lender {
    /// What it is called.
    pub name: String,
    /// Since when they carry nothing of it, in seconds since 1970 by its home's clock.
    pub unused_since: Option<u64>,
}

impl Session {
    /// Whether they are the same but for what they carry.
    pub fn says_the_same(&self, other: &Self) -> bool {
        let carries = other.carries.clone();
        Self {
            carries,
            ..self.clone()
        } == *other
    }
}

/// Connections, those of sessions and of borrowers included.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Connections {
    /// With a socket.
    pub attached: u32,
    /// That may be resumed.
    pub detached: u32,
    /// Those of them that borrow workers.
    pub lent: u32,
}

impl Report {
    /// Whether its workers have started.
    pub fn is_ready(&self) -> bool {
        self.workers.iter().any(|worker| worker.state != "starting")
    }

    /// Whether an application with this release of mediasoup can use it.
    pub fn serves(&self, mediasoup: &str) -> bool {
        [&self.mediasoup.npm, &self.mediasoup.rust].contains(&&mediasoup.to_owned())
    }

    /// Sessions and connections that it has.
    pub fn used(&self) -> u32 {
        let sessions = u32::try_from(self.sessions.len()).unwrap_or(u32::MAX);
        let Connections {
            attached, detached, ..
        } = self.connections;
        sessions.saturating_add(attached).saturating_add(detached)
    }

    /// Applications' connections without a session.
    pub fn anonymous(&self) -> u32 {
        let Connections {
            attached,
            detached,
            lent,
        } = self.connections;
        let of_sessions = self.sessions.iter().map(|session| session.connections);
        let of_sessions = of_sessions.fold(0, u32::saturating_add);
        attached
            .saturating_add(detached)
            .saturating_sub(lent)
            .saturating_sub(of_sessions)
    }
}

/// A message of `/v1/events`; those of other types are passed over.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum Event {
    /// How the pod is now.
    Status {
        /// All of it.
        status: Box<Report>,
    },
    /// Something else.
    #[serde(other)]
    Other,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_status_is_read_and_the_rest_passed_over() {
        let text = json!({"type": "status", "status": {
            "version": "0.1.0",
            "mediasoup": {"npm": "3.27.1", "crate": "0.28.1"},
            "pod": {"name": "n1", "cluster": "c", "region": "", "zone": "z"},
            "draining": true,
            "workers": [{"index": 0, "state": "member", "cpu": 0.25}],
            "sessions": [{"name": "s", "generation": 3, "connections": 2, "createdAt": 9,
                "maxPods": 2, "wantsMore": true, "carries": {"routers": 1, "consumers": 7},
                "pods": [{"name": "n2", "unusedSince": 5}]}],
            "connections": {"attached": 4, "detached": 1, "lent": 1},
        }});
        let Event::Status { status } = serde_json::from_value(text).unwrap() else {
            panic!("no status");
        };
        assert!(status.serves("3.27.1") && status.serves("0.28.1") && !status.serves("3.27.2"));
        assert!(status.is_ready() && status.draining);
        assert_eq!(status.used(), 6);
        assert_eq!(status.anonymous(), 2);
        let session = &status.sessions[0];
        assert_eq!((session.created_at, session.max_pods), (9, Some(2)));
        assert_eq!((session.wants_more, session.carries.consumers), (true, 7));
        assert_eq!(session.pods[0].unused_since, Some(5));
        let mut other = session.clone();
        other.carries.consumers = 8;
        assert!(session.says_the_same(&other));
        other.wants_more = false;
        assert!(!session.says_the_same(&other));
        let other = json!({"type": "topology", "topology": {}});
        assert!(matches!(
            serde_json::from_value(other).unwrap(),
            Event::Other
        ));
    }
}
