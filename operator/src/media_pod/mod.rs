//! Media pods as Kubernetes objects: how they are made, and where clients reach them. Pure.

pub mod address;
pub mod manifest;
pub mod ports;
pub mod workers;
