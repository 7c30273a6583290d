//! A day of rooms on pods of 16 workers, simulated under each way to place them: the machine's own
//! `pack` and `spread`, and the eager mesh that others use. Prints a table, and draws a plot.
//!
//! ```sh
//! cargo run --release -p mafalda-virtual-worker --example simulate [docs/images/placement.svg]
//! ```
//!
//! With `pods` instead of a path: rooms that outgrow their pod.

mod channel;
mod day;
mod machine;
mod member;
mod mesh;
mod numbers;
mod plot;
mod pods;
mod report;
mod rooms;

use day::Policy;
use std::error::Error;
use std::time::Instant;

/// Workers of a pod.
pub const WORKERS: usize = 16;

/// What one worker carries of a room.
#[derive(Clone, Copy, Debug, Default)]
pub struct Load {
    /// Copies of producers included.
    pub producers: usize,
    /// Those that feed pipes included.
    pub consumers: usize,
    /// Producers that are piped to it.
    pub copies: usize,
    /// Ends of pipes.
    pub ends: usize,
}

impl Load {
    /// Share of a core: 500 streams a core, in or out. Thus a piped producer costs a consumer on one
    /// worker and a producer on the other.
    pub fn cpu(&self) -> f32 {
        0.002 * (self.producers + self.consumers) as f32
    }
}

/// A room as a pod carries it.
pub trait Carried {
    fn join(&mut self, peer: usize) -> Result<(), Box<dyn Error>>;
    fn leave(&mut self, peer: usize) -> Result<(), Box<dyn Error>>;
    fn tick(&mut self, seconds: u64) -> Result<(), Box<dyn Error>>;
    fn loads(&self) -> [Load; WORKERS];
    fn end(&mut self) -> Result<(), Box<dyn Error>>;
}

fn main() -> Result<(), Box<dyn Error>> {
    if std::env::args().nth(1).as_deref() == Some("pods") {
        return pods::run();
    }
    let rooms = &rooms::rooms();
    report::print_rooms(rooms);
    let began = Instant::now();
    // Errors of threads must be able to leave them.
    let simulate = |policy: Policy| -> Result<_, String> {
        let fifteen = day::room_of_15(policy).map_err(|error| error.to_string())?;
        let day = day::run(policy, rooms).map_err(|error| error.to_string())?;
        Ok((policy, day, fifteen))
    };
    let days: Vec<_> = std::thread::scope(|scope| {
        let policies = [Policy::Pack, Policy::Spread, Policy::Mesh];
        let threads = policies.map(|policy| scope.spawn(move || simulate(policy)));
        threads
            .into_iter()
            .map(|thread| thread.join().map_err(|_| "a policy panicked".to_owned())?)
            .collect::<Result<_, _>>()
    })?;
    eprintln!("simulated in {:.0} s", began.elapsed().as_secs_f32());
    report::print(&days);
    if let Some(path) = std::env::args().nth(1) {
        std::fs::write(&path, plot::draw(&days))?;
        println!("\n{path} is drawn");
    }
    Ok(())
}
