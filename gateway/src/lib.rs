//! One endpoint for a cluster of media pods. It is stateless: any number of replicas may run, and one that
//! ends costs the connections through it no more than a new socket through another.
//!
//! The way of the data: a [`source`] says which nodes there are, `listen` hears what each says of itself,
//! and both go into [`nodes`]. A request comes in by `serve`, [`route`] says what it asks for, `access`
//! whether it may, [`nodes`] which node it is for, and `pass` hands it on: after the node's answer to a
//! WebSocket request, bytes are copied both ways and nobody looks at them. Media never comes here.
//!
//! [`nodes`], [`sessions`], [`grants`] and [`route`] are pure: state and time in, decisions out. Where no
//! Kubernetes is, `placing`, `lending` and `announce` tell nodes what was decided.

#![forbid(unsafe_code)]

mod access;
mod announce;
mod config;
mod counted;
mod dial;
mod gateway;
pub mod grants;
mod http;
mod lending;
mod listen;
mod metrics;
pub mod nodes;
mod pass;
mod placing;
mod refusal;
pub mod report;
pub mod route;
mod serve;
pub mod sessions;
pub mod source;
mod status;

pub use config::{Config, ConfigError, OwnToken};
pub use gateway::Gateway;
pub use mafalda_media_pod::Tls;
pub use mafalda_plan::Preference;
pub use serve::{base_url, run};
