//! Keys and certificates of a cluster, which the operator makes and renews.

pub mod certificates;
pub mod gateway;
mod keep;
pub mod rotation;

pub use keep::{Error, Kept, keep};
