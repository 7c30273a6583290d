//! What a media pod says of itself: `GET /v1/status` and the messages of `/v1/events`. What is not
//! needed here is not read, so that pods of other versions are understood.

use serde::Deserialize;

/// A media pod's status.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Report {
    pub mediasoup: Mediasoup,
    /// It takes nothing new, for whatever reason.
    pub draining: bool,
    pub drain: Drain,
    pub workers: Vec<Worker>,
    pub sessions: Vec<Session>,
    pub connections: Connections,
    /// Pods that have something on its workers.
    pub borrowers: u32,
}

/// The release that its workers are of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Mediasoup {
    pub npm: String,
}

/// One worker process.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Worker {
    pub state: String,
    /// Share of a core, 0 to 1.
    pub cpu: f64,
}

/// A session that it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Session {
    pub name: String,
    pub generation: u64,
    /// Applications that are connected.
    pub connections: u32,
    /// Participants that it lets in at most.
    pub max_participants: Option<u32>,
    /// Participants now; `None` from a pod that does not count them.
    pub participants: Option<u64>,
    /// Since when nobody is in it, in seconds since 1970: no application has a transport.
    pub empty_since: Option<u64>,
    pub carries: Carries,
    /// None of its workers is below the watermark.
    pub wants_more: bool,
    /// The pods that lend it workers.
    pub pods: Vec<Lender>,
}

/// What a session has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Carries {
    pub consumers: u32,
}

/// A pod that lends a session workers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Lender {
    pub name: String,
    /// Since when they carry nothing of it, in seconds since 1970.
    pub unused_since: Option<u64>,
}

impl Session {
    /// All of it that decisions depend on at once: not what it carries, nor how many are in it.
    fn told(&self) -> (&str, u64, u32, Option<u32>, Option<u64>, bool, &[Lender]) {
        let (name, generation) = (&self.name, self.generation);
        let (connections, limit) = (self.connections, self.max_participants);
        (
            name,
            generation,
            connections,
            limit,
            self.empty_since,
            self.wants_more,
            &self.pods,
        )
    }
}

/// Connections, those of sessions and of borrowers included.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Connections {
    pub attached: u32,
    pub detached: u32,
    /// Those that borrow workers.
    pub lent: u32,
}

/// How far a drain is that the operator asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Drain {
    pub phase: Phase,
    /// In seconds since 1970.
    pub deadline: Option<u64>,
}

/// The phases of a drain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    #[default]
    Active,
    Cordoned,
    Draining,
}

impl Report {
    /// Whether its workers have started.
    pub fn is_ready(&self) -> bool {
        self.workers.iter().any(|worker| worker.state != "starting")
    }

    /// Whether it takes nothing new and the operator did not ask for it: its process was told to end.
    pub fn stops(&self) -> bool {
        self.draining && self.drain.phase == Phase::Active
    }

    /// Applications that have workers of it without a session.
    pub fn anonymous(&self) -> u32 {
        let all = self
            .connections
            .attached
            .saturating_add(self.connections.detached)
            .saturating_sub(self.connections.lent);
        let of_sessions: u32 = self
            .sessions
            .iter()
            .map(|session| session.connections)
            .sum();
        all.saturating_sub(of_sessions)
    }

    /// Whether the other says something that decisions depend on at once: all but load.
    pub fn differs(&self, other: &Self) -> bool {
        let sessions = self.sessions.iter().map(Session::told);
        sessions.ne(other.sessions.iter().map(Session::told))
            || self.borrowers != other.borrowers
            || self.drain != other.drain
            || self.draining != other.draining
            || self.is_ready() != other.is_ready()
            || self.anonymous() != other.anonymous()
            || self.mediasoup != other.mediasoup
    }

    /// Whether a worker has considerably more or less to do in the other.
    pub fn shifts(&self, other: &Self) -> bool {
        let mut pairs = self.workers.iter().zip(&other.workers);
        pairs.any(|(one, other)| (one.cpu - other.cpu).abs() >= SHIFT)
            || self.workers.len() != other.workers.len()
    }
}

/// How much of a core more or less is a change of load.
const SHIFT: f64 = 0.05;

/// A message of `/v1/events`; those of other types are passed over.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum Event {
    Status {
        status: Box<Report>,
    },
    #[serde(other)]
    Other,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_status_is_read_and_the_rest_passed_over() {
        let text = json!({
            "type": "status",
            "status": {
                "version": "0.1.0",
                "mediasoup": {"npm": "3.27.1", "crate": "0.28.1"},
                "drain": {"phase": "cordoned", "deadline": null},
                "workers": [{"index": 0, "state": "member", "cpu": 0.25}],
                "sessions": [{"name": "s", "generation": 3, "state": "active", "connections": 2,
                    "maxParticipants": 9, "participants": 4, "emptySince": null, "carries": {"routers": 1}}],
                "connections": {"attached": 4, "detached": 1, "lent": 1},
            },
        });
        let Event::Status { status } = serde_json::from_value(text).unwrap() else {
            panic!("no status");
        };
        assert_eq!(status.mediasoup.npm, "3.27.1");
        assert_eq!(status.drain.phase, Phase::Cordoned);
        let session = &status.sessions[0];
        assert_eq!(session.generation, 3);
        assert_eq!(
            (session.max_participants, session.participants),
            (Some(9), Some(4))
        );
        assert_eq!(status.anonymous(), 2);
        assert!(status.is_ready());
        let other = json!({"type": "topology", "topology": {}});
        assert!(matches!(
            serde_json::from_value(other).unwrap(),
            Event::Other
        ));
    }

    /// Protects the operator's idle time: load alone is looked at once a second.
    #[test]
    fn load_is_no_news() {
        let report = |cpu, connections| Report {
            workers: vec![Worker {
                state: "idle".to_owned(),
                cpu,
            }],
            connections: Connections {
                attached: connections,
                detached: 0,
                lent: 0,
            },
            ..Report::default()
        };
        assert!(!report(0.1, 0).differs(&report(0.9, 0)));
        assert!(report(0.1, 0).differs(&report(0.1, 1)));
    }
}
