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
    /// It is in the original's pod.
    pub with_original: bool,
    /// It is to be given back.
    pub cordoned: bool,
    /// Over the watermark.
    pub hot: bool,
}

/// One within the bounds. Rather
/// 1. one that is not to be given back,
/// 2. one of the target's own pod, however hot: a stream goes from pod to pod once and is passed on
///    there,
/// 3. one whose copy can be passed on there,
/// 4. the nearest,
/// 5. one of the original's pod, however hot: who is in a third pod has nothing to do with the media
///    between two others, which goes on when that pod dies,
/// 6. one below the watermark: heat is about workers, and those of one pod feed each other,
/// 7. the nearest to the original, then the one that feeds the fewest.
///
/// If none is within the bounds, the one that feeds the fewest.
pub(super) fn feeder(
    feeders: impl Iterator<Item = Feeder> + Clone,
    bounds: &PipeSettings,
) -> Option<Feeder> {
    let fits = |f: &Feeder| f.depth < bounds.max_depth && f.children < bounds.max_fan_out;
    let best = feeders.clone().filter(fits);
    best.min_by_key(|f| (rank(f, bounds), f.children, f.member))
        .or_else(|| feeders.min_by_key(|f| (f.children, rank(f, bounds), f.member)))
}

/// How willingly it is taken, the least first: as [`feeder`] says, but for how many it feeds.
fn rank(f: &Feeder, bounds: &PipeSettings) -> impl Ord + use<> {
    let crosses = f.distance > Distance::Pod;
    // The first copy of a pod should be able to feed the others there.
    let ends_there = crosses && f.depth + 1 >= bounds.max_depth;
    (
        f.cordoned,
        ends_there,
        f.distance,
        !f.with_original,
        f.hot,
        f.depth,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One of the original's pod, where the copy is to be as well.
    fn near(depth: usize, children: usize) -> Feeder {
        Feeder {
            member: MemberId(0),
            depth,
            children,
            distance: Distance::Pod,
            with_original: true,
            cordoned: false,
            hot: false,
        }
    }

    fn hot(feeder: Feeder) -> Feeder {
        Feeder {
            hot: true,
            ..feeder
        }
    }

    fn cordoned(feeder: Feeder) -> Feeder {
        Feeder {
            cordoned: true,
            ..feeder
        }
    }

    /// One of the original's pod, so far from the target.
    fn first(depth: usize, children: usize, distance: Distance) -> Feeder {
        Feeder {
            distance,
            ..near(depth, children)
        }
    }

    /// A copy in another pod than the original's, so far from the target.
    fn copy(depth: usize, children: usize, distance: Distance) -> Feeder {
        Feeder {
            with_original: false,
            ..first(depth, children, distance)
        }
    }

    /// Two wide at most.
    fn chosen(max_depth: usize, rows: &[Feeder]) -> Option<u32> {
        let bounds = PipeSettings {
            max_depth,
            max_fan_out: 2,
            ..PipeSettings::default()
        };
        let feeders = rows.iter().zip(0..);
        let feeders = feeders.map(|(feeder, member)| Feeder {
            member: MemberId(member),
            ..*feeder
        });
        feeder(feeders, &bounds).map(|feeder| feeder.member.0)
    }

    #[test]
    fn in_one_pod_the_cool_one_with_room() {
        for (title, rows, expected) in [
            ("nobody", &[][..], None),
            ("the original", &[near(0, 0)], Some(0)),
            (
                "the original while it has room",
                &[near(0, 1), near(1, 0)],
                Some(0),
            ),
            ("a copy of a full one", &[near(0, 2), near(1, 0)], Some(1)),
            (
                "a cool copy before a hot original",
                &[hot(near(0, 0)), near(1, 1)],
                Some(1),
            ),
            (
                "a hot one if all are",
                &[hot(near(0, 0)), hot(near(1, 0))],
                Some(0),
            ),
            (
                "a hot one before one that is to go",
                &[cordoned(near(0, 0)), hot(near(1, 0))],
                Some(1),
            ),
            (
                "the one with fewer",
                &[near(0, 2), near(1, 1), near(1, 0)],
                Some(2),
            ),
            (
                "none too deep",
                &[near(0, 2), near(2, 0), hot(near(1, 1))],
                Some(2),
            ),
            (
                "all full: the one with fewest",
                &[near(0, 2), near(1, 3), near(2, 1)],
                Some(2),
            ),
        ] {
            assert_eq!(chosen(2, rows), expected, "{title}");
        }
    }

    #[test]
    fn between_pods_once_and_not_by_way_of_a_third() {
        use Distance::{Beyond, Cluster, Pod, Region, Zone};

        for (title, rows, expected) in [
            (
                "a copy of the pod before the original",
                &[first(0, 0, Zone), copy(1, 1, Pod)][..],
                1,
            ),
            (
                "however hot it is",
                &[first(0, 0, Zone), hot(copy(1, 1, Pod))],
                1,
            ),
            (
                "of the pod the cool one",
                &[first(0, 0, Zone), hot(copy(1, 0, Pod)), copy(2, 1, Pod)],
                2,
            ),
            (
                "unless all there are to go",
                &[first(0, 0, Zone), cordoned(copy(1, 0, Pod))],
                0,
            ),
            (
                "or full",
                &[copy(1, 2, Pod), copy(3, 0, Pod), first(0, 1, Beyond)],
                2,
            ),
            (
                "a copy of the zone before the original",
                &[first(0, 0, Region), copy(1, 1, Zone)],
                1,
            ),
            (
                "of the cluster before one beyond",
                &[first(0, 0, Beyond), copy(1, 1, Cluster)],
                1,
            ),
            (
                "of equally near ones one of the original's pod",
                &[copy(1, 0, Zone), first(0, 1, Zone)],
                1,
            ),
            (
                "however hot that is",
                &[copy(1, 0, Zone), hot(first(0, 1, Zone))],
                1,
            ),
            (
                "of that pod the cool one",
                &[copy(1, 0, Zone), hot(first(0, 1, Zone)), first(1, 1, Zone)],
                2,
            ),
            (
                "a third pod's when the original's has no room",
                &[copy(1, 0, Zone), first(0, 2, Zone)],
                0,
            ),
            (
                "or is to go",
                &[copy(1, 0, Zone), cordoned(first(0, 0, Zone))],
                0,
            ),
            (
                "one whose copy can feed others of its pod, not the nearest",
                &[first(0, 1, Cluster), copy(2, 0, Zone)],
                0,
            ),
            (
                "all full: of those with fewest the one in the pod",
                &[first(0, 2, Zone), copy(1, 2, Pod)],
                1,
            ),
        ] {
            assert_eq!(chosen(3, rows), Some(expected), "{title}");
        }
    }
}
