//! The gateway of the chart on a real cluster: one URL for all media pods, whatever becomes of its
//! replicas and of the pods.
//!
//! Ignored unless asked for: `cargo test --release -p mafalda-e2e --test gateway -- --ignored`, as root.

mod ask;
#[path = "../chart/files.rs"]
#[allow(dead_code, reason = "the chart's tests have the rest")]
mod files;
#[path = "../chart/helm.rs"]
#[allow(dead_code, reason = "the chart's tests have the rest")]
mod helm;
mod one_url;
mod place;
#[path = "../chart/release.rs"]
#[allow(dead_code, reason = "the chart's tests have the rest")]
mod release;
mod rights;
