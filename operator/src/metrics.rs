//! What `/metrics` shows of the operator.

use mafalda_plan::{Action, Observed, SessionPhase, State};
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Counted {
    namespace: String,
    cluster: String,
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Because {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Done {
    result: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
enum Outcome {
    Done,
    Failed,
}

/// Counts and times. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    leader: Gauge,
    pods: Family<Counted, Gauge>,
    sessions: Family<Counted, Gauge>,
    actions: Family<Because, Counter>,
    jobs: Family<Done, Counter>,
    events_left_out: Counter,
    plan: Histogram,
    active: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("mafalda_operator");
        let mut metrics = Self {
            registry: Arc::default(),
            leader: Gauge::default(),
            pods: Family::default(),
            sessions: Family::default(),
            actions: Family::default(),
            jobs: Family::default(),
            events_left_out: Counter::default(),
            plan: Histogram::new(exponential_buckets(0.0001, 4.0, 9)),
            active: Histogram::new(exponential_buckets(0.01, 2.0, 12)),
        };
        registry.register("leader", "1 if this replica works", metrics.leader.clone());
        registry.register("pods", "Media pods by state", metrics.pods.clone());
        registry.register("sessions", "Sessions by phase", metrics.sessions.clone());
        registry.register("actions", "Decisions by reason", metrics.actions.clone());
        registry.register(
            "jobs",
            "Requests to the API server and to pods by result",
            metrics.jobs.clone(),
        );
        registry.register(
            "events_left_out",
            "Events that were not written as there were too many; the log has what they say",
            metrics.events_left_out.clone(),
        );
        let seconds = |registry: &mut Registry, name, help, metric: &Histogram| {
            registry.register_with_unit(name, help, Unit::Seconds, metric.clone());
        };
        seconds(
            &mut registry,
            "plan",
            "Time that a plan takes",
            &metrics.plan,
        );
        seconds(
            &mut registry,
            "session_active",
            "Time from a Session seen to its first being Active",
            &metrics.active,
        );
        metrics.registry = Arc::new(registry);
        metrics
    }
}

impl Metrics {
    /// Whether this replica works. One that does not has no pods and no sessions: another counts them.
    pub fn lead(&self, leads: bool) {
        self.leader.set(leads.into());
        if !leads {
            self.pods.clear();
            self.sessions.clear();
        }
    }

    /// A cluster is gone.
    pub fn forget(&self, namespace: &str, cluster: &str) {
        let names = STATES.iter().map(|(_, name)| (&self.pods, *name));
        let phases = PHASES.iter().map(|name| (&self.sessions, *name));
        for (family, state) in names.chain(phases) {
            family.remove(&Counted {
                namespace: namespace.to_owned(),
                cluster: cluster.to_owned(),
                state,
            });
        }
    }

    /// A plan was made.
    pub fn planned(
        &self,
        namespace: &str,
        observed: &Observed,
        actions: &[Action],
        took: Duration,
    ) {
        self.plan.observe(took.as_secs_f64());
        for action in actions {
            let reason = action.reason.name();
            self.actions.get_or_create(&Because { reason }).inc();
        }
        let mut pods: HashMap<_, i64> = STATES.map(|(_, name)| (name, 0)).into();
        for pod in &observed.pods {
            *pods
                .entry(state_name(pod.state(&observed.cluster, observed.now)))
                .or_default() += 1;
        }
        let mut sessions: HashMap<_, i64> = PHASES.map(|name| (name, 0)).into();
        for session in &observed.sessions {
            let phase = match session.phase {
                SessionPhase::Pending => "pending",
                SessionPhase::Active => "active",
                SessionPhase::Ended => "ended",
            };
            *sessions.entry(phase).or_default() += 1;
        }
        for (family, counts) in [(&self.pods, pods), (&self.sessions, sessions)] {
            for (state, count) in counts {
                let labels = Counted {
                    namespace: namespace.to_owned(),
                    cluster: observed.cluster.name.to_string(),
                    state,
                };
                family.get_or_create(&labels).set(count);
            }
        }
    }

    /// A job was done or failed.
    pub fn performed(&self, done: bool) {
        let result = if done { Outcome::Done } else { Outcome::Failed };
        self.jobs.get_or_create(&Done { result }).inc();
    }

    /// An event was not written, as there were too many.
    pub fn event_left_out(&self) {
        self.events_left_out.inc();
    }

    /// A session became Active for the first time, so long after the operator saw it.
    pub fn session_active(&self, after: Duration) {
        self.active.observe(after.as_secs_f64());
    }

    /// All of it as OpenMetrics.
    ///
    /// # Errors
    /// When a metric cannot be written down.
    pub fn render(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

const PHASES: [&str; 3] = ["pending", "active", "ended"];

const STATES: [(State, &str); 9] = [
    (State::Available, "available"),
    (State::Addressless, "addressless"),
    (State::Starting, "starting"),
    (State::Stuck, "stuck"),
    (State::Cordoned, "cordoned"),
    (State::Draining, "draining"),
    (State::Terminating, "terminating"),
    (State::Suspect, "suspect"),
    (State::Failed, "failed"),
];

fn state_name(state: State) -> &'static str {
    let found = STATES.iter().find(|(of, _)| *of == state);
    found.map_or("unknown", |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Protects sums over replicas: who does not work counts nothing, and a cluster that is gone has no
    /// pods.
    #[test]
    fn only_what_is_there_is_counted() {
        let metrics = Metrics::default();
        let count = |cluster: &str| {
            for (family, state) in [(&metrics.pods, "available"), (&metrics.sessions, "active")] {
                let labels = Counted {
                    namespace: "here".to_owned(),
                    cluster: cluster.to_owned(),
                    state,
                };
                family.get_or_create(&labels).set(3);
            }
        };
        count("one");
        count("two");
        metrics.forget("here", "one");
        let text = metrics.render().unwrap();
        assert!(
            !text.contains("\"one\"") && text.contains("\"two\""),
            "{text}"
        );
        metrics.lead(false);
        let text = metrics.render().unwrap();
        assert!(!text.contains("\"two\""), "{text}");
    }

    #[test]
    fn what_was_counted_is_shown() {
        let metrics = Metrics::default();
        metrics.lead(true);
        metrics.performed(false);
        metrics.event_left_out();
        metrics.session_active(Duration::from_millis(20));
        let text = metrics.render().unwrap();
        assert!(text.contains("mafalda_operator_leader 1"), "{text}");
        assert!(
            text.contains("mafalda_operator_jobs_total{result=\"Failed\"} 1"),
            "{text}"
        );
        assert!(
            text.contains("mafalda_operator_events_left_out_total 1"),
            "{text}"
        );
        assert!(
            text.contains("mafalda_operator_session_active_seconds_count 1"),
            "{text}"
        );
    }
}
