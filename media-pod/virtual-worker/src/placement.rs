//! On which member something new goes.

use crate::locality::Distance;
use crate::state::MemberId;
use std::fmt;
use std::str::FromStr;

/// Share of one core above which nothing new is placed on a member.
pub const WATERMARK: f32 = 0.6;

/// How members are chosen.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Placement {
    /// As few members as carry the load, so that few pipes are needed: those of the virtual worker's
    /// own pod first, so that what fits into one pod stays in one.
    #[default]
    Pack,
    /// One after the other.
    Spread,
}

/// How willingly something is placed in a member's pod; the first is the best.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Tier {
    /// The virtual worker runs there itself.
    Home,
    /// The router in question has something there already.
    InUse(Distance),
    /// So far from home.
    New(Distance),
}

/// A member that could be chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    pub member: MemberId,
    pub tier: Tier,
    /// Share of one core that it uses or is about to use, 0 to 1.
    pub heat: f32,
    /// How many things of the router in question it carries.
    pub of_router: usize,
    /// How many things of anybody it carries.
    pub carries: usize,
}

/// Chooses one of `candidates`, `None` only if there is none. `turn` goes up by one each time.
pub fn place(
    placement: Placement,
    watermark: f32,
    candidates: &[Candidate],
    turn: usize,
) -> Option<MemberId> {
    let chosen = match placement {
        Placement::Spread => candidates.get(turn % candidates.len().max(1)),
        Placement::Pack => pack(watermark, candidates),
    };
    chosen.map(|candidate| candidate.member)
}

/// In the first pods that have any below the watermark: of those the hottest of this router, else the
/// hottest in use, else the least used. With none below, the least hot of all.
fn pack(watermark: f32, candidates: &[Candidate]) -> Option<&Candidate> {
    let cool = candidates.iter().filter(|c| c.heat < watermark);
    let Some(first) = cool.clone().map(|candidate| candidate.tier).min() else {
        return least_used(candidates.iter());
    };
    let cool = cool.filter(|candidate| candidate.tier == first);
    // Of equals the first: the choice does not depend on how they are iterated.
    let hottest = |fits: fn(&&Candidate) -> bool| {
        cool.clone().filter(fits).min_by(|a, b| {
            let heat = b.heat.total_cmp(&a.heat);
            heat.then((b.of_router, b.carries).cmp(&(a.of_router, a.carries)))
        })
    };
    hottest(|candidate| candidate.of_router > 0)
        .or_else(|| hottest(|candidate| candidate.carries > 0))
        .or_else(|| least_used(cool.clone()))
}

fn least_used<'a>(candidates: impl Iterator<Item = &'a Candidate>) -> Option<&'a Candidate> {
    candidates.min_by(|a, b| {
        let heat = a.heat.total_cmp(&b.heat);
        heat.then((a.tier, a.carries).cmp(&(b.tier, b.carries)))
    })
}

/// As on a command line: `pack` or `spread`.
impl FromStr for Placement {
    type Err = UnknownPlacement;

    fn from_str(name: &str) -> Result<Self, UnknownPlacement> {
        match name {
            "pack" => Ok(Self::Pack),
            "spread" => Ok(Self::Spread),
            _ => Err(UnknownPlacement(name.to_owned())),
        }
    }
}

impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pack => "pack",
            Self::Spread => "spread",
        })
    }
}

/// A name that is no [`Placement`]'s.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("unknown placement {0:?}: use \"pack\" or \"spread\"")]
pub struct UnknownPlacement(String);

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(rows: &[(f32, usize, usize)]) -> Vec<Candidate> {
        let candidate =
            |(index, &(heat, of_router, carries)): (usize, &(f32, usize, usize))| Candidate {
                member: MemberId(index as u32),
                tier: Tier::Home,
                heat,
                of_router,
                carries,
            };
        rows.iter().enumerate().map(candidate).collect()
    }

    #[test]
    fn pack_prefers_the_hottest_of_the_router_below_the_watermark() {
        for (title, rows, chosen) in [
            ("nobody", &[][..], None),
            ("all idle: the first", &[(0.0, 0, 0), (0.0, 0, 0)], Some(0)),
            ("the router's own", &[(0.5, 0, 9), (0.1, 1, 1)], Some(1)),
            (
                "the hottest of its own",
                &[(0.2, 1, 1), (0.4, 1, 1)],
                Some(1),
            ),
            (
                "not above the watermark",
                &[(0.7, 5, 5), (0.1, 1, 1)],
                Some(1),
            ),
            (
                "one in use before an idle one",
                &[(0.7, 5, 5), (0.0, 0, 0), (0.2, 0, 3)],
                Some(2),
            ),
            (
                "all hot: the least",
                &[(0.9, 5, 5), (0.7, 0, 2), (0.8, 1, 1)],
                Some(1),
            ),
        ] {
            let got = place(Placement::Pack, WATERMARK, &candidates(rows), 7);
            assert_eq!(got, chosen.map(MemberId), "{title}");
        }
    }

    #[test]
    fn pack_leaves_a_pod_when_it_is_full() {
        const IN_USE: Tier = Tier::InUse(Distance::Region);
        const NEAR: Tier = Tier::New(Distance::Zone);
        const FAR: Tier = Tier::New(Distance::Beyond);
        for (title, rows, chosen) in [
            (
                "an idle one at home before a hotter one of the router",
                &[(IN_USE, 0.5, 9), (Tier::Home, 0.0, 0)][..],
                1,
            ),
            (
                "a pod in use before a nearer new one",
                &[(Tier::Home, 0.7, 9), (NEAR, 0.3, 0), (IN_USE, 0.0, 0)],
                2,
            ),
            (
                "the nearest in use",
                &[(IN_USE, 0.5, 9), (Tier::InUse(Distance::Zone), 0.1, 1)],
                1,
            ),
            (
                "the nearest new one, there the hottest",
                &[(FAR, 0.5, 0), (NEAR, 0.0, 0), (NEAR, 0.2, 0)],
                2,
            ),
            (
                "none that is hot while any is cool",
                &[(Tier::Home, 0.7, 9), (IN_USE, 0.6, 9), (FAR, 0.5, 0)],
                2,
            ),
            (
                "all hot: the least, wherever it is",
                &[(Tier::Home, 0.9, 9), (IN_USE, 0.8, 9), (FAR, 0.7, 0)],
                2,
            ),
            (
                "all equally hot: at home",
                &[(FAR, 0.9, 0), (Tier::Home, 0.9, 9)],
                1,
            ),
        ] {
            let candidates: Vec<Candidate> = (0..)
                .zip(rows)
                .map(|(member, &(tier, heat, of_router))| Candidate {
                    member: MemberId(member),
                    tier,
                    heat,
                    of_router,
                    carries: 1,
                })
                .collect();
            let got = place(Placement::Pack, WATERMARK, &candidates, 7);
            assert_eq!(got, Some(MemberId(chosen)), "{title}");
        }
    }

    #[test]
    fn spread_takes_turns() {
        let three = candidates(&[(0.9, 0, 0); 3]);
        let turns: Vec<_> = (0..5)
            .filter_map(|turn| place(Placement::Spread, WATERMARK, &three, turn))
            .collect();
        assert_eq!(turns, [0, 1, 2, 0, 1].map(MemberId));
        assert_eq!(place(Placement::Spread, WATERMARK, &[], 0), None);
    }
}
