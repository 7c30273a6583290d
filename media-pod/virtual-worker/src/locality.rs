//! Where a member is, and how far from another.

use serde::{Serialize, Serializer};
use std::sync::Arc;

/// Where a worker is. Empty is unknown. Cheap to copy.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Locality {
    /// The media pod, by a name that no other of its cluster has.
    #[serde(serialize_with = "text")]
    pub pod: Arc<str>,
    /// The zone of the pod's node: `topology.kubernetes.io/zone`.
    #[serde(serialize_with = "text")]
    pub zone: Arc<str>,
    /// The region of the pod's node: `topology.kubernetes.io/region`.
    #[serde(serialize_with = "text")]
    pub region: Arc<str>,
    /// The cluster.
    #[serde(serialize_with = "text")]
    pub cluster: Arc<str>,
}

/// Without the feature of serde that would compile half of the workspace's dependencies twice.
pub(crate) fn text<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}

/// How far two workers are from each other; the nearest is the least.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Distance {
    /// They are the same.
    Worker,
    /// They are in one pod.
    Pod,
    /// Two pods of one zone.
    Zone,
    /// Two zones of one region.
    Region,
    /// Two regions of one cluster.
    Cluster,
    /// Two clusters.
    Beyond,
}

impl Locality {
    /// Between different workers, hence never [`Distance::Worker`]. A zone or region that only one
    /// of them knows is another; one that neither knows is the same.
    pub fn distance(&self, other: &Self) -> Distance {
        if self.cluster != other.cluster {
            Distance::Beyond
        } else if self.pod == other.pod {
            Distance::Pod
        } else if self.region != other.region {
            Distance::Cluster
        } else if self.zone != other.zone {
            Distance::Region
        } else {
            Distance::Zone
        }
    }

    /// Whether what goes from one to the other leaves the cluster. One that only one of them knows is
    /// another: what may leave it is protected as what does.
    pub(crate) fn is_other_cluster(&self, other: &Self) -> bool {
        self.cluster != other.cluster
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pod, zone, region and cluster, with a space between.
    fn at(place: &str) -> Locality {
        let mut parts = place.split(' ').map(|part| match part {
            "-" => Arc::default(),
            known => Arc::from(known),
        });
        let mut next = || parts.next().expect("four parts");
        Locality {
            pod: next(),
            zone: next(),
            region: next(),
            cluster: next(),
        }
    }

    #[test]
    fn the_unknown_is_near_only_to_the_unknown() {
        for (one, other, expected) in [
            ("- - - -", "- - - -", Distance::Pod),
            ("p z r c", "p z r c", Distance::Pod),
            ("p z r c", "q z r c", Distance::Zone),
            ("p - - c", "q - - c", Distance::Zone),
            ("p - - -", "q - - -", Distance::Zone),
            ("p z r c", "q y r c", Distance::Region),
            ("p z r c", "q - r c", Distance::Region),
            ("p z - c", "q y - c", Distance::Region),
            ("p z r c", "q z s c", Distance::Cluster),
            ("p z r c", "q z - c", Distance::Cluster),
            ("p z r c", "p z r d", Distance::Beyond),
            ("p - - -", "p - - d", Distance::Beyond),
        ] {
            assert_eq!(at(one).distance(&at(other)), expected, "{one}, {other}");
            assert_eq!(at(other).distance(&at(one)), expected, "{other}, {one}");
        }
    }

    #[test]
    fn a_cluster_that_only_one_knows_is_another() {
        assert!(at("p z r c").is_other_cluster(&at("p z r d")));
        assert!(!at("p z r c").is_other_cluster(&at("q y s c")));
        assert!(at("p z r c").is_other_cluster(&at("q y s -")));
        assert!(!at("p z r -").is_other_cluster(&at("q y s -")));
    }
}
