//! What a virtual worker is made with.

use crate::locality::Locality;
use crate::placement::{Placement, WATERMARK};
use std::time::Duration;

/// What a virtual worker is made with.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The process id that the application takes for its worker's.
    pub process_id: u32,
    /// Unique among the virtual workers that share members, and without a slash: ids of its own
    /// begin with `mafalda/{name}/`.
    pub name: String,
    /// How members are chosen.
    pub placement: Placement,
    /// Share of one core above which nothing new is placed on a member, 0 to 1.
    pub watermark: f32,
    /// Of the pipes between members.
    pub pipes: PipeSettings,
    /// Id of the WebRtcServer that each member has: the application's servers stand for it. `None`:
    /// they are made as the application asks, each on one member.
    pub member_server: Option<String>,
    /// Others use these members too: settings of the whole process are not the application's to
    /// change.
    pub shared: bool,
    /// Where the virtual worker itself runs: members near to it are chosen first.
    pub locality: Locality,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            process_id: 0,
            name: String::new(),
            placement: Placement::default(),
            watermark: WATERMARK,
            pipes: PipeSettings::default(),
            member_server: None,
            shared: false,
            locality: Locality::default(),
        }
    }
}

/// How members are connected with each other.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PipeSettings {
    /// The address on which members listen for each other's pipes, default `127.0.0.1`.
    pub listen_ip: String,
    /// How long a pipe stays after its last copy, default 5 s.
    pub idle: Duration,
    /// How many pipes lie between a producer and its farthest copy at most, default 3.
    pub max_depth: usize,
    /// How many copies of one producer a member feeds at most, default 8.
    pub max_fan_out: usize,
    /// Encrypt what crosses, default no. Between clusters it is always encrypted.
    pub srtp: bool,
    /// Encrypt what crosses from pod to pod, default no.
    pub srtp_between_pods: bool,
    /// Send again what is lost on the way, default no.
    pub rtx: bool,
    /// Send again what is lost from pod to pod, default no.
    pub rtx_between_pods: bool,
}

impl Default for PipeSettings {
    fn default() -> Self {
        Self {
            listen_ip: "127.0.0.1".to_owned(),
            idle: Duration::from_secs(5),
            max_depth: 3,
            max_fan_out: 8,
            srtp: false,
            srtp_between_pods: false,
            rtx: false,
            rtx_between_pods: false,
        }
    }
}
