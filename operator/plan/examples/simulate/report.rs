//! What a day came to.

use crate::numbers::percentile;
use std::collections::BTreeMap;
use std::time::Duration;

/// What was counted. Times in seconds.
#[derive(Default)]
pub struct Day {
    pub arrived: u64,
    /// From the arrival of a session to its first home.
    pub waits: Vec<f64>,
    /// From the death of a pod to the next home of each of its sessions.
    pub recoveries: Vec<f64>,
    pub moves: BTreeMap<&'static str, u64>,
    pub held: u64,
    pub created: u64,
    pub deleted: u64,
    pub cancelled: u64,
    pub pods_lost: u64,
    /// What each plan took, on the clock of the machine that simulates.
    pub planning: Vec<f64>,
    pub samples: Vec<Sample>,
}

/// A minute.
pub struct Sample {
    pub hours: f64,
    pub pods: usize,
    pub draining: usize,
    pub old: usize,
    /// Pods that would carry the load if it could be cut at will.
    pub ideal: usize,
    pub sessions: usize,
    pub waiting: usize,
}

pub fn print(day: &Day, took: Duration) {
    let most = |value: fn(&Sample) -> usize| day.samples.iter().map(value).max().unwrap_or(0);
    let total = |value: fn(&Sample) -> usize| day.samples.iter().map(value).sum::<usize>() as f64;
    let moved = |reason: &str| day.moves.get(reason).copied().unwrap_or(0);
    let (mut waits, mut recoveries) = (day.waits.clone(), day.recoveries.clone());
    let mut planning = day.planning.clone();
    let lost = day.samples.last().map_or(0, |sample| sample.waiting);
    let pod_hours = total(|sample| sample.pods) / 60.0;
    let ideal_hours = total(|sample| sample.ideal) / 60.0;
    let upgrade = day
        .samples
        .iter()
        .filter(|sample| sample.hours > 12.5 && sample.old > 0)
        .count();
    let rows = [
        (
            "sessions",
            format!("{}, at most {} at once", day.arrived, most(|s| s.sessions)),
        ),
        ("pods at most", most(|sample| sample.pods).to_string()),
        (
            "pod hours, against the ideal",
            format!(
                "{pod_hours:.0} : {ideal_hours:.0} = {:.2}",
                pod_hours / ideal_hours
            ),
        ),
        (
            "pods made, deleted",
            format!("{}, {}", day.created, day.deleted),
        ),
        ("drains taken back", day.cancelled.to_string()),
        ("wait for a home, p50 / p99 / longest", times(&mut waits)),
        ("sessions told that they wait", day.held.to_string()),
        ("without a home at midnight", lost.to_string()),
        ("pods that died with their node", day.pods_lost.to_string()),
        (
            "sessions they had: moved (dropped and rejoined)",
            moved("HomeSilent").to_string(),
        ),
        (
            "their next home, p50 / p99 / longest",
            times(&mut recoveries),
        ),
        ("moved for other reasons", moved_else(day)),
        ("upgrade took", format!("{:.1} h", upgrade as f64 / 60.0)),
        (
            "moved from a draining pod, nobody in them",
            moved("NobodyThere").to_string(),
        ),
        (
            "moved at a drain's deadline (dropped)",
            moved("HomeDrained").to_string(),
        ),
        (
            "a plan, p50 / p99 / longest",
            format!(
                "{:.1} / {:.1} / {:.1} ms",
                percentile(&mut planning, 0.5) * 1e3,
                percentile(&mut planning, 0.99) * 1e3,
                percentile(&mut planning, 1.0) * 1e3
            ),
        ),
        (
            "plans",
            format!("{} in {:.0} s", planning.len(), took.as_secs_f64()),
        ),
    ];
    println!("| a day | |\n|---|---|");
    for (what, value) in rows {
        println!("| {what} | {value} |");
    }
}

/// Moves for any other reason than a node that died or a drain.
fn moved_else(day: &Day) -> String {
    let known = ["HomeSilent", "NobodyThere", "HomeDrained"];
    let other = day
        .moves
        .iter()
        .filter(|(reason, _)| !known.contains(reason));
    let other: Vec<_> = other
        .map(|(reason, count)| format!("{count} {reason}"))
        .collect();
    if other.is_empty() {
        "0".into()
    } else {
        other.join(", ")
    }
}

fn times(values: &mut [f64]) -> String {
    format!(
        "{:.1} / {:.1} / {:.1} s",
        percentile(values, 0.5),
        percentile(values, 0.99),
        percentile(values, 1.0)
    )
}
