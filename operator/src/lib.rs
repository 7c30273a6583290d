//! The Kubernetes operator: what people write ([`crd`]), and what makes it so.

pub mod crd;
