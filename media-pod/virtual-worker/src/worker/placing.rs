//! Where something new goes, and what it is expected to weigh.

use super::VirtualWorker;
use crate::placement::{Candidate, place};
use crate::state::MemberId;

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
        let of_router = |member: &MemberId| real.and_then(|real| real.get(member)).copied();
        let members = self.state.members.keys();
        let candidates: Vec<Candidate> =
            self.ledger
                .heats(members, self.now, |member, heat| Candidate {
                    member: *member,
                    heat: heat.heat,
                    of_router: of_router(member).unwrap_or(0),
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
