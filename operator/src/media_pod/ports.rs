//! Which media ports a pod takes.

use crate::crd::{ExposureType, PortRange};
use std::ops::RangeInclusive;

/// Ranges for plain and pipe transports, of which one is taken that is not the exposure's.
const OTHER_RANGES: [RangeInclusive<u16>; 3] = [41_000..=41_999, 20_000..=20_999, 51_000..=51_999];

/// The first port of a new pod: of the blocks in the range, the one that the fewest pods have
/// (`taken` are their first ports). Pods of one node never share a block: the scheduler keeps pods
/// with the same host port apart. `None` if the range is too small, or full where pods must not
/// share.
pub fn first_port(
    exposure: ExposureType,
    range: PortRange,
    workers: u16,
    taken: &[u16],
) -> Option<u16> {
    let blocks = (range.last - range.first + 1) / workers.max(1);
    let uses = |block: &u16| {
        let first = range.first + block * workers;
        taken.iter().filter(|port| **port == first).count()
    };
    // With HostNetwork there is one pod a node, as its API has a port too.
    let blocks = match exposure {
        ExposureType::HostNetwork => blocks.min(1),
        ExposureType::HostPort
        | ExposureType::NodePort
        | ExposureType::LoadBalancer
        | ExposureType::Internal => blocks,
    };
    let block = (0..blocks).min_by_key(uses)?;
    // A node port is one of the whole Kubernetes cluster.
    if exposure == ExposureType::NodePort && uses(&block) > 0 {
        return None;
    }
    Some(range.first + block * workers)
}

/// Ports for plain and pipe transports, of the pod's own network: none of the exposure's range.
pub fn other_ports(range: PortRange) -> RangeInclusive<u16> {
    let apart =
        |other: &&RangeInclusive<u16>| range.last < *other.start() || range.first > *other.end();
    let found = OTHER_RANGES.iter().find(apart);
    found.unwrap_or(&OTHER_RANGES[0]).clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Protects pods on one node from each other.
    #[test]
    fn blocks_are_taken_in_turn() {
        let range = PortRange {
            first: 40_000,
            last: 40_009,
        };
        let host = ExposureType::HostPort;
        for (exposure, taken, first) in [
            (host, vec![], Some(40_000)),
            (host, vec![40_000], Some(40_004)),
            (host, vec![40_000, 40_004], Some(40_000)),
            (host, vec![40_000, 40_000, 40_004], Some(40_004)),
            (ExposureType::NodePort, vec![40_000], Some(40_004)),
            (ExposureType::NodePort, vec![40_000, 40_004], None),
            (ExposureType::HostNetwork, vec![40_000], Some(40_000)),
        ] {
            assert_eq!(first_port(exposure, range, 4, &taken), first, "{taken:?}");
        }
        assert_eq!(first_port(host, range, 11, &[]), None);
    }

    #[test]
    fn other_ports_are_others() {
        for (first, last, other) in [
            (40_000, 40_999, 41_000),
            (40_000, 41_000, 20_000),
            (1024, 49_999, 51_000),
        ] {
            assert_eq!(*other_ports(PortRange { first, last }).start(), other);
        }
    }
}
