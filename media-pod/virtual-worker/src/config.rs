//! What a virtual worker is made with.

use crate::locality::Locality;
use crate::placement::{Placement, WATERMARK};
use std::str::FromStr;
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
    /// Which of them encrypt, default none. Between clusters they always do.
    pub srtp: Between,
    /// Which of them send again what is lost on the way, default none.
    pub rtx: Between,
}

/// Which pipes something is for.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Between {
    /// `off`: none.
    #[default]
    Nobody,
    /// `pods`: those from pod to pod.
    Pods,
    /// `on`: all.
    Members,
}

/// The name of no [`Between`].
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0:?} is not one of off, pods, on")]
pub struct UnknownBetween(pub String);

impl Between {
    /// Whether a pipe, which leads to another pod or does not, is one of them.
    pub fn includes(self, other_pod: bool) -> bool {
        match self {
            Self::Nobody => false,
            Self::Pods => other_pod,
            Self::Members => true,
        }
    }
}

impl FromStr for Between {
    type Err = UnknownBetween;

    fn from_str(name: &str) -> Result<Self, UnknownBetween> {
        match name {
            "off" => Ok(Self::Nobody),
            "pods" => Ok(Self::Pods),
            "on" => Ok(Self::Members),
            _ => Err(UnknownBetween(name.to_owned())),
        }
    }
}

impl Default for PipeSettings {
    fn default() -> Self {
        Self {
            listen_ip: "127.0.0.1".to_owned(),
            idle: Duration::from_secs(5),
            max_depth: 3,
            max_fan_out: 8,
            srtp: Between::Nobody,
            rtx: Between::Nobody,
        }
    }
}
