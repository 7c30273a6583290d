//! A session over several pods, on three nodes: it grows when its workers are hot, shrinks when people
//! leave, and goes on when pods come, go, die or are cut off.
//!
//! Ignored unless asked for: `cargo test --release -p mafalda-e2e --test span -- --ignored --nocapture`,
//! as root.

mod capture;
mod faults;
mod growth;
#[path = "../upkeep/keys.rs"]
#[allow(dead_code, reason = "the tests of upkeep have the rest")]
mod keys;
mod stage;
#[path = "../operator/world.rs"]
#[allow(dead_code, reason = "the tests of the operator have the rest")]
mod world;
