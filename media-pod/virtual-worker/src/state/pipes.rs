//! How media gets from member to member.

use super::{Id, MemberId};
use mafalda_channel::fbs::srtp_parameters::SrtpParameters;
use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

/// A producer on a member that is not its own.
#[derive(Debug)]
pub(crate) struct ProducerCopy {
    pub route: Route,
    /// How many pipes lie between it and the original.
    pub depth: usize,
    /// Consumers and observers on its member.
    pub users: HashSet<Id>,
    /// The members whose copies it feeds.
    pub children: BTreeSet<MemberId>,
}

/// How media comes to a copy.
#[derive(Clone, Debug)]
pub(crate) enum Route {
    Pipe {
        key: PairKey,
        consumer: Id,
        stream: Option<u16>,
    },
    /// By the application's messages, repeated to this direct transport.
    Repeat { transport: Id },
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct PairKey {
    pub router: Id,
    pub source: MemberId,
    pub target: MemberId,
}

/// What must be before an answer is given.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Wait {
    pub key: PairKey,
    pub readiness: Readiness,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Readiness {
    Rtp,
    Sctp,
}

/// How a pipe is protected.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Protection {
    /// What crosses is encrypted.
    pub srtp: bool,
    /// What is lost is sent again.
    pub rtx: bool,
}

/// A pipe: two connected pipe transports.
#[derive(Debug)]
pub(crate) struct Pair {
    pub source: End,
    pub target: End,
    /// How it is protected.
    pub protection: Protection,
    /// Whether it can carry media, and messages.
    pub rtp: bool,
    pub sctp: bool,
    pub since: Duration,
    /// The producers whose copies it feeds.
    pub copies: HashSet<Id>,
    /// Since when it feeds none.
    pub idle_since: Option<Duration>,
    pub streams: HashSet<u16>,
    pub next_stream: u16,
    /// Transports with answers that wait.
    pub waiting: Vec<Id>,
    pub traffic: Option<Traffic>,
}

/// One of a pipe's transports.
#[derive(Debug)]
pub(crate) struct End {
    pub transport: Id,
    pub address: Option<Address>,
}

/// Where a pipe transport listens.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    pub ip: String,
    pub port: u16,
    pub srtp: Option<Box<SrtpParameters>>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Traffic {
    pub bytes: u64,
    pub bytes_per_second: u64,
}

impl Pair {
    pub fn is_ready(&self, readiness: Readiness) -> bool {
        match readiness {
            Readiness::Rtp => self.rtp,
            Readiness::Sctp => self.sctp,
        }
    }

    pub fn free_stream(&mut self) -> Option<u16> {
        let free = (0..=u16::MAX)
            .map(|offset| self.next_stream.wrapping_add(offset))
            // The last stream id is no stream.
            .find(|stream| *stream != u16::MAX && !self.streams.contains(stream))?;
        self.next_stream = free.wrapping_add(1);
        self.streams.insert(free);
        Some(free)
    }
}
