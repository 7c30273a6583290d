//! What a day came to.

use crate::WORKERS;
use crate::day::{Day, Fifteen, Policy};
use crate::rooms::{DAY, PODS, Room};

pub fn print_rooms(rooms: &[Room]) {
    let sizes = |from: usize, to: usize| {
        let count = rooms
            .iter()
            .filter(|room| (from..=to).contains(&room.peers.len()))
            .count();
        format!("{count} of {from} to {to}")
    };
    println!(
        "{} rooms ({}, {}, {}, {} with 4 who send) on {PODS} pods of {WORKERS} workers, a day\n",
        rooms.len(),
        sizes(2, 5),
        sizes(6, 12),
        sizes(13, 15),
        sizes(50, 300)
    );
}

pub fn print(days: &[(Policy, Day, Fifteen)]) {
    let row = |what: &str, value: &dyn Fn(&Day, &Fifteen) -> String| {
        let values = days.iter().map(|(_, day, fifteen)| value(day, fifteen));
        println!("| {what} | {} |", values.collect::<Vec<_>>().join(" | "));
    };
    let busy = |day: &Day| day.workers.total;
    println!("| | `pack` | `spread` | eager mesh |\n|---|---|---|---|");
    row("piped producers, mean / most at once", &|day, _| {
        format!("{:.0} / {:.0}", day.copies.mean(), day.copies.most)
    });
    row("pipes they share, mean / most at once", &|day, _| {
        format!("{:.0} / {:.0}", day.pipes.mean(), day.pipes.most)
    });
    row("workers in use, mean / most", &|day, _| {
        format!("{:.0} / {:.0}", day.workers.mean(), day.workers.most)
    });
    row("workers a room is on, mean", &|day, _| {
        format!("{:.1}", day.room_workers as f64 / day.room_seconds as f64)
    });
    row("cores needed, mean / most", &|day, _| {
        format!("{:.0} / {:.0}", day.cpu.mean(), day.cpu.most)
    });
    row("of them for pipes", &|day, _| {
        percent(day.cpu_of_pipes / day.cpu.total)
    });
    row("time of workers in use over the watermark", &|day, _| {
        percent(day.over as f64 / busy(day))
    });
    row("with more than a core to do", &|day, _| {
        percent(day.overloaded as f64 / busy(day))
    });
    row("time of all workers over the watermark", &|day, _| {
        percent(day.over as f64 / (DAY as usize * PODS * WORKERS) as f64)
    });
    row("a room of 15, alone: piped producers", &|_, fifteen| {
        fifteen.copies.to_string()
    });
    row("it is on workers", &|_, fifteen| {
        fifteen.workers.to_string()
    });
    row("the hottest of them", &|_, fifteen| {
        percent(f64::from(fifteen.hottest))
    });
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}
