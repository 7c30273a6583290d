//! What the two ends say before and beside the frames, in JSON.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Headers of the WebSocket request.
pub mod header {
    /// The version of the application's mediasoup (`MEDIASOUP_VERSION`).
    pub const MEDIASOUP: &str = "mafalda-mediasoup";
    /// The version of this protocol.
    pub const PROTOCOL: &str = "mafalda-protocol";
    /// The id of the connection to resume; absent for a new one.
    pub const CONNECTION: &str = "mafalda-connection";
    /// The generation of the session that the client means; absent for any.
    pub const GENERATION: &str = "mafalda-generation";
    /// The pod that a gateway passed the connection on to: in the answer, and in requests to resume.
    pub const POD: &str = "mafalda-pod";
}

/// The client's first message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Hello {
    /// A new worker is wanted.
    Start(Start),
    /// The connection goes on over this socket.
    Resume(Resume),
}

/// The worker's arguments whose value is the path of a file on the application's host: what
/// [`Start::files`] has.
pub const FILE_ARGUMENTS: [&str; 2] = ["--dtlsCertificateFile", "--dtlsPrivateKeyFile"];

/// How to start the worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Start {
    /// The process id under which the application knows its worker.
    pub pid: u32,
    /// The worker's arguments, the program's name left out.
    pub args: Vec<String>,
    /// The contents of files that arguments name, by the argument's name.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
    /// Whether the client could pass its ends of the channel to a pod on its own host.
    #[serde(default)]
    pub hand_over: bool,
}

/// Which connection goes on, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resume {
    /// The connection's secret, from its [`Welcome`].
    pub key: String,
    /// How many frames the client has received.
    pub received: u64,
}

/// The pod's answer to [`Hello`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Welcome {
    /// The connection's id: logs and `/v1/status` name it.
    pub connection: String,
    /// What the client must show to resume.
    pub key: String,
    /// How long a connection without a socket is kept, in seconds.
    pub grace_seconds: u64,
    /// How much may be unacknowledged in each direction, in bytes.
    pub window: usize,
    /// The largest frame the pod accepts, in bytes.
    pub max_frame: usize,
    /// How many frames the pod has received.
    pub received: u64,
    /// The abstract Unix socket to pass the channel through, if the pod offers it. The client
    /// answers with [`HandedOver`] before anything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hand_over: Option<String>,
}

/// The client's answer to an offer in [`Welcome::hand_over`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HandedOver {
    /// Whether the pod has the channel now; if not, frames carry it.
    pub handed_over: bool,
}

/// What is said beside the frames, at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Note {
    /// All frames up to this number are handed on.
    Acknowledge(u64),
}

/// Why a pod refuses, the body of an HTTP error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The refusal.
    pub error: RefusalBody,
}

/// What a [`Refusal`] says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusalBody {
    /// A word for programs, such as `versionMismatch`.
    pub code: String,
    /// A sentence for people: what is wrong and what to do.
    pub message: String,
}
