//! Which sessions this pod is the home of. Pure: time comes in.
//!
//! Each time a session is placed anew its generation goes up. What an older generation asks for is
//! refused, also after the session has gone from here: of two homes the older one must yield.

use crate::seats::{EACH, Full, Transport};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::time::Duration;

/// How long the last generation of a session that has gone is remembered.
const REMEMBERED: Duration = Duration::from_secs(60 * 60);

/// The longest name, in characters: that of a Kubernetes object.
const LONGEST_NAME: usize = 253;

/// What who places sessions wants to read again, as it keeps nothing itself: the pod says it in its
/// status, and does nothing by it.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Notes {
    /// Over how many pods it may spread, this one among them.
    pub max_pods: Option<u32>,
    /// How many are expected in it.
    pub expected_participants: Option<u32>,
    /// Why it is here, or why other pods lend to it or do not any more: one word.
    pub last_reason: Option<String>,
}

/// One session.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    /// Its name.
    pub name: String,
    /// How often it was placed.
    pub generation: u64,
    /// Connections of its applications at most; `None` for the pod's own limits alone.
    pub max_connections: Option<usize>,
    /// Connections of its applications now.
    pub connections: usize,
    /// Participants at most; `None` for no limit.
    pub max_participants: Option<u32>,
    /// Participants now: half of its WebRtcTransports, rounded up.
    pub participants: u64,
    /// Since when nobody is in it, in seconds since 1970: none of its applications has a transport of any
    /// kind. An application that is connected and has none counts for nobody.
    pub empty_since: Option<u64>,
    /// Since when it is here, in seconds since 1970.
    pub created_at: u64,
    /// What was noted with it.
    #[serde(flatten)]
    pub notes: Notes,
    /// Tells it from an earlier one of the same name.
    #[serde(skip)]
    pub serial: u64,
    /// WebRtcTransports of its applications.
    #[serde(skip)]
    web_rtc: u64,
    /// Their other transports.
    #[serde(skip)]
    others: u64,
}

impl Session {
    fn count(&mut self, transport: Transport) -> &mut u64 {
        match transport {
            Transport::WebRtc => &mut self.web_rtc,
            Transport::Other => &mut self.others,
        }
    }

    /// Whether nobody is in it has changed.
    fn recount(&mut self, now: Duration) -> bool {
        self.participants = self.web_rtc.div_ceil(EACH);
        let is_empty = self.web_rtc + self.others == 0;
        let has_changed = is_empty != self.empty_since.is_some();
        if has_changed {
            self.empty_since = is_empty.then_some(now.as_secs());
        }
        has_changed
    }
}

/// Why a session cannot be had.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SessionError {
    /// A newer generation is known.
    #[error("generation {asked} is older than {known}, which this pod knows")]
    OlderGeneration {
        /// The generation in the request.
        asked: u64,
        /// The newest that was seen here.
        known: u64,
    },
    /// The client means another generation than the one that is here.
    #[error("this pod has generation {here} of the session, not {asked}")]
    OtherGeneration {
        /// The generation in the request.
        asked: u64,
        /// The one that is here.
        here: u64,
    },
    /// There is none of the name here.
    #[error("this pod has no such session")]
    Unknown,
    /// Nothing new is taken.
    #[error("this pod takes no new sessions, as it is being emptied")]
    Draining,
    /// As many applications are connected as may be.
    #[error("the session has {0} connections and may have no more (maxConnections)")]
    TooManyConnections(usize),
    /// No name of a session.
    #[error("name: 1 to {LONGEST_NAME} characters of a-z, 0-9, - and . are possible")]
    Name,
    /// Generations count from one.
    #[error("generation: at least 1")]
    Generation,
}

/// The sessions of a pod.
#[derive(Debug, Default)]
pub struct Sessions {
    here: HashMap<String, Session>,
    /// The last generation of those that have gone, and when that was.
    gone: HashMap<String, (u64, Duration)>,
    last_serial: u64,
}

/// What a session is to be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Wanted {
    /// Its generation.
    pub generation: u64,
    /// Connections of its applications at most.
    pub max_connections: Option<usize>,
    /// Participants at most. Those that are there stay.
    pub max_participants: Option<u32>,
}

impl Sessions {
    /// Makes a session, or raises the generation of one that is here. True if it is new.
    ///
    /// `now` is the time since 1970; `takes_new`: whether new ones are taken.
    ///
    /// # Errors
    /// [`SessionError::Name`], [`SessionError::Generation`], [`SessionError::OlderGeneration`],
    /// [`SessionError::Draining`].
    pub fn put(
        &mut self,
        name: &str,
        wanted: Wanted,
        takes_new: bool,
        now: Duration,
    ) -> Result<bool, SessionError> {
        check_name(name)?;
        if wanted.generation == 0 {
            return Err(SessionError::Generation);
        }
        self.check_generation(name, wanted.generation)?;
        if let Some(session) = self.here.get_mut(name) {
            session.generation = wanted.generation;
            session.max_connections = wanted.max_connections;
            session.max_participants = wanted.max_participants;
            return Ok(false);
        }
        if !takes_new {
            return Err(SessionError::Draining);
        }
        self.gone.remove(name);
        self.last_serial += 1;
        let session = Session {
            name: name.to_owned(),
            generation: wanted.generation,
            max_connections: wanted.max_connections,
            connections: 0,
            max_participants: wanted.max_participants,
            participants: 0,
            empty_since: Some(now.as_secs()),
            created_at: now.as_secs(),
            notes: Notes::default(),
            serial: self.last_serial,
            web_rtc: 0,
            others: 0,
        };
        self.here.insert(name.to_owned(), session);
        Ok(true)
    }

    /// Notes something with a session that is here; what is not said stays as it was.
    pub fn note(&mut self, name: &str, notes: Notes) {
        if let Some(session) = self.here.get_mut(name) {
            let before = std::mem::take(&mut session.notes);
            session.notes = Notes {
                max_pods: notes.max_pods.or(before.max_pods),
                expected_participants: notes.expected_participants.or(before.expected_participants),
                last_reason: notes.last_reason.or(before.last_reason),
            };
        }
    }

    fn check_generation(&self, name: &str, asked: u64) -> Result<(), SessionError> {
        let here = self.here.get(name).map(|session| session.generation);
        let known = here.or_else(|| self.gone.get(name).map(|(generation, _)| *generation));
        match known {
            Some(known) if known > asked => Err(SessionError::OlderGeneration { asked, known }),
            _ => Ok(()),
        }
    }

    /// Ends a session. That it is gone is remembered also if it was not here.
    ///
    /// # Errors
    /// [`SessionError::OlderGeneration`], [`SessionError::Unknown`].
    pub fn delete(
        &mut self,
        name: &str,
        generation: Option<u64>,
        now: Duration,
    ) -> Result<Session, SessionError> {
        self.gone.retain(|_, (_, when)| *when + REMEMBERED > now);
        if let Some(generation) = generation {
            self.check_generation(name, generation)?;
        }
        let ended = self.here.remove(name);
        let last = generation.max(ended.as_ref().map(|session| session.generation));
        if let Some(last) = last
            && check_name(name).is_ok()
        {
            self.gone.insert(name.to_owned(), (last, now));
        }
        ended.ok_or(SessionError::Unknown)
    }

    /// An application connects; `generation` is the one that it means, if it says so. Returns the
    /// session's serial, for [`Sessions::disconnect`].
    ///
    /// # Errors
    /// [`SessionError::Unknown`], [`SessionError::OtherGeneration`],
    /// [`SessionError::TooManyConnections`].
    pub fn connect(&mut self, name: &str, generation: Option<u64>) -> Result<u64, SessionError> {
        let session = self.here.get_mut(name).ok_or(SessionError::Unknown)?;
        let here = session.generation;
        if let Some(asked) = generation.filter(|asked| *asked != here) {
            return Err(SessionError::OtherGeneration { asked, here });
        }
        if session
            .max_connections
            .is_some_and(|most| session.connections >= most)
        {
            return Err(SessionError::TooManyConnections(session.connections));
        }
        session.connections += 1;
        Ok(session.serial)
    }

    /// An application of the session has gone. Its transports go by [`Sessions::leave`].
    pub fn disconnect(&mut self, name: &str, serial: u64) {
        if let Some(session) = self.of(name, serial) {
            session.connections -= 1;
        }
    }

    /// An application of the session gets one more transport. Whether it is the first.
    ///
    /// # Errors
    /// The session has as many WebRtcTransports as may be.
    pub fn enter(
        &mut self,
        name: &str,
        serial: u64,
        transport: Transport,
        now: Duration,
    ) -> Result<bool, Full> {
        // One that has ended takes its applications with it.
        let Some(session) = self.of(name, serial) else {
            return Ok(false);
        };
        if let (Transport::WebRtc, Some(limit)) = (transport, session.max_participants)
            && session.web_rtc >= u64::from(limit) * EACH
        {
            return Err(Full {
                session: name.to_owned(),
                limit,
                count: session.web_rtc,
            });
        }
        *session.count(transport) += 1;
        Ok(session.recount(now))
    }

    /// An application of the session has one transport less. Whether it was the last.
    pub fn leave(&mut self, name: &str, serial: u64, transport: Transport, now: Duration) -> bool {
        let Some(session) = self.of(name, serial) else {
            return false;
        };
        let count = session.count(transport);
        *count = count.saturating_sub(1);
        session.recount(now)
    }

    /// The session, unless it is another of the same name.
    fn of(&mut self, name: &str, serial: u64) -> Option<&mut Session> {
        let session = self.here.get_mut(name)?;
        (session.serial == serial).then_some(session)
    }

    /// The session of a name.
    pub fn get(&self, name: &str) -> Option<&Session> {
        self.here.get(name)
    }

    /// All, by name.
    pub fn all(&self) -> Vec<Session> {
        let mut all: Vec<Session> = self.here.values().cloned().collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }
}

fn check_name(name: &str) -> Result<(), SessionError> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    match (1..=LONGEST_NAME).contains(&name.len()) && name.chars().all(allowed) {
        true => Ok(()),
        false => Err(SessionError::Name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1000);

    fn wanted(generation: u64) -> Wanted {
        Wanted {
            generation,
            max_connections: Some(2),
            max_participants: Some(2),
        }
    }

    fn put(sessions: &mut Sessions, generation: u64) -> Result<bool, SessionError> {
        sessions.put("call", wanted(generation), true, NOW)
    }

    #[test]
    fn an_older_generation_is_refused_while_the_session_is_here_and_after() {
        let mut sessions = Sessions::default();
        assert_eq!(put(&mut sessions, 3), Ok(true));
        let older = |asked, known| Err(SessionError::OlderGeneration { asked, known });
        assert_eq!(put(&mut sessions, 2), older(2, 3));
        assert_eq!(put(&mut sessions, 3), Ok(false));
        assert_eq!(put(&mut sessions, 5), Ok(false));
        assert!(sessions.delete("call", Some(4), NOW).is_err());
        assert_eq!(sessions.delete("call", Some(5), NOW).unwrap().generation, 5);
        assert_eq!(put(&mut sessions, 4), older(4, 5));
        assert_eq!(put(&mut sessions, 6), Ok(true));
    }

    #[test]
    fn one_that_was_never_here_can_be_fenced_off() {
        let mut sessions = Sessions::default();
        assert_eq!(
            sessions.delete("call", Some(7), NOW),
            Err(SessionError::Unknown)
        );
        assert!(put(&mut sessions, 6).is_err());
        let later = NOW + REMEMBERED;
        let _ = sessions.delete("other", None, later);
        assert_eq!(put(&mut sessions, 6), Ok(true), "forgotten in time");
    }

    #[test]
    fn connections_are_counted_and_bounded() {
        let mut sessions = Sessions::default();
        assert_eq!(sessions.connect("call", None), Err(SessionError::Unknown));
        put(&mut sessions, 1).unwrap();
        assert_eq!(sessions.get("call").unwrap().empty_since, Some(1000));
        let other = SessionError::OtherGeneration { asked: 2, here: 1 };
        assert_eq!(sessions.connect("call", Some(2)), Err(other));
        let serial = sessions.connect("call", Some(1)).unwrap();
        assert_eq!(sessions.connect("call", None), Ok(serial));
        assert_eq!(
            sessions.connect("call", None),
            Err(SessionError::TooManyConnections(2))
        );
        sessions.disconnect("call", serial + 1);
        assert_eq!(sessions.get("call").unwrap().connections, 2);
        for _ in 0..2 {
            sessions.disconnect("call", serial);
        }
        assert_eq!(sessions.get("call").unwrap().connections, 0);
    }

    fn enter(sessions: &mut Sessions, transport: Transport) -> Result<bool, Full> {
        let serial = sessions.get("call").unwrap().serial;
        sessions.enter("call", serial, transport, NOW * 2)
    }

    /// Protects who is in a session from more than it is made for, and lets them stay when it is made
    /// for fewer.
    #[test]
    fn two_web_rtc_transports_a_participant_and_no_more() {
        use Transport::{Other, WebRtc};
        let mut sessions = Sessions::default();
        put(&mut sessions, 1).unwrap();
        let participants = |sessions: &Sessions| sessions.get("call").unwrap().participants;
        for (made, expected) in [1, 1, 2, 2].into_iter().enumerate() {
            assert_eq!(
                enter(&mut sessions, WebRtc),
                Ok(made == 0),
                "whether the first"
            );
            assert_eq!(participants(&sessions), expected);
        }
        let full = |limit, count| {
            let session = "call".to_owned();
            Err(Full {
                session,
                limit,
                count,
            })
        };
        assert_eq!(enter(&mut sessions, WebRtc), full(2, 4));
        let said = enter(&mut sessions, WebRtc).unwrap_err().to_string();
        for part in [
            "call",
            "4 WebRtcTransports",
            "2 participants",
            "maxParticipants",
        ] {
            assert!(said.contains(part), "{said}");
        }
        assert_eq!(enter(&mut sessions, Other), Ok(false), "no participant");
        let limit = |sessions: &mut Sessions, max_participants| {
            let wanted = Wanted {
                max_participants,
                ..wanted(1)
            };
            sessions.put("call", wanted, true, NOW).unwrap();
        };
        limit(&mut sessions, Some(3));
        assert_eq!(enter(&mut sessions, WebRtc), Ok(false), "at once");
        limit(&mut sessions, Some(1));
        assert_eq!(participants(&sessions), 3, "they stay");
        assert_eq!(enter(&mut sessions, WebRtc), full(1, 5));
        limit(&mut sessions, None);
        assert_eq!(enter(&mut sessions, WebRtc), Ok(false));
    }

    /// Protects calls from a session's time to live: whoever has a transport is in it, and who is
    /// connected only is not.
    #[test]
    fn a_session_is_empty_when_no_application_has_a_transport() {
        use Transport::{Other, WebRtc};
        let mut sessions = Sessions::default();
        put(&mut sessions, 1).unwrap();
        let serial = sessions.connect("call", None).unwrap();
        let since = |sessions: &Sessions| sessions.get("call").unwrap().empty_since;
        assert_eq!(since(&sessions), Some(1000), "since it is there");
        let leave =
            |sessions: &mut Sessions, transport, of| sessions.leave("call", of, transport, NOW * 3);
        assert_eq!(enter(&mut sessions, Other), Ok(true));
        assert_eq!(enter(&mut sessions, WebRtc), Ok(false));
        assert_eq!(since(&sessions), None);
        assert!(!leave(&mut sessions, Other, serial));
        assert!(
            !leave(&mut sessions, WebRtc, serial + 1),
            "of another session"
        );
        assert_eq!(since(&sessions), None);
        assert!(leave(&mut sessions, WebRtc, serial));
        assert_eq!(since(&sessions), Some(3000));
        assert!(!leave(&mut sessions, WebRtc, serial), "there is none");
    }

    #[test]
    fn a_pod_that_is_emptied_keeps_what_it_has() {
        let mut sessions = Sessions::default();
        put(&mut sessions, 1).unwrap();
        assert_eq!(sessions.put("call", wanted(2), false, NOW), Ok(false));
        assert_eq!(
            sessions.put("other", wanted(1), false, NOW),
            Err(SessionError::Draining)
        );
    }

    #[test]
    fn notes_stay_until_others_are_made_and_end_with_the_session() {
        let mut sessions = Sessions::default();
        put(&mut sessions, 1).unwrap();
        let notes = |max_pods, reason: Option<&str>| Notes {
            max_pods,
            expected_participants: None,
            last_reason: reason.map(str::to_owned),
        };
        sessions.note("call", notes(Some(3), Some("Placed")));
        sessions.note("call", notes(None, Some("WorkersHot")));
        put(&mut sessions, 2).unwrap();
        let noted = &sessions.get("call").unwrap().notes;
        assert_eq!(*noted, notes(Some(3), Some("WorkersHot")));
        sessions.delete("call", None, NOW).unwrap();
        put(&mut sessions, 2).unwrap();
        assert_eq!(sessions.get("call").unwrap().notes, Notes::default());
        sessions.note("other", notes(Some(1), None));
        assert!(sessions.get("other").is_none());
    }

    #[test]
    fn names_are_those_of_kubernetes() {
        let mut sessions = Sessions::default();
        for name in ["", "A", "a/b", "a_b", &"a".repeat(254)] {
            assert_eq!(
                sessions.put(name, wanted(1), true, NOW),
                Err(SessionError::Name)
            );
        }
        assert_eq!(
            sessions.put("a", wanted(0), true, NOW),
            Err(SessionError::Generation)
        );
    }
}
