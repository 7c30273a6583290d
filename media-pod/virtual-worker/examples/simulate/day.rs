//! A day second by second, and one room alone.

use crate::machine::Machine;
use crate::mesh::Mesh;
use crate::rooms::{DAY, PODS, Room};
use crate::{Carried, Load, WORKERS};
use mafalda_virtual_worker::{Ledger, Locality, MemberId, Placement, WATERMARK};
use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

/// For so long after a change a room has something to do: pipes that nobody uses end.
const BUSY: u64 = 10;
/// Seconds from one sample to the next.
pub const SAMPLE: u64 = 300;

#[derive(Clone, Copy, Debug)]
pub enum Policy {
    Pack,
    Spread,
    Mesh,
}

/// What was counted. Sums are over all seconds.
#[derive(Default)]
pub struct Day {
    pub copies: Sum,
    pub pipes: Sum,
    pub workers: Sum,
    /// In cores.
    pub cpu: Sum,
    /// Of it, for pipes.
    pub cpu_of_pipes: f64,
    /// Seconds that workers were over the watermark, and over a whole core.
    pub over: u64,
    pub overloaded: u64,
    /// Workers of a room, each second.
    pub room_workers: u64,
    pub room_seconds: u64,
    pub samples: Vec<Sample>,
}

#[derive(Clone, Copy)]
pub struct Sample {
    pub hours: f64,
    pub copies: usize,
    pub workers: usize,
    /// Share of the workers in use that are over the watermark.
    pub over: f64,
}

#[derive(Default)]
pub struct Sum {
    pub total: f64,
    pub most: f64,
}

impl Sum {
    fn add(&mut self, value: f64) {
        self.total += value;
        self.most = self.most.max(value);
    }

    pub fn mean(&self) -> f64 {
        self.total / DAY as f64
    }
}

/// A room of 15 that is alone on 16 idle workers.
pub struct Fifteen {
    pub copies: usize,
    pub workers: usize,
    pub hottest: f32,
}

#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
enum Event {
    Join(usize),
    Leave(usize),
}

struct Running {
    carried: Box<dyn Carried>,
    loads: [Load; WORKERS],
    changed: u64,
}

#[derive(Default)]
struct Pod {
    ledger: Ledger,
    turn: usize,
}

pub fn run(policy: Policy, rooms: &[Room]) -> Result<Day, Box<dyn Error>> {
    let mut events: Vec<(u64, usize, Event)> = Vec::new();
    for (index, room) in rooms.iter().enumerate() {
        for (peer, (joins, leaves)) in room.peers.iter().enumerate() {
            events.push((*joins, index, Event::Join(peer)));
            events.push((*leaves, index, Event::Leave(peer)));
        }
    }
    events.sort_unstable();
    let mut events = events.into_iter().peekable();
    let mut pods: Vec<Pod> = (0..PODS).map(|_| Pod::default()).collect();
    let mut running: BTreeMap<usize, Running> = BTreeMap::new();
    let mut day = Day::default();
    for now in 0..DAY {
        while let Some((_, index, event)) = events.next_if(|(at, ..)| *at <= now) {
            let room = &rooms[index];
            if let std::collections::btree_map::Entry::Vacant(entry) = running.entry(index) {
                let carried = carry(policy, &mut pods[room.pod], index, room.senders, now)?;
                entry.insert(Running {
                    carried,
                    loads: Default::default(),
                    changed: now,
                });
            }
            if let Some(it) = running.get_mut(&index) {
                it.changed = now;
                it.carried.tick(now)?;
                match event {
                    Event::Join(peer) => it.carried.join(peer)?,
                    Event::Leave(peer) => it.carried.leave(peer)?,
                }
            }
        }
        let mut loads = [[Load::default(); WORKERS]; PODS];
        let mut over = Vec::new();
        for (index, it) in &mut running {
            if now <= it.changed + BUSY {
                it.carried.tick(now)?;
                it.loads = it.carried.loads();
            }
            day.room_seconds += 1;
            for (sum, load) in loads[rooms[*index].pod].iter_mut().zip(&it.loads) {
                day.room_workers += u64::from(load.cpu() > 0.0);
                add(sum, load);
            }
            if rooms[*index].end() <= now {
                over.push(*index);
            }
        }
        for index in over {
            if let Some(mut it) = running.remove(&index) {
                it.carried.end()?;
            }
        }
        for (pod, loads) in pods.iter().zip(&loads) {
            for (worker, load) in (0..).zip(loads) {
                let now = Duration::from_secs(now);
                pod.ledger.on_cpu(MemberId(worker), load.cpu(), now);
            }
        }
        count(&mut day, now, &loads);
    }
    Ok(day)
}

fn carry(
    policy: Policy,
    pod: &mut Pod,
    room: usize,
    senders: usize,
    now: u64,
) -> Result<Box<dyn Carried>, Box<dyn Error>> {
    let placement = match policy {
        Policy::Pack => Placement::Pack,
        Policy::Spread => Placement::Spread,
        Policy::Mesh => {
            pod.turn += 1;
            return Ok(Box::new(Mesh::new(pod.turn, senders)));
        }
    };
    let ledger = pod.ledger.clone();
    let mut room = Machine::new(placement, ledger, room, senders, now)?;
    for worker in 0..WORKERS {
        room.lend(worker, Locality::default())?;
    }
    Ok(Box::new(room))
}

fn add(sum: &mut Load, load: &Load) {
    sum.producers += load.producers;
    sum.consumers += load.consumers;
    sum.copies += load.copies;
    sum.ends += load.ends;
}

fn count(day: &mut Day, now: u64, loads: &[[Load; WORKERS]]) {
    let loads = loads.iter().flatten();
    let (mut copies, mut ends, mut workers, mut over) = (0, 0, 0, 0);
    let mut cpu = 0.0;
    for load in loads {
        let share = load.cpu();
        copies += load.copies;
        ends += load.ends;
        workers += usize::from(share > 0.0);
        over += usize::from(share > WATERMARK);
        day.overloaded += u64::from(share > 1.0);
        cpu += f64::from(share);
    }
    let both = Load {
        producers: copies,
        consumers: copies,
        ..Load::default()
    };
    day.copies.add(copies as f64);
    day.pipes.add((ends / 2) as f64);
    day.workers.add(workers as f64);
    day.cpu.add(cpu);
    day.cpu_of_pipes += f64::from(both.cpu());
    day.over += over as u64;
    if now.is_multiple_of(SAMPLE) {
        day.samples.push(Sample {
            hours: now as f64 / 3600.0,
            copies,
            workers,
            over: over as f64 / workers.max(1) as f64,
        });
    }
}

/// Peers come a few seconds apart, so that CPU can show.
pub fn room_of_15(policy: Policy) -> Result<Fifteen, Box<dyn Error>> {
    let mut pod = Pod::default();
    let mut room = carry(policy, &mut pod, 0, 15, 0)?;
    let mut loads = room.loads();
    for now in 0..120 {
        room.tick(now)?;
        if now.is_multiple_of(8) {
            room.join((now / 8) as usize)?;
        }
        loads = room.loads();
        for (worker, load) in (0..).zip(&loads) {
            let now = Duration::from_secs(now);
            pod.ledger.on_cpu(MemberId(worker), load.cpu(), now);
        }
    }
    let copies = loads.iter().map(|load| load.copies).sum();
    if matches!(policy, Policy::Mesh) {
        // 15 peers, 2 producers each, to 15 other workers.
        assert_eq!(copies, 450);
    }
    Ok(Fifteen {
        copies,
        workers: loads.iter().filter(|load| load.cpu() > 0.0).count(),
        hottest: loads.iter().map(Load::cpu).fold(0.0, f32::max),
    })
}
