//! Where each session is and was, as the API server tells it.

use crate::world::World;
use futures_util::StreamExt;
use kube::ResourceExt;
use kube::runtime::{WatchStreamExt, watcher};
use mafalda_operator::crd::{Phase, SessionStatus};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::task::JoinHandle;

/// A session in a generation.
pub type Placed = (String, u64);

#[derive(Default)]
struct Seen {
    now: BTreeMap<String, SessionStatus>,
    /// When each session was Active in each generation for the first time.
    active: BTreeMap<Placed, Instant>,
    /// On how many pods each session was, at most.
    pods: BTreeMap<String, usize>,
    /// How often each reason was given for what became of a session.
    reasons: BTreeMap<String, usize>,
}

/// Follows all Sessions of a namespace, until this is dropped.
pub struct History {
    seen: Arc<Mutex<Seen>>,
    follower: JoinHandle<()>,
}

impl History {
    pub fn follow(world: &World) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let changes = watcher(world.sessions.clone(), watcher::Config::default());
        let mut changes = changes.default_backoff().applied_objects().boxed();
        let noted = Arc::clone(&seen);
        let follower = tokio::spawn(async move {
            while let Some(change) = changes.next().await {
                // Else the watch begins anew.
                if let Ok(session) = change {
                    let mut seen = noted.lock().unwrap_or_else(PoisonError::into_inner);
                    let name = session.name_any();
                    seen.note(name, session.status.unwrap_or_default());
                }
            }
        });
        Self { seen, follower }
    }

    fn with<T>(&self, of: impl FnOnce(&Seen) -> T) -> T {
        of(&self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The sessions whose home is one of these pods.
    pub fn homes_on(&self, pods: &[String]) -> Vec<Placed> {
        let is_there = |status: &SessionStatus| {
            let home = status.home_pod.as_ref();
            home.is_some_and(|home| pods.contains(home))
        };
        self.with(|seen| {
            let there = seen.now.iter().filter(|(_, status)| is_there(status));
            there
                .map(|(name, status)| (name.clone(), status.generation.unwrap_or(0)))
                .collect()
        })
    }

    /// How many are Active.
    pub fn active(&self) -> usize {
        let is_active = |status: &&SessionStatus| status.phase == Some(Phase::Active);
        self.with(|seen| seen.now.values().filter(is_active).count())
    }

    /// What is of each session.
    pub fn now(&self) -> BTreeMap<String, SessionStatus> {
        self.with(|seen| seen.now.clone())
    }

    /// When a session was Active in a later generation than that for the first time.
    pub fn next(&self, (session, generation): &Placed) -> Option<(u64, Instant)> {
        self.with(|seen| {
            let later = (session.clone(), generation + 1)..=(session.clone(), u64::MAX);
            let (placed, at) = seen.active.range(later).next()?;
            Some((placed.1, *at))
        })
    }

    /// How many sessions were on several pods, and on how many at most.
    pub fn spread(&self) -> (usize, usize) {
        self.with(|seen| {
            let several = seen.pods.values().filter(|pods| **pods > 1).count();
            (several, seen.pods.values().copied().max().unwrap_or(0))
        })
    }

    /// How often each reason was given that was not the one before.
    pub fn reasons(&self) -> BTreeMap<String, usize> {
        self.with(|seen| seen.reasons.clone())
    }

    /// How often a session was placed anew.
    pub fn moves(&self) -> usize {
        self.with(|seen| seen.active.keys().filter(|placed| placed.1 > 1).count())
    }
}

impl Seen {
    fn note(&mut self, name: String, status: SessionStatus) {
        if status.phase == Some(Phase::Active) {
            let placed = (name.clone(), status.generation.unwrap_or(0));
            self.active.entry(placed).or_insert_with(Instant::now);
        }
        let most = self.pods.entry(name.clone()).or_default();
        *most = status.pods.len().max(*most);
        let before = self.now.get(&name);
        let before = before.and_then(|before| before.last_reason.as_ref());
        if let Some(reason) = &status.last_reason
            && before != Some(reason)
        {
            *self.reasons.entry(reason.clone()).or_default() += 1;
        }
        self.now.insert(name, status);
    }
}

impl Drop for History {
    fn drop(&mut self) {
        self.follower.abort();
    }
}
