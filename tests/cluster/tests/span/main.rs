//! A session over several pods, on three nodes: it grows when its workers are hot, shrinks when people
//! leave, and goes on when pods come, go, die or are cut off.
//!
//! Ignored unless asked for: `cargo test --release -p mafalda-e2e --test span -- --ignored --nocapture`,
//! as root.

#[path = "../gateway/ask.rs"]
#[allow(dead_code, reason = "the tests of the gateway have the rest")]
mod ask;
mod capture;
mod faults;
#[path = "../chart/files.rs"]
#[allow(dead_code, reason = "the chart's tests have the rest")]
mod files;
mod gateway;
mod growth;
#[path = "../chart/helm.rs"]
#[allow(dead_code, reason = "the chart's tests have the rest")]
mod helm;
#[path = "../upkeep/keys.rs"]
#[allow(dead_code, reason = "the tests of upkeep have the rest")]
mod keys;
mod notice;
mod stage;
#[path = "../operator/world.rs"]
#[allow(dead_code, reason = "the tests of the operator have the rest")]
mod world;
