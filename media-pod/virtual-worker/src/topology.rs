//! Where things are, pipes included: what no dump shows.

use crate::locality::text;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
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

/// What crosses from one pod to another, over all pipes.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BetweenPods {
    /// The pod that media comes from.
    #[serde(serialize_with = "text")]
    pub source_pod: Arc<str>,
    /// The pod that media goes to.
    #[serde(serialize_with = "text")]
    pub target_pod: Arc<str>,
    /// How many pipes there are.
    pub pipes: usize,
    /// How many producers and data producers cross them.
    pub producers: usize,
    /// Sent since those pipes were made, as far as they were measured.
    pub bytes: u64,
    /// Sent in the last second.
    pub bytes_per_second: u64,
}

/// The sums for each two pods, in their order. A pod that is not known is another than those that are.
pub fn between_pods<'a>(pipes: impl IntoIterator<Item = &'a PipeTopology>) -> Vec<BetweenPods> {
    let mut sums: BTreeMap<(&str, &str), (BetweenPods, BTreeSet<&str>)> = BTreeMap::new();
    for pipe in pipes {
        if pipe.source_pod == pipe.target_pod {
            continue;
        }
        let way = (&*pipe.source_pod, &*pipe.target_pod);
        let (sum, producers) = sums.entry(way).or_default();
        sum.source_pod.clone_from(&pipe.source_pod);
        sum.target_pod.clone_from(&pipe.target_pod);
        sum.pipes += 1;
        sum.bytes += pipe.bytes.unwrap_or(0);
        sum.bytes_per_second += pipe.bytes_per_second.unwrap_or(0);
        producers.extend(pipe.producers.iter().map(String::as_str));
    }
    let sums = sums.into_values().map(|(sum, producers)| BetweenPods {
        producers: producers.len(),
        ..sum
    });
    sums.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_crosses_between_pods_is_summed_by_way() {
        let pipe = |source: &str, target: &str, producers: &[&str], bytes| PipeTopology {
            router: "r".to_owned(),
            source: 0,
            target: 1,
            source_pod: source.into(),
            target_pod: target.into(),
            producers: producers.iter().map(|id| (*id).to_owned()).collect(),
            consumers: 1,
            srtp: false,
            rtx: false,
            bytes,
            bytes_per_second: bytes.map(|bytes| bytes / 10),
        };
        let pipes = [
            pipe("b", "a", &["p"], Some(70)),
            pipe("a", "b", &["p", "q"], Some(100)),
            pipe("a", "a", &["p"], Some(1000)),
            pipe("a", "b", &["q"], Some(20)),
            pipe("a", "b", &["s"], None),
        ];
        let sum = |source: &str, target: &str, pipes, producers, bytes| BetweenPods {
            source_pod: source.into(),
            target_pod: target.into(),
            pipes,
            producers,
            bytes,
            bytes_per_second: bytes / 10,
        };
        let expected = [sum("a", "b", 3, 3, 120), sum("b", "a", 1, 1, 70)];
        assert_eq!(between_pods(&pipes), expected);
        assert_eq!(between_pods(&[]), []);
    }
}
