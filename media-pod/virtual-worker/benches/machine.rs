//! What the machine itself costs for each message that it passes on, in rooms of different sizes: time,
//! and allocations. Prints a table, and a line of JSON.
//!
//! ```sh
//! cargo bench --bench machine -p mafalda-virtual-worker
//! ```

#[path = "../examples/simulate/channel.rs"]
mod channel;

use bytes::Bytes;
use channel::{accept, consume, create_router, create_transport, produce};
use mafalda_channel::fbs::notification::{Event, Notification};
use mafalda_channel::fbs::request::{Method, Request};
use mafalda_channel::{Message, encode_notification, encode_request, view};
use mafalda_virtual_worker::{
    Action, Config, Ledger, Locality, MemberId, Placement, VirtualWorker,
};
use std::collections::VecDeque;
use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};

const MEMBERS: u32 = 4;
const ROOMS: [usize; 3] = [10, 1_000, 50_000];
/// Of each kind.
const MESSAGES: usize = 200_000;
const WARM_UP: usize = 20_000;
/// Of each kind, of which allocations are counted.
const COUNTED: usize = 10_000;

/// What is passed on.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// A request for a consumer, on its way to the member.
    Request,
    /// The member's answer.
    Answer,
    /// What a member says of a consumer.
    Notification,
}

const KINDS: [Kind; 3] = [Kind::Request, Kind::Answer, Kind::Notification];

struct Room {
    machine: VirtualWorker,
    /// The member of each consumer.
    consumers: Vec<MemberId>,
    next_id: u32,
    /// Chooses consumers by turns that no cache foresees.
    turn: usize,
}

fn main() -> Result<(), Box<dyn Error>> {
    println!(
        "| transports | passed on | p50 | p99 | messages a second | allocations each |\n|---|---|---|---|---|---|"
    );
    let mut rows = Vec::new();
    for size in ROOMS {
        let mut room = Room::new(size)?;
        let mut times: [Vec<Duration>; 3] = Default::default();
        for message in 0..WARM_UP + MESSAGES {
            for (kind, took) in KINDS.into_iter().zip(room.pass()?) {
                if message >= WARM_UP {
                    times[kind as usize].push(took);
                }
            }
        }
        let allocations = room.allocations()?;
        for kind in KINDS {
            let times = &mut times[kind as usize];
            times.sort_unstable();
            let at = |share: f64| {
                let index = (times.len() as f64 * share) as usize;
                times[index].as_secs_f64() * 1e6
            };
            let total: Duration = times.iter().sum();
            let rate = times.len() as f64 / total.as_secs_f64();
            let (p50, p99) = (at(0.5), at(0.99));
            let allocated = allocations[kind as usize];
            println!(
                "| {size} | {kind:?} | {p50:.2} µs | {p99:.2} µs | {rate:.0} | {allocated:.2} |"
            );
            rows.push(format!(
                "{{\"transports\":{size},\"kind\":\"{kind:?}\",\"p50Micros\":{p50:.3},\"p99Micros\":{p99:.3},\
                 \"perSecond\":{rate:.0},\"allocations\":{allocated:.3}}}"
            ));
        }
    }
    println!("[{}]", rows.join(","));
    Ok(())
}

impl Room {
    /// One producer, and so many transports with a consumer of it, on four members.
    fn new(size: usize) -> Result<Self, Box<dyn Error>> {
        let config = Config {
            name: "bench".to_owned(),
            placement: Placement::Spread,
            ..Config::default()
        };
        let mut room = Self {
            machine: VirtualWorker::new(config, Ledger::default()),
            consumers: Vec::new(),
            next_id: 0,
            turn: 0,
        };
        for member in (0..MEMBERS).map(MemberId) {
            let actions = room
                .machine
                .on_member_added(member, true, Locality::default());
            room.settle(actions)?;
        }
        room.ask(create_router)?;
        room.ask(|id| create_transport(id, "origin"))?;
        room.ask(|id| produce(id, "origin", "producer"))?;
        for index in 0..size {
            let (transport, consumer) = (format!("transport{index}"), consumer(index));
            room.ask(|id| create_transport(id, &transport))?;
            room.ask(|id| consume(id, &transport, "producer", &consumer))?;
            // Its own member got the last request.
            let (member, request) = room.request(index)?;
            room.answer(member, &request)?;
            room.consumers.push(member);
        }
        Ok(room)
    }

    fn ask(&mut self, request: impl Fn(u32) -> Bytes) -> Result<(), Box<dyn Error>> {
        self.next_id += 1;
        let actions = self.machine.on_application(request(self.next_id));
        self.settle(actions)
    }

    /// Members accept all at once.
    fn settle(&mut self, actions: Vec<Action>) -> Result<(), Box<dyn Error>> {
        let mut actions = VecDeque::from(actions);
        while let Some(action) = actions.pop_front() {
            if let Action::ToMember(member, message) = action
                && let Message::Request(request) = view(&message)?
            {
                actions.extend(self.machine.on_member(member, accept(&request)?));
            }
        }
        Ok(())
    }

    /// A request for a consumer, and where it went.
    fn request(&mut self, index: usize) -> Result<(MemberId, Bytes), Box<dyn Error>> {
        let message = self.encoded(index);
        match self.machine.on_application(message).pop() {
            Some(Action::ToMember(member, message)) => Ok((member, message)),
            other => Err(format!("not passed on: {other:?}").into()),
        }
    }

    fn answer(&mut self, member: MemberId, request: &Bytes) -> Result<(), Box<dyn Error>> {
        let answer = answer_to(request)?;
        passed_up(&self.machine.on_member(member, answer))
    }

    fn encoded(&mut self, index: usize) -> Bytes {
        self.next_id += 1;
        encode_request(&Request {
            id: self.next_id,
            method: Method::ConsumerPause,
            handler_id: consumer(index),
            body: None,
        })
    }

    fn choose(&mut self) -> usize {
        self.turn = self.turn.wrapping_add(2_654_435_761);
        self.turn % self.consumers.len()
    }

    /// One message of each kind, and how long the machine took.
    fn pass(&mut self) -> Result<[Duration; 3], Box<dyn Error>> {
        let index = self.choose();
        let request = self.encoded(index);
        let begin = Instant::now();
        let down = self.machine.on_application(request.clone());
        let requested = begin.elapsed();
        if !matches!(&down[..], [Action::ToMember(member, _)] if *member == self.consumers[index]) {
            return Err(format!("not passed on: {down:?}").into());
        }
        let answer = answer_to(&request)?;
        let begin = Instant::now();
        let up = self.machine.on_member(self.consumers[index], answer);
        let answered = begin.elapsed();
        passed_up(&up)?;
        let index = self.choose();
        let notification = notification(index);
        let begin = Instant::now();
        let up = self.machine.on_member(self.consumers[index], notification);
        let notified = begin.elapsed();
        passed_up(&up)?;
        Ok([requested, answered, notified])
    }

    /// How often memory is allocated for a message of each kind.
    fn allocations(&mut self) -> Result<[f64; 3], Box<dyn Error>> {
        let mut counts = [0; 3];
        for _ in 0..COUNTED {
            let index = self.choose();
            let member = self.consumers[index];
            let request = self.encoded(index);
            let answer = answer_to(&request)?;
            let notification = notification(index);
            let machine = &mut self.machine;
            counts[0] += count(|| machine.on_application(request));
            counts[1] += count(|| machine.on_member(member, answer));
            counts[2] += count(|| machine.on_member(member, notification));
        }
        Ok(counts.map(|count| count as f64 / COUNTED as f64))
    }
}

fn count(pass: impl FnOnce() -> Vec<Action>) -> u64 {
    let counted = allocation_counter::measure(|| drop(black_box(pass())));
    counted.count_total
}

fn passed_up(actions: &[Action]) -> Result<(), Box<dyn Error>> {
    match actions {
        [Action::ToApplication(_)] => Ok(()),
        other => Err(format!("not passed on: {other:?}").into()),
    }
}

fn answer_to(request: &Bytes) -> Result<Bytes, Box<dyn Error>> {
    match view(request)? {
        Message::Request(request) => Ok(accept(&request)?),
        other => Err(format!("no request: {other:?}").into()),
    }
}

fn notification(index: usize) -> Bytes {
    encode_notification(&Notification {
        handler_id: consumer(index),
        event: Event::ConsumerScore,
        body: None,
    })
}

fn consumer(index: usize) -> String {
    format!("consumer{index}")
}
