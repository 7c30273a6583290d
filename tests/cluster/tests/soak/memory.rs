//! Memory of operators, media pods and workers while it goes on.

use crate::processes::{self, Kind};
use crate::world::World;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// How often it is looked at.
const EACH: Duration = Duration::from_secs(2);
/// More than that share of what it was is not flat: each has its peaks.
const MORE: f64 = 1.25;
/// In KB: what may come on top, as the share of a small process is little.
const ON_TOP: u64 = 4_000;

struct Sample {
    at: Instant,
    kind: Kind,
    id: u32,
    kilobytes: u64,
}

/// Looks at it until this is dropped.
pub struct Memory {
    samples: Arc<Mutex<Vec<Sample>>>,
    begun: Instant,
    follower: JoinHandle<()>,
}

/// What one kind of process took at most.
pub struct Row {
    pub kind: Kind,
    /// Processes there were in all.
    pub processes: usize,
    /// In KB: around the end of the first third, and at the end of the load.
    pub third: u64,
    pub end: u64,
}

impl Row {
    pub fn is_flat(&self) -> bool {
        self.end <= (self.third as f64 * MORE) as u64 + ON_TOP
    }
}

impl Memory {
    pub fn follow(world: &World) -> Self {
        let samples: Arc<Mutex<Vec<Sample>>> = Arc::default();
        let (pods, namespace) = (world.pods.clone(), world.namespace.clone());
        let noted = Arc::clone(&samples);
        let follower = tokio::spawn(async move {
            loop {
                let all = processes::find(&pods, &namespace).await;
                let at = Instant::now();
                let new = all.into_iter().filter_map(|process| {
                    Some(Sample {
                        at,
                        kind: process.kind,
                        id: process.id,
                        kilobytes: process.memory()?,
                    })
                });
                noted
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .extend(new);
                tokio::time::sleep(EACH).await;
            }
        });
        Self {
            samples,
            begun: Instant::now(),
            follower,
        }
    }

    /// Of a load that ends now: the peaks of two windows of a sixth each, the one to the end of its
    /// first third and the one to its end.
    pub fn rows(&self) -> Vec<Row> {
        let whole = self.begun.elapsed();
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let peak = |kind, from: f64, to: f64| {
            let within = |sample: &&Sample| {
                let share = (sample.at - self.begun).div_duration_f64(whole);
                sample.kind == kind && share >= from && share <= to
            };
            let within = samples.iter().filter(within);
            within.map(|sample| sample.kilobytes).max().unwrap_or(0)
        };
        [Kind::Operator, Kind::Pod, Kind::Worker]
            .map(|kind| {
                let of = samples.iter().filter(|sample| sample.kind == kind);
                let mut ids: Vec<u32> = of.map(|sample| sample.id).collect();
                ids.sort_unstable();
                ids.dedup();
                Row {
                    kind,
                    processes: ids.len(),
                    third: peak(kind, 1.0 / 6.0, 1.0 / 3.0),
                    end: peak(kind, 5.0 / 6.0, 1.0),
                }
            })
            .into()
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.follower.abort();
    }
}
