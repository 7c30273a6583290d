//! What was heard of each media pod, and when.

use super::report::Report;
use std::collections::HashMap;
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
    /// What it said last.
    pub report: Arc<Report>,
}

/// What all pods of a cluster said, by their uid.
#[derive(Clone, Default)]
pub struct Hearing {
    pods: Arc<Mutex<HashMap<String, Heard>>>,
    news: Arc<Notify>,
}

impl Hearing {
    /// Notes a report. Who waits for [`Hearing::news`] learns of it, unless it is of load alone.
    pub fn report(&self, uid: &str, report: Report, now: Duration) {
        let mut pods = self.lock();
        let known = pods.get(uid);
        let differs = known.is_none_or(|heard| heard.report.differs(&report));
        let since = known.and_then(|heard| heard.ready_since);
        let ready_since = report.is_ready().then(|| since.unwrap_or(now));
        let heard = Heard {
            last_seen: now,
            ready_since,
            report: Arc::new(report),
        };
        pods.insert(uid.to_owned(), heard);
        if differs {
            self.news.notify_one();
        }
    }

    /// Notes a sign of life.
    pub fn alive(&self, uid: &str, now: Duration) {
        if let Some(heard) = self.lock().get_mut(uid) {
            heard.last_seen = now;
        }
    }

    /// Notes that a pod which was heard refuses connections: its host says that nobody listens, which
    /// is worth as much as so long a silence.
    pub fn refuses(&self, uid: &str, silence: Duration, now: Duration) {
        if let Some(heard) = self.lock().get_mut(uid) {
            heard.last_seen = heard.last_seen.min(now.saturating_sub(silence));
            self.news.notify_one();
        }
    }

    /// Notes that all pods are taken to have been heard so much later: nobody listened.
    pub fn excuse(&self, silence: Duration, now: Duration) {
        for heard in self.lock().values_mut() {
            heard.last_seen = (heard.last_seen + silence).min(now);
        }
    }

    /// Forgets all pods but those.
    pub fn keep(&self, is_there: impl Fn(&str) -> bool) {
        self.lock().retain(|uid, _| is_there(uid));
    }

    /// What was heard of all pods so far.
    pub fn all(&self) -> HashMap<String, Heard> {
        self.lock().clone()
    }

    /// Returns when there is something new to decide on.
    pub async fn news(&self) {
        self.news.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Heard>> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    }
}
