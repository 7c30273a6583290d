//! Media through real media pods on a real cluster: by each exposure, under upgrades, and from the
//! chart to a browser's picture.
//!
//! Ignored unless asked for: `cargo test --release -p mafalda-e2e --test media -- --ignored`, as root.

mod exposures;
mod moves;
mod pictures;
mod upgrades;
#[path = "../operator/world.rs"]
#[allow(dead_code, reason = "the tests of the operator have the rest")]
mod world;
