//! Media pods that are only played: many of them in this process, each with an address of its own.
//! Kubernetes has real Pod objects for them; [`kubelet`] says of those that they run, [`api`] answers
//! for them.

pub mod api;
pub mod kubelet;
