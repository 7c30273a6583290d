//! What is printed at the end.

use crate::applications::Line;
use crate::faults::{Fault, Strike};
use crate::history::History;
use crate::memory::Row;
use crate::world::percentile;
use std::time::{Duration, Instant};

/// Faults by kind, and what became of the sessions that were there. A session that is hit again before
/// it was placed anew counts for the fault that hit it last, of those that take a home.
pub fn faults(strikes: &[Strike], history: &History) {
    println!("| fault | times | sessions there | placed anew | to Active p50 | p99 |");
    println!("|---|---|---|---|---|---|");
    let (mut all, mut counted) = (Vec::new(), 0);
    for (fault, what) in Fault::ALL {
        let of: Vec<(usize, &Strike)> = strikes
            .iter()
            .enumerate()
            .filter(|(_, strike)| strike.fault == fault)
            .collect();
        let there: usize = of.iter().map(|(_, strike)| strike.there.len()).sum();
        let mut times: Vec<Duration> = of
            .iter()
            .flat_map(|(index, strike)| anew(strike, &strikes[index + 1..], history))
            .collect();
        counted += times.len();
        let (p50, p99) = match fault.moves() {
            true => shown(&mut times),
            false => ("–".to_owned(), "–".to_owned()),
        };
        let moved = times.len();
        println!(
            "| {what} | {} | {there} | {moved} | {p50} | {p99} |",
            of.len()
        );
        all.append(&mut times);
    }
    let (p50, p99) = shown(&mut all);
    println!("| all | {} | | {counted} | {p50} | {p99} |", strikes.len());
    let moves = history.moves();
    let others = moves.saturating_sub(counted);
    println!("placed anew in all: {moves}, {others} of them by none of these");
    println!("reasons: {:?}", history.reasons());
    let (several, most) = history.spread();
    println!("{several} sessions were on several pods, one on {most}");
}

/// How long it took to the next generation of each session there that moved by this fault.
fn anew(strike: &Strike, later: &[Strike], history: &History) -> Vec<Duration> {
    if !strike.fault.moves() {
        return Vec::new();
    }
    let by_this = |placed: &&(String, u64), at: Instant| {
        let another =
            |other: &Strike| other.fault.moves() && other.at < at && other.there.contains(placed);
        !later.iter().any(another)
    };
    let moved = strike.there.iter().filter_map(|placed| {
        let (_, at) = history.next(placed)?;
        (at > strike.at && by_this(&placed, at)).then(|| at - strike.at)
    });
    moved.collect()
}

/// p50 and p99.
pub fn shown(times: &mut [Duration]) -> (String, String) {
    if times.is_empty() {
        return ("–".to_owned(), "–".to_owned());
    }
    let text = |time: Duration| format!("{:.1} s", time.as_secs_f32());
    (text(percentile(times, 0.5)), text(percentile(times, 0.99)))
}

pub fn applications(last: &Line, mut back: Vec<Duration>) {
    println!(
        "applications: {} workers made, {} died under them, {} were not to be had, {} applications \
         ended without a word",
        last.joined, last.died, last.failed, last.crashed
    );
    let (p50, p99) = shown(&mut back);
    println!("a worker again after its death: p50 {p50}, p99 {p99}");
    println!(
        "requests: {} sent, {} answered, {} refused, {} cut off by their worker's end, {} pending, \
         {} lost; the slowest answer took {} ms",
        last.sent,
        last.answered,
        last.rejected,
        last.cut,
        last.pending,
        last.lost.len(),
        last.slowest_ms
    );
    println!("refused: {:#?}", last.reasons);
    let packets = &last.packets;
    println!(
        "packets: {} sent to somebody, {} received, {} lost",
        packets.sent, packets.received, packets.lost
    );
}

pub fn memory(rows: &[Row]) {
    println!("| memory, at most | processes | after a third | at the end |");
    println!("|---|---|---|---|");
    for row in rows {
        let megabytes = |kilobytes: u64| format!("{:.1} MB", kilobytes as f64 * 1.024 / 1000.0);
        let (third, end) = (megabytes(row.third), megabytes(row.end));
        println!("| {:?} | {} | {third} | {end} |", row.kind, row.processes);
    }
}
