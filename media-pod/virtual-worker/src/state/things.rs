//! What the application has made.

use super::{Id, MemberId, ProducerCopy, Wait};
use crate::recipe::Recipe;
use crate::topology::TransportKind;
use bytes::Bytes;
use mafalda_channel::fbs::transport::Options;
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// A WebRtcServer.
#[derive(Debug)]
pub(crate) struct Server {
    pub serial: u64,
    /// The member that has it; `None` if each member's own stands for it.
    pub member: Option<MemberId>,
    /// Protocols that it listens for.
    pub udp: bool,
    pub tcp: bool,
    pub transports: HashSet<Id>,
}

/// Anything with an id of its own, below routers.
#[derive(Debug)]
pub(crate) struct Thing {
    pub id: Id,
    /// Tells it from an earlier thing of the same id.
    pub serial: u64,
    pub member: MemberId,
    pub router: Id,
    pub kind: Kind,
}

impl Thing {
    /// The transport whose answers and events keep their order.
    pub fn lane(&self) -> Option<&Id> {
        match &self.kind {
            Kind::Transport(_) => Some(&self.id),
            Kind::Producer(producer) => Some(&producer.transport),
            Kind::Consumer(consumer) => Some(&consumer.transport),
            Kind::Observer(_) => None,
        }
    }
}

#[derive(Debug)]
pub(crate) enum Kind {
    Transport(Transport),
    Producer(Producer),
    Consumer(Consumer),
    Observer(Observer),
}

/// An RTP observer. It has no event for its end, so it outlives its member.
#[derive(Debug)]
pub(crate) struct Observer {
    pub producers: HashSet<Id>,
    /// The request that made it, to make it again.
    pub creation: Bytes,
    pub paused: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Transport {
    pub kind: TransportKind,
    /// Its producers and consumers.
    pub children: HashSet<Id>,
    pub server: Option<Id>,
    /// The options of a direct transport.
    pub direct: Option<Box<Options>>,
    /// Pipes that answers wait for.
    pub waits: HashSet<Wait>,
    /// Answers and events since, in order.
    pub held: Vec<Held>,
}

/// A message that waits.
#[derive(Debug)]
pub(crate) struct Held {
    pub message: Bytes,
    /// The consumer that it is about, and the id of the request that it answers by making it.
    pub about: Option<(Id, Option<u32>)>,
}

#[derive(Debug)]
pub(crate) struct Producer {
    pub transport: Id,
    pub recipe: Recipe,
    /// The member has said so. What it says before is about an earlier one of the same id.
    pub made: bool,
    pub paused: bool,
    /// Everywhere.
    pub consumers: HashSet<Id>,
    pub observers: HashSet<Id>,
    pub copies: BTreeMap<MemberId, ProducerCopy>,
    /// The members whose copies are fed by the original.
    pub children: BTreeSet<MemberId>,
}

impl Producer {
    pub fn is_data(&self) -> bool {
        !matches!(self.recipe, Recipe::Media(_))
    }
}

#[derive(Debug)]
pub(crate) struct Consumer {
    pub transport: Id,
    /// `None` once that is closed and the member's event about it is to come.
    pub producer: Option<Id>,
    pub data: bool,
    pub told: Told,
}

/// What the application heard of its request for a consumer.
#[derive(Debug)]
pub(crate) enum Told {
    /// Nothing: the member has not answered. Its answer will wait for these pipes.
    Nothing(Vec<Wait>),
    /// Nothing: the member's answer waits.
    Held,
    /// That it is there.
    Accepted,
    /// That it is not, or will hear so: media of this producer has no way to it. The member does not
    /// know that yet.
    Refused(Id),
}
