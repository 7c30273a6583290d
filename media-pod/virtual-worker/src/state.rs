//! What the virtual worker knows.

use crate::locality::Locality;
use crate::merge::Gather;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

mod pipes;
mod things;

pub(crate) use pipes::{
    Address, End, Pair, PairKey, ProducerCopy, Protection, Readiness, Route, Traffic, Wait,
};
pub(crate) use things::{Consumer, Held, Kind, Observer, Producer, Server, Thing, Told, Transport};

/// A worker lent to a virtual worker, by a number its lender chose.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct MemberId(pub u32);

/// What ids of things that the application does not know begin with; its own are UUIDs.
pub(crate) const INTERNAL: &str = "mafalda/";

/// Cheap to copy: the same id is written down in many places.
pub(crate) type Id = Arc<str>;

#[derive(Debug, Default)]
pub(crate) struct Member {
    pub locality: Locality,
    /// Nothing new is placed there while another can take it.
    pub cordoned: bool,
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
        fate: Fate,
    },
    /// Several were asked; this is one answer.
    Gather(u64),
    PipeCreated(Id),
    PipeConnected(Id),
    PipeStats(Id),
    /// Nothing follows from the answer.
    Internal,
}

/// What an answer decides about a thing, told from an earlier one of the same id by its serial.
#[derive(Debug)]
pub(crate) enum Fate {
    Nothing,
    /// Refused, it is not.
    Makes(Id, u64),
    /// It is forgotten with the answer: until then it has events to tell.
    Ends(Id, u64),
}

/// A virtual router.
#[derive(Debug, Default)]
pub(crate) struct Router {
    /// The members that have a real one, and how many things each has, ours included.
    pub real: BTreeMap<MemberId, usize>,
    /// Its transports and observers.
    pub things: HashSet<Id>,
    /// Source and target of its pipes.
    pub pairs: BTreeSet<(MemberId, MemberId)>,
    /// How many producers of media it has.
    pub producers: usize,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub members: BTreeMap<MemberId, Member>,
    pub routers: HashMap<Id, Router>,
    pub servers: HashMap<Id, Server>,
    pub things: HashMap<Id, Thing>,
    pub pairs: HashMap<PairKey, Pair>,
    /// The pair of each pipe transport.
    pub pair_of: HashMap<Id, PairKey>,
    pub gathers: HashMap<u64, Gather>,
}

impl State {
    pub fn transport(&mut self, id: &str) -> Option<&mut Transport> {
        match &mut self.things.get_mut(id)?.kind {
            Kind::Transport(transport) => Some(transport),
            _ => None,
        }
    }

    pub fn producer(&mut self, id: &str) -> Option<&mut Producer> {
        match &mut self.things.get_mut(id)?.kind {
            Kind::Producer(producer) => Some(producer),
            _ => None,
        }
    }

    pub fn consumer(&mut self, id: &str) -> Option<&mut Consumer> {
        match &mut self.things.get_mut(id)?.kind {
            Kind::Consumer(consumer) => Some(consumer),
            _ => None,
        }
    }

    /// The producers that an observer observes.
    pub fn observed(&mut self, id: &str) -> Option<&mut HashSet<Id>> {
        match &mut self.things.get_mut(id)?.kind {
            Kind::Observer(observer) => Some(&mut observer.producers),
            _ => None,
        }
    }
}
