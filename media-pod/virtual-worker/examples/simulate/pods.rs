//! One room that outgrows its pod, and is lent another whenever it wants more. Beside it the same room
//! where the machine is not told which workers share a pod.

use crate::machine::Machine;
use crate::{Carried, Load, WORKERS};
use mafalda_virtual_worker::{Ledger, Locality, MemberId, Placement};
use std::collections::BTreeSet;
use std::error::Error;
use std::time::Duration;

/// Workers of each pod.
const POD: usize = 4;
/// Seconds until a pod that is wanted is there.
const START: u64 = 5;

/// Prints a table of rooms when all are there.
pub fn run() -> Result<(), Box<dyn Error>> {
    println!(
        "| {WORKERS} workers in pods of {POD} | pods | workers | streams from pod to pod | fewest |\n|---|---|---|---|---|"
    );
    for (title, senders, peers, pace) in [
        ("a broadcast to 1500", 1, 1501, 1),
        ("a panel of 10 before 200", 10, 210, 2),
        ("a meeting of 40", 40, 40, 8),
    ] {
        for (what, knows) in [("", true), (", pods not told", false)] {
            println!("| {title}{what} {}", simulate(senders, peers, pace, knows)?);
        }
    }
    Ok(())
}

/// Somebody comes each `pace` seconds.
fn simulate(
    senders: usize,
    peers: usize,
    pace: u64,
    knows: bool,
) -> Result<String, Box<dyn Error>> {
    let ledger = Ledger::default();
    let mut room = Machine::new(Placement::Pack, ledger.clone(), 0, senders, 0)?;
    let mut lent = 0;
    let mut wanted = 0;
    let mut loads = room.loads();
    for now in 0..peers as u64 * pace {
        room.tick(now)?;
        if !room.wants_more() && lent > 0 {
            wanted = now;
        } else if lent == 0 || (now >= wanted + START && lent < WORKERS) {
            for worker in lent..lent + POD {
                room.lend(worker, place(worker / POD, knows))?;
            }
            lent += POD;
            wanted = now;
        }
        if now.is_multiple_of(pace) {
            room.join((now / pace) as usize)?;
        }
        loads = room.loads();
        for (worker, load) in (0..).zip(&loads) {
            let now = Duration::from_secs(now);
            ledger.on_cpu(MemberId(worker), load.cpu(), now);
        }
    }
    Ok(survey(&room, &loads))
}

fn place(pod: usize, knows: bool) -> Locality {
    if !knows {
        return Locality::default();
    }
    let (pod, zone) = match pod {
        // Home, where the machine runs itself.
        0 => Default::default(),
        pod => (format!("pod-{pod}"), format!("zone-{}", pod % 2)),
    };
    Locality {
        pod: pod.into(),
        zone: zone.into(),
        ..Locality::default()
    }
}

fn survey(room: &Machine, loads: &[Load; WORKERS]) -> String {
    let used = (0..WORKERS).filter(|worker| loads[*worker].cpu() > 0.0);
    let pods: BTreeSet<usize> = used.clone().map(|worker| worker / POD).collect();
    let mut crossings = 0;
    let mut ways = BTreeSet::new();
    for pipe in room.pipes() {
        let (from, to) = (pipe.source as usize / POD, pipe.target as usize / POD);
        if from != to {
            crossings += pipe.producers.len();
            ways.extend(pipe.producers.into_iter().map(|producer| (producer, to)));
        }
    }
    let (pods, workers, fewest) = (pods.len(), used.count(), ways.len());
    format!("| {pods} | {workers} | {crossings} | {fewest} |")
}
