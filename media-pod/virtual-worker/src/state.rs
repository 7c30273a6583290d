//! What the virtual worker knows.

use crate::merge::Gather;
use crate::recipe::Recipe;
use bytes::Bytes;
use mafalda_channel::fbs::transport::Options;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

/// A worker lent to a virtual worker, by a number its lender chose.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct MemberId(pub u32);

/// What ids of things that the application does not know begin with; its own are UUIDs.
pub(crate) const INTERNAL: &str = "mafalda/";

pub(crate) type Id = String;

#[derive(Debug, Default)]
pub(crate) struct Member {
    /// Requests that it has not answered yet.
    pub pending: HashMap<u32, Purpose>,
    /// Where the search for a free id of our own begins: far from where libraries begin.
    pub next_id: u32,
}

impl Member {
    pub fn free_id(&mut self) -> u32 {
        loop {
            let id = self.next_id | 0x8000_0000;
            self.next_id = id.wrapping_add(1);
            if !self.pending.contains_key(&id) {
                return id;
            }
        }
    }
}

/// Why a member was asked.
#[derive(Debug)]
pub(crate) enum Purpose {
    /// The application asked, by this id.
    Application {
        id: u32,
        /// The transport whose answers and events keep their order.
        lane: Option<Id>,
        /// What there is not, should the member refuse.
        made: Option<(Id, u64)>,
        /// What is forgotten with the answer: until then it has events to tell.
        ends: Option<(Id, u64)>,
        /// The answer waits until this pipe can carry what was asked for.
        hold: Option<(PairKey, Readiness)>,
    },
    /// Several were asked; this is one answer.
    Gather(u64),
    PipeCreated(Id),
    PipeConnected(Id),
    /// Nothing follows from the answer.
    Internal,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Readiness {
    Rtp,
    Sctp,
}

/// A virtual router: on which members it has a real one, and how many things each has.
#[derive(Debug, Default)]
pub(crate) struct Router {
    pub real: BTreeMap<MemberId, usize>,
}

/// Anything with an id of its own, below routers.
#[derive(Debug)]
pub(crate) struct Thing {
    /// Tells it from an earlier thing of the same id.
    pub serial: u64,
    pub member: MemberId,
    /// Empty for a WebRtcServer.
    pub router: Id,
    pub kind: Kind,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Server,
    Transport(Transport),
    Producer(Producer),
    Consumer(Consumer),
    Observer { producers: HashSet<Id> },
}

#[derive(Debug, Default)]
pub(crate) struct Transport {
    /// Its producers and consumers.
    pub children: HashSet<Id>,
    pub server: Option<Id>,
    pub dtls: bool,
    /// The options of a direct transport.
    pub direct: Option<Box<Options>>,
    /// Pipes that answers wait for.
    pub waits_for: HashSet<PairKey>,
    /// Answers and events since, in order.
    pub held: Vec<Bytes>,
}

#[derive(Debug)]
pub(crate) struct Producer {
    pub transport: Id,
    pub recipe: Recipe,
    pub paused: bool,
    /// Everywhere.
    pub consumers: HashSet<Id>,
    pub observers: HashSet<Id>,
    pub copies: BTreeMap<MemberId, ProducerCopy>,
}

#[derive(Debug)]
pub(crate) struct ProducerCopy {
    pub route: Route,
    /// Consumers and observers on its member.
    pub users: HashSet<Id>,
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

#[derive(Debug)]
pub(crate) struct Consumer {
    pub transport: Id,
    /// `None` once that is closed and the member's event about it is to come.
    pub producer: Option<Id>,
    pub data: bool,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct PairKey {
    pub router: Id,
    pub source: MemberId,
    pub target: MemberId,
}

/// A pipe: two connected pipe transports.
#[derive(Debug)]
pub(crate) struct Pair {
    pub source_transport: Id,
    pub target_transport: Id,
    pub source_address: Option<(String, u16)>,
    pub target_address: Option<(String, u16)>,
    pub rtp: bool,
    pub sctp: bool,
    pub since: Duration,
    pub copies: usize,
    pub streams: HashSet<u16>,
    pub next_stream: u16,
    /// Transports with answers that wait.
    pub waiting: Vec<Id>,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub members: BTreeMap<MemberId, Member>,
    pub routers: HashMap<Id, Router>,
    pub things: HashMap<Id, Thing>,
    pub pairs: HashMap<PairKey, Pair>,
    /// The pair of each pipe transport.
    pub pair_of: HashMap<Id, PairKey>,
    pub gathers: HashMap<u64, Gather>,
}
