//! The media pod: a supervisor of mediasoup workers, their connections to applications, and the
//! pod's HTTP API.
//!
//! - [`Pod`] is the shared state: which workers there are, who has them, what may be asked for.
//! - `slot` keeps one worker process alive and serves one connection after another on it.
//! - `process`, `connection` and `translate` carry the channel between a connection and a process.
//! - `members` keeps the workers that virtual workers share; `virtual_worker` moves messages between
//!   an application, the machine of [`mafalda_virtual_worker`] and its members; `lending` makes
//!   workers of other pods such members too.
//! - `sessions` has the sessions that are here; `seats` counts the transports that one of their
//!   applications has, and refuses those past the session's limit.
//! - `http` answers requests; `auth` says who may ask.
//!
//! Nothing in here knows of Kubernetes.

#![forbid(unsafe_code)]

pub mod auth;
mod clock;
mod config;
mod connection;
mod cpu;
pub mod horizontal;
mod http;
mod inventory;
mod lending;
mod listen_infos;
mod listening;
mod members;
mod metrics;
mod pod;
mod process;
mod rtc_addresses;
mod seats;
mod serve;
mod sessions;
mod slot;
mod status;
mod tls;
mod topology;
mod translate;
mod tune;
mod virtual_worker;

pub use config::{Config, ConfigError, Identity, ListenInfos, Tls, check_ports};
pub use lending::{Grant, Peer};
pub use listening::listen;
pub use mafalda_virtual_worker::{Between, PipeSettings, Placement, WATERMARK};
pub use pod::{Mode, Pod};
pub use serve::{Shutdown, base_url, run};
pub use tls::Certificate;
pub use tune::tune;
