//! From which member a new copy is fed.

use crate::config::PipeSettings;
use crate::state::MemberId;

/// A member that has the producer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Feeder {
    pub member: MemberId,
    /// How many pipes lie between it and the original.
    pub depth: usize,
    /// How many copies it feeds.
    pub children: usize,
    /// Over the watermark.
    pub hot: bool,
}

/// One within the bounds, rather a cool one, then the nearest to the original, then the one that
/// feeds the fewest. If none is within the bounds, the one that feeds the fewest.
pub(super) fn feeder(
    feeders: impl Iterator<Item = Feeder> + Clone,
    bounds: &PipeSettings,
) -> Option<Feeder> {
    let fits =
        |feeder: &Feeder| feeder.depth < bounds.max_depth && feeder.children < bounds.max_fan_out;
    let best = feeders.clone().filter(fits);
    best.min_by_key(|f| (f.hot, f.depth, f.children, f.member))
        .or_else(|| feeders.min_by_key(|f| (f.children, f.hot, f.depth, f.member)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Depth, children, hot of each; two pipes deep and two wide at most.
    fn chosen(rows: &[(usize, usize, bool)]) -> Option<u32> {
        let bounds = PipeSettings {
            max_depth: 2,
            max_fan_out: 2,
            ..PipeSettings::default()
        };
        let feeders = rows
            .iter()
            .zip(0..)
            .map(|(&(depth, children, hot), member)| Feeder {
                member: MemberId(member),
                depth,
                children,
                hot,
            });
        feeder(feeders, &bounds).map(|feeder| feeder.member.0)
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
            assert_eq!(chosen(rows), expected, "{title}");
        }
    }
}
