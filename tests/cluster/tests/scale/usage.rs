//! What programs take: processor time and memory, as Linux counts them.

use mafalda_e2e::Cluster;
use std::collections::BTreeMap;
use std::time::Duration;

/// Processor time of a process so far.
pub fn cpu(id: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
    let fields = stat.rsplit(')').next().unwrap();
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = |index: usize| fields[index].parse::<u64>().unwrap();
    // A tick is a hundredth of a second.
    Duration::from_millis((ticks(11) + ticks(12)) * 10)
}

/// Memory of a process in MB: now, and at most so far.
pub fn memory(id: u32) -> (u64, u64) {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let megabytes = |field: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kilobytes = line.unwrap().split_whitespace().next().unwrap();
        kilobytes.parse::<u64>().unwrap() * 1024 / 1_000_000
    };
    (megabytes("VmRSS:"), megabytes("VmHWM:"))
}

/// Processor time so far of the programs of a control plane, where they are processes of this
/// machine.
pub fn control_plane(cluster: &Cluster) -> BTreeMap<String, Duration> {
    let status = cluster.script(&["status"]).unwrap_or_default();
    let of = |line: &str| {
        let mut words = line.split_whitespace();
        let (name, id) = (words.next()?, words.next()?.parse().ok()?);
        Some((name.to_owned(), cpu(id)))
    };
    status.lines().filter_map(of).collect()
}

/// What each program took since then, as one line: CPU time for each of `count`.
pub fn since(
    before: &BTreeMap<String, Duration>,
    after: &BTreeMap<String, Duration>,
    count: usize,
) -> String {
    let each = |(name, time): (&String, &Duration)| {
        let took = time.saturating_sub(before.get(name).copied().unwrap_or_default());
        format!("{name} {}", milliseconds(took, count))
    };
    let each: Vec<String> = after.iter().map(each).collect();
    each.join(", ")
}

/// The share of one of `count`, in milliseconds.
pub fn milliseconds(time: Duration, count: usize) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1000.0 / count as f64)
}

/// What all of them took since then.
pub fn total(before: &BTreeMap<String, Duration>, after: &BTreeMap<String, Duration>) -> Duration {
    let each = |(name, time): (&String, &Duration)| {
        time.saturating_sub(before.get(name).copied().unwrap_or_default())
    };
    after.iter().map(each).sum()
}

/// How many cores each had of those of the machine in that time, and so who is the limit.
pub fn limit(took: &[(&str, Duration)], time: Duration) -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
    let share = |took: Duration| took.as_secs_f64() / time.as_secs_f64();
    let each: Vec<_> = took
        .iter()
        .map(|(who, took)| format!("{who} {:.2}", share(*took)))
        .collect();
    let most = took.iter().max_by_key(|(_, took)| *took);
    let busy = took.iter().map(|(_, took)| share(*took)).sum::<f64>() / cores;
    format!(
        "of {cores} cores: {}; together {:.0} % of them, the most of it the {}'s",
        each.join(", "),
        busy * 100.0,
        most.map_or("", |(who, _)| who)
    )
}
