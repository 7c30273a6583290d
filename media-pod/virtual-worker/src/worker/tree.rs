//! From which member a new copy is fed.

use crate::config::PipeSettings;
use crate::locality::Distance;
use crate::state::MemberId;

/// A member that has the producer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Feeder {
    pub member: MemberId,
    /// How many pipes lie between it and the original.
    pub depth: usize,
    /// How many copies it feeds.
    pub children: usize,
    /// From the member that the copy is for.
    pub distance: Distance,
    /// Over the watermark, or cordoned.
    pub to_be_spared: bool,
}

/// One within the bounds: rather one that need not be spared, then the nearest, so that a stream goes
/// from pod to pod once and is passed on there, then the nearest to the original, then the one that
/// feeds the fewest. If none is within the bounds, the one that feeds the fewest.
pub(super) fn feeder(
    feeders: impl Iterator<Item = Feeder> + Clone,
    bounds: &PipeSettings,
) -> Option<Feeder> {
    let fits =
        |feeder: &Feeder| feeder.depth < bounds.max_depth && feeder.children < bounds.max_fan_out;
    // The first copy of a pod should be able to feed the others there.
    let ends_there = |f: &Feeder| f.distance > Distance::Pod && f.depth + 1 >= bounds.max_depth;
    let nearness = |f: &Feeder| (f.distance, f.depth);
    let best = feeders.clone().filter(fits);
    best.min_by_key(|f| {
        (
            f.to_be_spared,
            ends_there(f),
            nearness(f),
            f.children,
            f.member,
        )
    })
    .or_else(|| feeders.min_by_key(|f| (f.children, f.to_be_spared, nearness(f), f.member)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Depth, children, whether to be spared and distance of each; two wide at most.
    fn chosen(
        max_depth: usize,
        rows: impl IntoIterator<Item = (usize, usize, bool, Distance)>,
    ) -> Option<u32> {
        let bounds = PipeSettings {
            max_depth,
            max_fan_out: 2,
            ..PipeSettings::default()
        };
        let feeders: Vec<Feeder> = rows
            .into_iter()
            .zip(0..)
            .map(
                |((depth, children, to_be_spared, distance), member)| Feeder {
                    member: MemberId(member),
                    depth,
                    children,
                    distance,
                    to_be_spared,
                },
            )
            .collect();
        feeder(feeders.into_iter(), &bounds).map(|feeder| feeder.member.0)
    }

    #[test]
    fn the_nearest_cool_one_with_room() {
        for (title, rows, expected) in [
            ("nobody", &[][..], None),
            ("the original", &[(0, 0, false)], Some(0)),
            (
                "the original while it has room",
                &[(0, 1, false), (1, 0, false)],
                Some(0),
            ),
            (
                "a copy of a full one",
                &[(0, 2, false), (1, 0, false)],
                Some(1),
            ),
            (
                "a cool copy before a hot original",
                &[(0, 0, true), (1, 1, false)],
                Some(1),
            ),
            (
                "a hot one if all are",
                &[(0, 0, true), (1, 0, true)],
                Some(0),
            ),
            (
                "the one with fewer",
                &[(0, 2, false), (1, 1, false), (1, 0, false)],
                Some(2),
            ),
            (
                "none too deep",
                &[(0, 2, false), (2, 0, false), (1, 1, true)],
                Some(2),
            ),
            (
                "all full: the one with fewest",
                &[(0, 2, false), (1, 3, false), (2, 1, false)],
                Some(2),
            ),
        ] {
            let rows = rows
                .iter()
                .map(|&(d, c, spared)| (d, c, spared, Distance::Pod));
            assert_eq!(chosen(2, rows), expected, "{title}");
        }
    }

    #[test]
    fn the_nearest_to_the_target_unless_it_is_to_be_spared() {
        use Distance::{Beyond, Cluster, Pod, Region, Zone};

        for (title, rows, expected) in [
            (
                "a copy of the pod before the original",
                &[(0, 0, false, Zone), (1, 1, false, Pod)][..],
                1,
            ),
            (
                "a copy of the zone before the original",
                &[(0, 0, false, Region), (1, 1, false, Zone)],
                1,
            ),
            (
                "of the cluster before one beyond",
                &[(0, 0, false, Beyond), (1, 1, false, Cluster)],
                1,
            ),
            (
                "of equally near ones the nearest to the original",
                &[(1, 0, false, Zone), (0, 1, false, Zone)],
                1,
            ),
            (
                "a far one before one to be spared",
                &[(1, 0, true, Pod), (0, 1, false, Beyond)],
                1,
            ),
            (
                "one whose copy can feed others of its pod, not the nearest",
                &[(0, 1, false, Cluster), (2, 0, false, Zone)],
                0,
            ),
            (
                "one to be spared if there is no other",
                &[(0, 0, true, Zone), (1, 1, true, Pod)],
                1,
            ),
            (
                "a far one with room",
                &[
                    (1, 2, false, Pod),
                    (3, 0, false, Pod),
                    (0, 1, false, Beyond),
                ],
                2,
            ),
            (
                "all full: of those with fewest the nearest",
                &[(0, 2, false, Zone), (1, 2, false, Pod)],
                1,
            ),
        ] {
            assert_eq!(chosen(3, rows.iter().copied()), Some(expected), "{title}");
        }
    }
}
