//! Where things are, pipes included: what no dump shows.

use crate::locality::text;
use serde::Serialize;
use std::sync::Arc;

/// Where everything of one virtual worker is. All lists are sorted.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Topology {
    /// Virtual routers, by id.
    pub routers: Vec<RouterTopology>,
    /// Transports of the application, by id.
    pub transports: Vec<TransportTopology>,
    /// RTP observers, by id.
    pub observers: Vec<ObserverTopology>,
    /// Pipes, by router, source and target.
    pub pipes: Vec<PipeTopology>,
    /// Members, by id.
    pub members: Vec<MemberTopology>,
}

/// A worker lent to the virtual worker.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MemberTopology {
    /// The member's id.
    pub id: u32,
    /// Its pod, if that is known.
    #[serde(serialize_with = "text", skip_serializing_if = "is_unknown")]
    pub pod: Arc<str>,
    /// The zone of its pod, if that is known.
    #[serde(serialize_with = "text", skip_serializing_if = "is_unknown")]
    pub zone: Arc<str>,
    /// Nothing new is placed there.
    pub cordoned: bool,
    /// How much of this virtual worker it has; see
    /// [`VirtualWorker::carries`](crate::VirtualWorker::carries).
    pub carries: usize,
}

fn is_unknown(place: &Arc<str>) -> bool {
    place.is_empty()
}

/// A virtual router.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RouterTopology {
    /// The router's id.
    pub id: String,
    /// The members that have a real router of it.
    pub members: Vec<u32>,
}

/// A transport of the application.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TransportTopology {
    /// The transport's id.
    pub id: String,
    /// Its router.
    pub router: String,
    /// Where it is.
    pub member: u32,
    /// What it is.
    pub kind: TransportKind,
    /// How many producers and data producers it has.
    pub producers: usize,
    /// How many consumers and data consumers it has.
    pub consumers: usize,
}

/// mediasoup's kinds of transports.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum TransportKind {
    /// `WebRtcTransport`
    #[default]
    WebRtc,
    /// `PlainTransport`
    Plain,
    /// `PipeTransport` of the application itself.
    Pipe,
    /// `DirectTransport`
    Direct,
}

/// An RTP observer.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ObserverTopology {
    /// The observer's id.
    pub id: String,
    /// Its router.
    pub router: String,
    /// Where it is.
    pub member: u32,
    /// How many producers it observes.
    pub producers: usize,
}

/// A pipe between two members.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PipeTopology {
    /// The router that it is of.
    pub router: String,
    /// The member that media comes from.
    pub source: u32,
    /// The member that media goes to.
    pub target: u32,
    /// The source's pod, if that is known.
    #[serde(serialize_with = "text", skip_serializing_if = "is_unknown")]
    pub source_pod: Arc<str>,
    /// The target's pod, if that is known.
    #[serde(serialize_with = "text", skip_serializing_if = "is_unknown")]
    pub target_pod: Arc<str>,
    /// Ids of the producers and data producers that cross it.
    pub producers: Vec<String>,
    /// How many consumers, data consumers and observers on the target use what crosses it.
    pub consumers: usize,
    /// What crosses it is encrypted.
    pub srtp: bool,
    /// What is lost on it is sent again.
    pub rtx: bool,
    /// Sent by the source since the pipe was made; unknown before it was measured.
    pub bytes: Option<u64>,
    /// Sent by the source in the last second; unknown before it was measured.
    pub bytes_per_second: Option<u64>,
}
