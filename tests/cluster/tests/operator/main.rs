//! The operator on a real cluster with real media pods: what it promises, and what happens to
//! sessions when something breaks.
//!
//! Ignored unless asked for: `cargo test --release -p mafalda-e2e -- --ignored`, as root.

mod clusters;
mod drill;
mod faults;
mod refusals;
mod replicas;
mod sessions;
mod unattended;
mod world;
