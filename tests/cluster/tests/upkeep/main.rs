//! What keeps a pool usable for a long time: few writes to the API server, keys and certificates that
//! are replaced while calls go on, and pods that let nobody else in.
//!
//! Ignored unless asked for: `cargo test --release -p mafalda-e2e --test upkeep -- --ignored`, as root.

mod keys;
mod refused;
mod rotation;
#[path = "../operator/world.rs"]
#[allow(dead_code, reason = "the tests of the operator have the rest")]
mod world;
mod writes;
