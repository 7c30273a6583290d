//! A room on the machine itself: a [`VirtualWorker`] and its members.

use crate::channel::{ROUTER, consume, create_router, create_transport, produce};
use crate::member::Member;
use crate::{Carried, Load, WORKERS};
use bytes::Bytes;
use mafalda_channel::fbs::request::{Body, Method, Request};
use mafalda_channel::fbs::router::CloseTransportRequest;
use mafalda_channel::{Message, encode_request, view};
use mafalda_virtual_worker::{
    Action, Config, Ledger, Locality, MemberId, PipeTopology, Placement, VirtualWorker,
};
use std::collections::{BTreeSet, VecDeque};
use std::error::Error;
use std::time::Duration;

const KINDS: [char; 2] = ['a', 'v'];

pub struct Machine {
    machine: VirtualWorker,
    members: [Member; WORKERS],
    senders: usize,
    here: BTreeSet<usize>,
    next_id: u32,
}

impl Machine {
    /// Without workers.
    pub fn new(
        placement: Placement,
        ledger: Ledger,
        name: usize,
        senders: usize,
        now: u64,
    ) -> Result<Self, Box<dyn Error>> {
        let config = Config {
            name: name.to_string(),
            placement,
            shared: true,
            ..Config::default()
        };
        let mut room = Self {
            machine: VirtualWorker::new(config, ledger),
            members: Default::default(),
            senders,
            here: BTreeSet::new(),
            next_id: 0,
        };
        room.tick(now)?;
        room.ask(create_router)?;
        Ok(room)
    }

    /// A worker at this place is the room's to use.
    pub fn lend(&mut self, worker: usize, place: Locality) -> Result<(), Box<dyn Error>> {
        let member = MemberId(worker as u32);
        let actions = self.machine.on_member_added(member, true, place);
        self.carry_out(actions)
    }

    /// Whether it would be well served with more workers.
    pub fn wants_more(&self) -> bool {
        self.machine.wants_more()
    }

    /// The pipes that it has.
    pub fn pipes(&self) -> Vec<PipeTopology> {
        self.machine.topology().pipes
    }

    fn ask(&mut self, request: impl Fn(u32) -> Bytes) -> Result<(), Box<dyn Error>> {
        self.next_id += 1;
        let actions = self.machine.on_application(request(self.next_id));
        self.carry_out(actions)
    }

    /// Members answer at once.
    fn carry_out(&mut self, actions: Vec<Action>) -> Result<(), Box<dyn Error>> {
        let mut actions = VecDeque::from(actions);
        while let Some(action) = actions.pop_front() {
            match action {
                Action::ToMember(member, message) => {
                    for said in self.members[member.0 as usize].hear(&message)? {
                        actions.extend(self.machine.on_member(member, said));
                    }
                }
                Action::ToApplication(message) => {
                    if let Message::Response(response) = view(&message)?
                        && !response.accepted
                    {
                        return Err(format!("refused: {response:?}").into());
                    }
                }
                Action::Owns(_) | Action::Disowns(_) => {}
                Action::Died => return Err("no member is left".into()),
            }
        }
        Ok(())
    }

    fn consume(&mut self, sender: usize, receiver: usize) -> Result<(), Box<dyn Error>> {
        let transport = receives(receiver);
        for kind in KINDS {
            let producer = producer(sender, kind);
            let consumer = format!("c{receiver}-{producer}");
            self.ask(|id| consume(id, &transport, &producer, &consumer))?;
        }
        Ok(())
    }
}

/// Two transports a peer, as applications have them: one to send and one to receive.
impl Carried for Machine {
    fn join(&mut self, peer: usize) -> Result<(), Box<dyn Error>> {
        self.ask(|id| create_transport(id, &receives(peer)))?;
        if peer < self.senders {
            let transport = sends(peer);
            self.ask(|id| create_transport(id, &transport))?;
            for kind in KINDS {
                self.ask(|id| produce(id, &transport, &producer(peer, kind)))?;
            }
        }
        for other in self.here.clone() {
            if other < self.senders {
                self.consume(other, peer)?;
            }
            if peer < self.senders {
                self.consume(peer, other)?;
            }
        }
        self.here.insert(peer);
        Ok(())
    }

    fn leave(&mut self, peer: usize) -> Result<(), Box<dyn Error>> {
        self.here.remove(&peer);
        let mut transports = vec![receives(peer)];
        if peer < self.senders {
            transports.push(sends(peer));
        }
        for transport_id in transports {
            self.ask(|id| {
                let transport_id = transport_id.clone();
                let body = CloseTransportRequest { transport_id };
                encode_request(&Request {
                    id,
                    method: Method::RouterCloseTransport,
                    handler_id: ROUTER.to_owned(),
                    body: Some(Body::RouterCloseTransportRequest(Box::new(body))),
                })
            })?;
        }
        Ok(())
    }

    fn tick(&mut self, seconds: u64) -> Result<(), Box<dyn Error>> {
        let actions = self.machine.on_tick(Duration::from_secs(seconds));
        self.carry_out(actions)
    }

    fn loads(&self) -> [Load; WORKERS] {
        std::array::from_fn(|worker| self.members[worker].load())
    }

    fn end(&mut self) -> Result<(), Box<dyn Error>> {
        let actions = self.machine.on_application_gone();
        self.carry_out(actions)
    }
}

fn sends(peer: usize) -> String {
    format!("s{peer}")
}

fn receives(peer: usize) -> String {
    format!("r{peer}")
}

fn producer(peer: usize, kind: char) -> String {
    format!("p{peer}{kind}")
}
