//! Where something new goes, and what it is expected to weigh.

use super::VirtualWorker;
use crate::locality::{Distance, Locality};
use crate::placement::{Candidate, Tier, place};
use crate::state::{Member, MemberId};
use std::collections::BTreeMap;

/// Share of a core of a direct transport: its media crosses the channel, and is little.
const DIRECT: f32 = 0.0005;
/// Share of a core of one consumer: mediasoup's rule of thumb, 500 a worker.
const CONSUMER: f32 = 0.002;
/// How many producers of its router a transport is expected to consume at most.
const CONSUMERS: usize = 50;
/// Share of a core of an RTP observer.
const OBSERVER: f32 = 0.001;

impl VirtualWorker {
    /// The member that something new of this router goes to; `""` is no router.
    pub(super) fn choose(&mut self, router: &str) -> Option<MemberId> {
        let real = self.state.routers.get(router).map(|router| &router.real);
        let members = &self.state.members;
        let pods = Pods {
            home: &self.config.locality,
            in_use: real.map_or_else(Vec::new, |real| pods_of(real.keys(), members)),
        };
        let of_router = |member: MemberId| real.and_then(|real| real.get(&member)).copied();
        let all_cordoned = members.values().all(|member| member.cordoned);
        let usable = members
            .iter()
            .filter(|(_, member)| all_cordoned || !member.cordoned);
        let candidates: Vec<Candidate> =
            self.ledger
                .heats(usable, self.now, |id, member, heat| Candidate {
                    member: id,
                    tier: pods.tier(&member.locality),
                    heat: heat.heat,
                    of_router: of_router(id).unwrap_or(0),
                    carries: heat.carries,
                });
        let turn = self.turn;
        self.turn = self.turn.wrapping_add(1);
        let (placement, watermark) = (self.config.placement, self.config.watermark);
        place(placement, watermark, &candidates, turn)
    }

    /// What a new transport of this router is expected to take of a core: it will consume what is
    /// there, and carry something of its own.
    pub(super) fn transport_weight(&self, router: &str, direct: bool) -> f32 {
        if direct {
            return DIRECT;
        }
        let producers = self.state.routers.get(router).map_or(0, |r| r.producers);
        CONSUMER * (1 + producers.min(CONSUMERS)) as f32
    }

    pub(super) fn place_observer(&mut self, member: MemberId) {
        self.ledger.placed(member, OBSERVER, self.now);
    }

    pub(super) fn is_hot(&self, member: MemberId) -> bool {
        self.ledger.heat(member, self.now).heat >= self.config.watermark
    }
}

/// The pods that something new would rather go to.
struct Pods<'a> {
    home: &'a Locality,
    /// One member's place for each.
    in_use: Vec<&'a Locality>,
}

impl Pods<'_> {
    fn tier(&self, locality: &Locality) -> Tier {
        match locality.distance(self.home) {
            Distance::Pod => Tier::Home,
            distance if is_in_pod_of(&self.in_use, locality) => Tier::InUse(distance),
            distance => Tier::New(distance),
        }
    }
}

fn pods_of<'a>(
    ids: impl Iterator<Item = &'a MemberId>,
    members: &'a BTreeMap<MemberId, Member>,
) -> Vec<&'a Locality> {
    let mut pods = Vec::new();
    for member in ids.filter_map(|id| members.get(id)) {
        if !is_in_pod_of(&pods, &member.locality) {
            pods.push(&member.locality);
        }
    }
    pods
}

fn is_in_pod_of(pods: &[&Locality], locality: &Locality) -> bool {
    let mut pods = pods.iter();
    pods.any(|pod| pod.distance(locality) == Distance::Pod)
}
