//! Sessions as Kubernetes objects: their status, and the Secret that lets applications in. Pure.

pub mod access;
pub mod status;
