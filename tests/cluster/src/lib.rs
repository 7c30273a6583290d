//! A real Kubernetes cluster for tests. `tests/cluster/cluster` starts it and makes its faults;
//! tests speak to its API server through kube.
//!
//! The tests are ignored unless they are asked for, as the cluster needs root and a build of ten
//! minutes, once a machine.

mod access;
mod calls;
mod cluster;
mod operator;
pub mod pod;
mod room;
pub mod simulated;
mod wait;

pub use access::{Access, AllAccess, node};
pub use calls::{Calls, Event, Line};
pub use cluster::{Cluster, Error};
pub use mafalda_operator::crd::apply as apply_crds;
pub use operator::{IMAGE, Operator, load_media_pod};
pub use room::{Room, Said};
pub use wait::wait;
