//! The media pods' HTTP API, seen by the operator.

pub mod access;
pub mod client;
pub mod hearing;
pub mod listen;
pub mod report;

pub use access::Access;
pub use client::Client;
pub use hearing::{Heard, Hearing};
pub use report::Report;
