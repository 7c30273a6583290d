//! Where a worker goes that belongs to no session: the gateway asks, which knows of pods what they say of
//! themselves, and nothing of a cluster's revisions or addresses.

use crate::cluster::{Cluster, Pool, Timing};
use crate::load::{Load, ramp_up_weight};
use crate::names::{MediasoupVersion, PodName, Region, Revision};
use crate::place::{Candidate, NoPod, Request};
use crate::pod::{Drain, DrainCause, DrainPhase, Pod, PodPhase};
use std::collections::BTreeMap;
use std::time::Duration;

/// A pod as it was heard last.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    pub name: PodName,
    pub region: Option<Region>,
    /// The release of mediasoup that it serves.
    pub mediasoup: Option<MediasoupVersion>,
    /// Share of a core that each worker uses, 0 to 1.
    pub cpu: Vec<f64>,
    /// How long it has not answered; `None`: it never did.
    pub silence: Option<Duration>,
    /// Its workers have started.
    pub ready: bool,
    /// It takes nothing new.
    pub draining: bool,
    /// Sessions and workers that it has.
    pub used: u32,
    /// How long ago things were placed there that it still has.
    pub placed: Vec<Duration>,
}

/// What needs a pod.
#[derive(Clone, Debug, PartialEq)]
pub struct Wish {
    /// What it is expected to cost, as each of those that were placed.
    pub load: Load,
    /// Preferred.
    pub region: Option<Region>,
    /// Required.
    pub mediasoup: Option<MediasoupVersion>,
}

/// Which pod is the best of those with room.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Preference {
    /// The fullest below the watermark, so that others stay empty.
    Pack,
    /// The emptiest.
    Spread,
}

/// The pods that can take it, the best first, as places in `seen`.
///
/// Those with room below the watermark come first. When there is no such pod the emptiest comes first:
/// nobody makes another pod for a worker without a session, and a busy one is better than none.
///
/// # Errors
/// Why there is none.
pub fn rank_pods(
    wish: &Wish,
    seen: &[Seen],
    watermark: f64,
    preference: Preference,
) -> Result<Vec<usize>, NoPod> {
    let cluster = settings(watermark);
    let labels = BTreeMap::new();
    let request = Request {
        load: wish.load,
        region: wish.region.as_ref(),
        node_labels: &labels,
        mediasoup: wish.mediasoup.as_ref(),
        spoken: None,
        lost: false,
    };
    let pods: Vec<Pod> = seen.iter().map(pod).collect();
    let (mut roomy, mut full, mut nearest) = (Vec::new(), Vec::new(), None);
    for (index, (pod, seen)) in pods.iter().zip(seen).enumerate() {
        let mut candidate = Candidate::new(pod, &cluster, NOW);
        for age in &seen.placed {
            let weight = ramp_up_weight(*age, cluster.timing.ramp_up);
            candidate.carry(wish.load, wish.load * weight);
        }
        match candidate.check(&request) {
            Ok(()) => roomy.push((index, candidate)),
            Err(Some(NoPod::Full)) => full.push((index, candidate)),
            Err(reason) => nearest = nearest.max(reason),
        }
    }
    let emptier = |(_, a): &(usize, Candidate<'_>), (_, b): &(usize, Candidate<'_>)| {
        let part = |c: &Candidate<'_>| c.load.workers() / c.capacity.workers().max(f64::EPSILON);
        let far =
            |c: &Candidate<'_>| request.region.is_some() && c.pod.region.as_ref() != request.region;
        far(a)
            .cmp(&far(b))
            .then_with(|| part(a).total_cmp(&part(b)))
            .then_with(|| a.pod.name.cmp(&b.pod.name))
    };
    match preference {
        Preference::Pack => roomy.sort_by(|(_, a), (_, b)| a.rank(b, &request)),
        Preference::Spread => roomy.sort_by(emptier),
    }
    full.sort_by(emptier);
    let order: Vec<usize> = roomy.iter().chain(&full).map(|(index, _)| *index).collect();
    match order.is_empty() {
        true => Err(nearest.unwrap_or(NoPod::NoneReady)),
        false => Ok(order),
    }
}

/// Any time that leaves room for silences before it.
const NOW: Duration = Duration::from_secs(1 << 32);

fn settings(watermark: f64) -> Cluster {
    Cluster {
        name: "".into(),
        pool: Pool {
            min: 0,
            max: 0,
            spare: 0,
        },
        workers_per_pod: 1,
        watermark,
        revision: Revision::from(""),
        drain_deadline: Duration::ZERO,
        next_ordinal: 0,
        made_room: None,
        timing: Timing::default(),
    }
}

fn pod(seen: &Seen) -> Pod {
    Pod {
        name: seen.name.clone(),
        node: None,
        region: seen.region.clone(),
        node_labels: BTreeMap::new(),
        revision: Revision::from(""),
        mediasoup: seen.mediasoup.clone(),
        cpu: seen.cpu.clone(),
        phase: PodPhase::Running,
        unschedulable: false,
        created: NOW,
        terminating_since: None,
        ready_since: seen.ready.then_some(NOW),
        address_known: true,
        drain_requested: false,
        drain: seen.draining.then_some(Drain {
            phase: DrainPhase::Cordoned,
            cause: DrainCause::Requested,
            since: NOW,
        }),
        restored_at: None,
        suspect: false,
        down: false,
        last_seen: seen.silence.map(|silence| NOW.saturating_sub(silence)),
        sessions: Vec::new(),
        anonymous: seen.used,
        borrowers: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(name: &str, cpu: f64) -> Seen {
        Seen {
            name: name.into(),
            region: None,
            mediasoup: Some("3".into()),
            cpu: vec![cpu],
            silence: Some(Duration::ZERO),
            ready: true,
            draining: false,
            used: 1,
            placed: Vec::new(),
        }
    }

    fn wish() -> Wish {
        Wish {
            load: Load::new(0.1),
            region: None,
            mediasoup: Some("3".into()),
        }
    }

    fn order(seen: &[Seen], preference: Preference) -> Result<Vec<String>, NoPod> {
        let order = rank_pods(&wish(), seen, 0.6, preference)?;
        Ok(order
            .iter()
            .map(|index| seen[*index].name.to_string())
            .collect())
    }

    #[test]
    fn the_fullest_below_the_watermark_comes_first_then_the_emptiest_above_it() {
        let pods = [
            seen("a", 0.1),
            seen("b", 0.9),
            seen("c", 0.4),
            seen("d", 0.7),
        ];
        assert_eq!(
            order(&pods, Preference::Pack).unwrap(),
            ["c", "a", "d", "b"]
        );
        assert_eq!(
            order(&pods, Preference::Spread).unwrap(),
            ["a", "c", "d", "b"]
        );
    }

    #[test]
    fn what_was_placed_counts_until_it_shows() {
        let placed = |ages: &[u64]| Seen {
            placed: ages.iter().map(|age| Duration::from_secs(*age)).collect(),
            ..seen("a", 0.1)
        };
        let b = || seen("b", 0.05);
        for (ages, first) in [
            (&[0; 4][..], "a"),
            (&[0; 5], "b"),
            (&[60; 5], "a"),
            (&[120; 50], "a"),
        ] {
            let order = order(&[placed(ages), b()], Preference::Pack).unwrap();
            assert_eq!(order[0], first, "{ages:?}");
        }
    }

    #[test]
    fn who_cannot_take_it_is_left_out_and_the_nearest_reason_told() {
        let silent = Seen {
            silence: Some(Duration::from_secs(3)),
            ..seen("silent", 0.1)
        };
        let never = Seen {
            silence: None,
            ..seen("never", 0.1)
        };
        let draining = Seen {
            draining: true,
            ..seen("draining", 0.1)
        };
        let starting = Seen {
            ready: false,
            ..seen("starting", 0.1)
        };
        let other = Seen {
            mediasoup: Some("4".into()),
            ..seen("other", 0.1)
        };
        let none = [silent, never, draining, starting, other.clone()];
        assert_eq!(order(&none, Preference::Pack), Err(NoPod::NoneReady));
        assert_eq!(order(&[other], Preference::Pack), Err(NoPod::OtherVersion));
        assert_eq!(order(&[], Preference::Pack), Err(NoPod::NoneReady));
        let mut all = none.to_vec();
        all.push(seen("well", 0.9));
        assert_eq!(order(&all, Preference::Pack).unwrap(), ["well"]);
    }

    #[test]
    fn the_region_that_is_wished_for_is_preferred() {
        let here = Seen {
            region: Some("here".into()),
            ..seen("z", 0.1)
        };
        let wish = Wish {
            region: Some("here".into()),
            ..wish()
        };
        for preference in [Preference::Pack, Preference::Spread] {
            let pods = [seen("a", 0.1), here.clone()];
            assert_eq!(rank_pods(&wish, &pods, 0.6, preference).unwrap(), [1, 0]);
        }
    }
}
