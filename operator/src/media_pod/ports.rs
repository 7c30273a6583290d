//! Which ports a media pod takes, and what it is told of them.

use crate::crd::{ExposureType, PortRange};
use std::ops::RangeInclusive;

/// Ranges for plain and pipe transports. Each is farther from the next than a pod has ports of
/// workers, so that two of them are always free of those.
const OTHER_RANGES: [RangeInclusive<u16>; 3] = [41_000..=41_999, 20_000..=20_999, 51_000..=51_999];

/// A media pod's own limit of workers, when nobody says another: so many for each of its workers …
const WORKERS_FOR_EACH: u16 = 8;
/// … and at least so many.
const WORKERS_AT_LEAST: u16 = 32;

/// The ports that a pod's workers have: a block of the exposure's range.
pub fn block(first: u16, workers: u16) -> RangeInclusive<u16> {
    first..=first.saturating_add(workers.max(1) - 1)
}

/// The first port of a new pod: of the blocks in the range, the one that the fewest pods have
/// (`taken` are their blocks). Pods of one node never share a block: the scheduler keeps pods with
/// the same host port apart. A node port is one of the whole Kubernetes cluster: no block is taken
/// that has one of the ports in `node_ports`. `None` if the range is too small, or used up where
/// pods must not share.
pub fn first_port(
    exposure: ExposureType,
    range: PortRange,
    workers: u16,
    taken: &[RangeInclusive<u16>],
    node_ports: &[u16],
) -> Option<u16> {
    let workers = workers.max(1);
    let all = u32::from(range.last.saturating_sub(range.first)) + 1;
    let blocks = u16::try_from(all / u32::from(workers)).unwrap_or(u16::MAX);
    let ports = |index: u16| block(range.first + index * workers, workers);
    let uses = |index: &u16| {
        let ports = ports(*index);
        taken.iter().filter(|taken| overlap(taken, &ports)).count()
    };
    match exposure {
        // There is one pod a node, as its API has a port too.
        ExposureType::HostNetwork => (blocks > 0).then_some(range.first),
        ExposureType::NodePort => {
            let is_free = |index: &u16| {
                let ports = ports(*index);
                uses(index) == 0 && !node_ports.iter().any(|port| ports.contains(port))
            };
            (0..blocks).find(is_free).map(|index| *ports(index).start())
        }
        ExposureType::HostPort | ExposureType::LoadBalancer | ExposureType::Internal => {
            let index = (0..blocks).min_by_key(uses)?;
            Some(*ports(index).start())
        }
    }
}

/// Why a pod got no ports, in a sentence that names the field.
pub fn why_none(exposure: ExposureType, range: PortRange, workers: u16) -> String {
    let PortRange { first, last } = range;
    let all = u32::from(last.saturating_sub(first)) + 1;
    if all < u32::from(workers) {
        return format!(
            "spec.exposure.portRange {first} to {last} has {all} ports, and a media pod with \
             {workers} workers takes {workers}: widen it, or say fewer in spec.workersPerPod"
        );
    }
    match exposure {
        ExposureType::NodePort => format!(
            "spec.exposure.portRange {first} to {last} has no {workers} ports in a row left for \
             another media pod: each takes its own, and other MafaldaClusters and Services have \
             theirs"
        ),
        ExposureType::HostPort
        | ExposureType::HostNetwork
        | ExposureType::LoadBalancer
        | ExposureType::Internal => {
            format!("spec.exposure.portRange {first} to {last} has no ports for another media pod")
        }
    }
}

/// Workers of a pod at most: those of applications that are of no session, and those that have a
/// process, and so a port, of their own. No port passes 65535.
pub fn max_workers(first: u16, workers: u16) -> u16 {
    let wanted = workers
        .saturating_mul(WORKERS_FOR_EACH)
        .max(WORKERS_AT_LEAST);
    let left = u32::from(u16::MAX - first) + 1;
    wanted.min(u16::try_from(left).unwrap_or(u16::MAX))
}

/// Ports for plain and pipe transports, of the pod's own network: none of its workers', and none of
/// the exposure's range if that leaves any.
pub fn other_ports(range: PortRange, first: u16, workers: u16) -> RangeInclusive<u16> {
    let own = block(first, max_workers(first, workers));
    let exposed = range.first..=range.last;
    let mut apart = OTHER_RANGES.iter().filter(|other| !overlap(other, &own));
    let preferred = apart.clone().find(|other| !overlap(other, &exposed));
    let found = preferred.or_else(|| apart.next());
    // One overlaps the workers' at most: see `OTHER_RANGES`.
    found.unwrap_or(&OTHER_RANGES[0]).clone()
}

fn overlap(one: &RangeInclusive<u16>, other: &RangeInclusive<u16>) -> bool {
    one.start() <= other.end() && other.start() <= one.end()
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
        for (exposure, taken, node_ports, first) in [
            (host, vec![], vec![], Some(40_000)),
            (host, vec![40_000], vec![], Some(40_004)),
            (host, vec![40_000, 40_004], vec![], Some(40_000)),
            (host, vec![40_000, 40_000, 40_004], vec![], Some(40_004)),
            (
                ExposureType::HostNetwork,
                vec![40_000],
                vec![],
                Some(40_000),
            ),
            (ExposureType::NodePort, vec![40_000], vec![], Some(40_004)),
            (ExposureType::NodePort, vec![40_000, 40_004], vec![], None),
            // Somebody else's.
            (ExposureType::NodePort, vec![], vec![40_003], Some(40_004)),
            (ExposureType::NodePort, vec![40_000], vec![40_007], None),
            (
                ExposureType::NodePort,
                vec![],
                vec![40_008, 39_999],
                Some(40_000),
            ),
        ] {
            let blocks: Vec<_> = taken.iter().map(|first| block(*first, 4)).collect();
            let found = first_port(exposure, range, 4, &blocks, &node_ports);
            assert_eq!(found, first, "{exposure:?} {taken:?} {node_ports:?}");
        }
        assert_eq!(first_port(host, range, 11, &[], &[]), None);
        // Pods from before had more workers.
        let before = [block(40_000, 4)];
        let found = first_port(ExposureType::NodePort, range, 3, &before, &[]);
        assert_eq!(found, Some(40_006));
    }

    #[test]
    fn other_ports_are_others() {
        for (first, last, pod, other) in [
            (40_000, 40_999, 40_000, 41_000),
            // Its own processes reach into the range.
            (40_000, 40_999, 40_990, 20_000),
            (40_000, 41_000, 40_000, 20_000),
            (1024, 49_999, 1024, 51_000),
            // All of it is exposed: what the pod's workers do not have is left.
            (1024, 65_535, 41_000, 20_000),
        ] {
            let range = PortRange { first, last };
            assert_eq!(*other_ports(range, pod, 2).start(), other, "{first}-{last}");
        }
    }

    /// Protects people from a pod that waits for ever without a word.
    #[test]
    fn what_is_missing_is_said() {
        let range = PortRange {
            first: 30_000,
            last: 30_003,
        };
        let small = why_none(ExposureType::HostPort, range, 8);
        assert!(small.contains("has 4 ports") && small.contains("workersPerPod"));
        let full = why_none(ExposureType::NodePort, range, 2);
        assert!(full.contains("spec.exposure.portRange") && full.contains("2 ports in a row"));
    }
}
