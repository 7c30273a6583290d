//! On which member something new goes.

use crate::state::MemberId;
use std::fmt;
use std::str::FromStr;

/// Share of one core above which nothing new is placed on a member.
pub const WATERMARK: f32 = 0.6;

/// How members are chosen.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Placement {
    /// As few members as carry the load, so that few pipes are needed.
    #[default]
    Pack,
    /// One after the other.
    Spread,
}

/// A member that could be chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    pub member: MemberId,
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

/// The hottest of this router below the watermark, else the hottest in use, else the least used.
fn pack(watermark: f32, candidates: &[Candidate]) -> Option<&Candidate> {
    // Of equals the first: the choice does not depend on how they are iterated.
    let hottest = |fits: fn(&Candidate) -> bool| {
        let cool = candidates.iter().filter(|c| c.heat < watermark && fits(c));
        cool.min_by(|a, b| {
            let heat = b.heat.total_cmp(&a.heat);
            heat.then((b.of_router, b.carries).cmp(&(a.of_router, a.carries)))
        })
    };
    hottest(|candidate| candidate.of_router > 0)
        .or_else(|| hottest(|candidate| candidate.carries > 0))
        .or_else(|| {
            let mut all = candidates.iter();
            let first = all.next()?;
            Some(all.fold(first, |least, candidate| {
                let heat = candidate.heat.total_cmp(&least.heat);
                let order = heat.then(candidate.carries.cmp(&least.carries));
                if order.is_lt() { candidate } else { least }
            }))
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
    fn spread_takes_turns() {
        let three = candidates(&[(0.9, 0, 0); 3]);
        let turns: Vec<_> = (0..5)
            .filter_map(|turn| place(Placement::Spread, WATERMARK, &three, turn))
            .collect();
        assert_eq!(turns, [0, 1, 2, 0, 1].map(MemberId));
        assert_eq!(place(Placement::Spread, WATERMARK, &[], 0), None);
    }
}
