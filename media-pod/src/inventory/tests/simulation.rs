//! The counts against a worker that is a plain list.

use super::super::*;
use super::samples::*;
use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

/// One step of an application in the simulation below.
#[derive(Clone, Debug)]
enum Step {
    /// Makes a thing; what it needs is picked among what is there.
    Create(usize, prop::sample::Index, prop::sample::Index),
    Close(prop::sample::Index),
    /// The worker answers what it was sent, but refuses this one of it.
    Answers(Option<prop::sample::Index>),
}

const KINDS: [Kind; 8] = [
    Kind::Router,
    Kind::WebRtcServer,
    Kind::Transport,
    Kind::Producer,
    Kind::Consumer,
    Kind::DataProducer,
    Kind::DataConsumer,
    Kind::RtpObserver,
];

fn any_step() -> impl Strategy<Value = Step> {
    let pick = any::<prop::sample::Index>;
    prop_oneof![
        6 => (0..KINDS.len(), pick(), pick()).prop_map(|(kind, a, b)| Step::Create(kind, a, b)),
        1 => pick().prop_map(Step::Close),
        3 => proptest::option::of(pick()).prop_map(Step::Answers),
    ]
}

/// A worker as a plain list of what is open, with the ids of what each needs.
#[derive(Default)]
struct Model {
    open: Vec<(Kind, String, Vec<String>)>,
}

impl Model {
    fn pick(&self, kind: Kind, index: prop::sample::Index) -> Option<String> {
        let of_kind: Vec<_> = self.open.iter().filter(|thing| thing.0 == kind).collect();
        (!of_kind.is_empty()).then(|| index.get(&of_kind).1.clone())
    }

    /// What a new thing of this kind would need.
    fn needs(
        &self,
        kind: Kind,
        a: prop::sample::Index,
        b: prop::sample::Index,
    ) -> Option<Vec<String>> {
        Some(match kind {
            Kind::Router | Kind::WebRtcServer => Vec::new(),
            Kind::RtpObserver => vec![self.pick(Kind::Router, a)?],
            Kind::Transport => {
                let router = self.pick(Kind::Router, a)?;
                [Some(router), self.pick(Kind::WebRtcServer, b)]
                    .into_iter()
                    .flatten()
                    .collect()
            }
            Kind::Producer | Kind::DataProducer => vec![self.pick(Kind::Transport, a)?],
            Kind::Consumer => vec![
                self.pick(Kind::Transport, a)?,
                self.pick(Kind::Producer, b)?,
            ],
            Kind::DataConsumer => vec![
                self.pick(Kind::Transport, a)?,
                self.pick(Kind::DataProducer, b)?,
            ],
        })
    }

    fn has(&self, id: &str) -> bool {
        self.open.iter().any(|thing| thing.1 == id)
    }

    /// Closes a thing and all that needs it. Tells of consumers as mediasoup's worker does: those
    /// whose producer went, unless their own transport or router did.
    fn close(&mut self, id: &str) -> Vec<Bytes> {
        self.open.retain(|thing| thing.1 != id);
        let mut told = Vec::new();
        while let Some(at) = self
            .open
            .iter()
            .position(|thing| !thing.2.iter().all(|need| self.has(need)))
        {
            let (kind, name, needs) = self.open.remove(at);
            if let Kind::Consumer | Kind::DataConsumer = kind
                && self.has(&needs[0])
            {
                told.push(producer_closed(kind, &name));
            }
        }
        told
    }

    fn carries(&self) -> Carries {
        let count = |kind| self.open.iter().filter(|thing| thing.0 == kind).count() as u64;
        Carries {
            routers: count(Kind::Router),
            web_rtc_servers: count(Kind::WebRtcServer),
            transports: count(Kind::Transport),
            producers: count(Kind::Producer),
            consumers: count(Kind::Consumer),
            data_producers: count(Kind::DataProducer),
            data_consumers: count(Kind::DataConsumer),
            rtp_observers: count(Kind::RtpObserver),
        }
    }
}

/// A request in flight, with what the worker will make of it.
enum InFlight {
    Create(Kind, String, Vec<String>),
    Close(String),
}

proptest! {
    /// Whatever is made and closed, in whatever order, and however much is in flight: the counts
    /// are the worker's.
    #[test]
    fn counts_are_those_of_the_worker(steps in vec(any_step(), 1..120), tells in any::<bool>()) {
        let mut inventory = Inventory::default();
        let mut worker = Model::default();
        let mut in_flight: Vec<(u32, InFlight)> = Vec::new();
        for (id, step) in (1u32..).zip(steps.into_iter().chain([Step::Answers(None)])) {
            match step {
                Step::Create(kind, a, b) => {
                    let kind = KINDS[kind];
                    if let Some(needs) = worker.needs(kind, a, b) {
                        let name = format!("{kind:?} {id}");
                        inventory.observe_request(&create(id, kind, &name, &needs));
                        in_flight.push((id, InFlight::Create(kind, name, needs)));
                    }
                }
                Step::Close(index) => {
                    if !worker.open.is_empty() {
                        let (kind, name, _) = index.get(&worker.open).clone();
                        inventory.observe_request(&close(id, kind, &name));
                        in_flight.push((id, InFlight::Close(name)));
                    }
                }
                Step::Answers(refused) => {
                    let refused = refused.filter(|_| !in_flight.is_empty());
                    let refused = refused.map(|index| index.get(&in_flight).0);
                    for (id, request) in std::mem::take(&mut in_flight) {
                        let accepted = refused != Some(id) && match &request {
                            InFlight::Create(_, _, needs) => needs.iter().all(|id| worker.has(id)),
                            InFlight::Close(name) => worker.has(name),
                        };
                        match request {
                            InFlight::Create(kind, name, needs) if accepted => {
                                worker.open.push((kind, name, needs));
                            }
                            InFlight::Close(name) if accepted => {
                                // The worker tells of consumers before it answers.
                                for notification in worker.close(&name) {
                                    if tells {
                                        inventory.observe_notification(&notification);
                                    }
                                }
                            }
                            _ => {}
                        }
                        inventory.observe_response(&answer(id, accepted));
                        prop_assert_eq!(inventory.carries(), worker.carries());
                    }
                    prop_assert!(inventory.pending.is_empty());
                }
            }
        }
        prop_assert_eq!(inventory.things.len(), worker.open.len());
    }
}
