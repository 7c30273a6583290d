//! What was heard of each media pod, and when.

use super::report::Report;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// What one pod said.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// When it answered last.
    pub last_seen: Duration,
    /// Since when its workers run.
    pub ready_since: Option<Duration>,
    /// Since when it says that it ends, though nobody of Kubernetes' API asked for it.
    pub stops_since: Option<Duration>,
    /// What it said last.
    pub report: Arc<Report>,
}

/// What all pods of a cluster said, by their uid.
#[derive(Clone, Default)]
pub struct Hearing {
    pods: Arc<Mutex<Pods>>,
    news: Arc<Notify>,
}

#[derive(Default)]
struct Pods {
    heard: HashMap<String, Heard>,
    refusing: HashSet<String>,
    /// When pods that said nothing yet gave a sign of life last.
    alive: HashMap<String, Duration>,
    /// Load has gone up or down since all of it was asked for.
    has_shifted: bool,
}

impl Hearing {
    /// Notes a report. Who waits for [`Hearing::news`] learns of it, unless it is of load alone.
    pub fn report(&self, uid: &str, report: Report, now: Duration) {
        let mut pods = self.lock();
        let known = pods.heard.get(uid);
        let differs = known.is_none_or(|heard| heard.report.differs(&report));
        let shifts = known.is_some_and(|heard| heard.report.shifts(&report));
        let since = known.and_then(|heard| heard.ready_since);
        let ready_since = report.is_ready().then(|| since.unwrap_or(now));
        let since = known.and_then(|heard| heard.stops_since);
        let stops_since = report.stops().then(|| since.unwrap_or(now));
        let heard = Heard {
            last_seen: now,
            ready_since,
            stops_since,
            report: Arc::new(report),
        };
        pods.heard.insert(uid.to_owned(), heard);
        pods.has_shifted |= shifts;
        pods.alive.remove(uid);
        let is_back = pods.refusing.remove(uid);
        if differs || is_back {
            self.news.notify_one();
        }
    }

    /// Notes a sign of life.
    pub fn alive(&self, uid: &str, now: Duration) {
        let mut pods = self.lock();
        let is_new = match pods.heard.get_mut(uid) {
            Some(heard) => {
                heard.last_seen = now;
                false
            }
            None => pods.alive.insert(uid.to_owned(), now).is_none(),
        };
        let is_back = pods.refusing.remove(uid);
        if is_new || is_back {
            self.news.notify_one();
        }
    }

    /// Notes that a pod refuses connections: its host answers, and says that nobody listens there.
    pub fn refuses(&self, uid: &str) {
        if self.lock().refusing.insert(uid.to_owned()) {
            self.news.notify_one();
        }
    }

    /// Notes that all pods are taken to have been heard so much later: nobody listened.
    pub fn excuse(&self, silence: Duration, now: Duration) {
        for heard in self.lock().heard.values_mut() {
            heard.last_seen = (heard.last_seen + silence).min(now);
        }
        for last_seen in self.lock().alive.values_mut() {
            *last_seen = (*last_seen + silence).min(now);
        }
    }

    /// Forgets all pods but those.
    pub fn keep(&self, is_there: impl Fn(&str) -> bool) {
        let mut pods = self.lock();
        pods.heard.retain(|uid, _| is_there(uid));
        pods.refusing.retain(|uid| is_there(uid));
        pods.alive.retain(|uid, _| is_there(uid));
    }

    /// What was heard of all pods so far.
    pub fn all(&self) -> HashMap<String, Heard> {
        let mut pods = self.lock();
        pods.has_shifted = false;
        pods.heard.clone()
    }

    /// Whether load has gone up or down since [`Hearing::all`].
    pub fn has_shifted(&self) -> bool {
        self.lock().has_shifted
    }

    /// How long ago the pod was heard that was not heard for the longest time.
    pub fn longest_silence(&self, now: Duration) -> Duration {
        let pods = self.lock();
        let heard = pods.heard.values().map(|heard| heard.last_seen);
        let last_seen = heard.chain(pods.alive.values().copied());
        now.saturating_sub(last_seen.min().unwrap_or(now))
    }

    /// The pods that refused connections since they were heard last, if they ever were.
    pub fn refusing(&self) -> HashSet<String> {
        self.lock().refusing.clone()
    }

    /// The pods that live and have said nothing yet, as they take the operator for nobody, and when
    /// they gave a sign of life last.
    pub fn alive_alone(&self) -> HashMap<String, Duration> {
        self.lock().alive.clone()
    }

    /// Returns when there is something new to decide on.
    pub async fn news(&self) {
        self.news.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Pods> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod_api::report::{Drain, Phase, Worker};

    /// Protects calls from an operator that was stopped: it does not take its own silence for theirs.
    #[test]
    fn silence_is_excused_and_no_more_than_that() {
        let hearing = Hearing::default();
        let second = Duration::from_secs(1);
        hearing.report("early", Report::default(), second * 10);
        hearing.report("late", Report::default(), second * 14);
        hearing.excuse(second * 3, second * 15);
        let all = hearing.all();
        assert_eq!(all["early"].last_seen, second * 13);
        assert_eq!(all["late"].last_seen, second * 15);
        assert_eq!(hearing.longest_silence(second * 15), second * 2);
    }

    /// Protects sessions of pods that take the operator for nobody, until they have read its key: they
    /// live.
    #[test]
    fn a_sign_of_life_counts_before_the_first_report() {
        let hearing = Hearing::default();
        let second = Duration::from_secs(1);
        hearing.alive("pod", second * 10);
        assert_eq!(hearing.alive_alone()["pod"], second * 10);
        assert_eq!(hearing.longest_silence(second * 12), second * 2);
        hearing.report("pod", Report::default(), second * 13);
        hearing.alive("pod", second * 14);
        assert!(hearing.alive_alone().is_empty());
        assert_eq!(hearing.all()["pod"].last_seen, second * 14);
    }

    /// Protects sessions from a pod that was told to stop by its node: it says so, and since when is
    /// known.
    #[test]
    fn a_pod_that_stops_has_a_time() {
        let hearing = Hearing::default();
        let says = |draining, phase, seconds| {
            let report = Report {
                draining,
                drain: Drain {
                    phase,
                    deadline: None,
                },
                ..Report::default()
            };
            hearing.report("pod", report, Duration::from_secs(seconds));
            let since = hearing.all()["pod"].stops_since;
            since.map(|since| since.as_secs())
        };
        assert_eq!(says(false, Phase::Active, 10), None);
        assert_eq!(says(true, Phase::Active, 11), Some(11));
        assert_eq!(says(true, Phase::Active, 12), Some(11));
        assert_eq!(says(true, Phase::Cordoned, 13), None, "the operator's wish");
        assert_eq!(says(false, Phase::Active, 14), None);
    }

    #[test]
    fn load_that_goes_up_is_known_until_it_was_looked_at() {
        let hearing = Hearing::default();
        let at = |cpu| {
            let worker = Worker {
                cpu,
                ..Worker::default()
            };
            let report = Report {
                workers: vec![worker],
                ..Report::default()
            };
            hearing.report("pod", report, Duration::ZERO);
            hearing.has_shifted()
        };
        assert!(!at(0.10));
        assert!(!at(0.12), "the usual ups and downs");
        assert!(at(0.20));
        assert!(at(0.20));
        hearing.all();
        assert!(!at(0.20));
    }
}
