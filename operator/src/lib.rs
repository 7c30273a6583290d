//! The Kubernetes operator: what people write ([`crd`]), and what makes it so.

pub mod clock;
pub mod crd;
pub mod media_pod;
pub mod names;
