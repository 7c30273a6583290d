//! A day of a large cluster, simulated: waves of sessions, nodes that die, an operator that is cut off
//! and a rolling upgrade. Prints a table, and draws a plot.
//!
//! ```sh
//! cargo run --release -p mafalda-plan --example simulate [docs/images/plan-day.svg]
//! ```

mod bench;
mod numbers;
mod operator;
mod plot;
mod report;
mod world;

use std::time::Instant;

fn main() -> std::io::Result<()> {
    let began = Instant::now();
    let day = world::World::new().run();
    report::print(&day, began.elapsed());
    bench::print();
    if let Some(path) = std::env::args().nth(1) {
        std::fs::write(&path, plot::draw(&day.samples))?;
        println!("\n{path} is drawn");
    }
    Ok(())
}
