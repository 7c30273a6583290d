//! Where the list of nodes comes from.

mod dns;
mod file;
#[cfg(feature = "kubernetes")]
pub mod kubernetes;

pub use dns::{Names, dns};
pub use file::{FileError, file, read};

use crate::gateway::Gateway;
use crate::nodes::Address;

/// A list that does not change.
pub async fn fixed(gateway: Gateway, nodes: Vec<Address>) {
    gateway.list(nodes.into_iter().map(Into::into).collect());
}
