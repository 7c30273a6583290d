//! What `/metrics` shows, in Prometheus' text format.

use crate::nodes::State;
use prometheus_client::encoding::{EncodeLabelSet, text::encode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use std::fmt;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodeLabel {
    code: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DirectionLabel {
    direction: &'static str,
}

/// The gateway's metrics.
pub struct Metrics {
    registry: Registry,
    nodes: Family<StateLabel, Gauge>,
    placements: Family<KindLabel, Counter>,
    lendings: Family<ReasonLabel, Counter>,
    refusals: Family<CodeLabel, Counter>,
    /// Connections that are passed on now.
    pub connections: Gauge,
    /// Nodes that were tried and did not take what was meant for them.
    pub next_tries: Counter,
    /// Connections that were resumed through this gateway.
    pub resumes: Counter,
    /// Bytes from applications to nodes.
    pub to_node: Counter,
    /// Bytes from nodes to applications.
    pub to_application: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("mafalda_gateway");
        macro_rules! register {
            ($name:literal, $help:literal) => {{
                let metric = Default::default();
                registry.register($name, $help, Clone::clone(&metric));
                metric
            }};
        }
        let nodes: Family<StateLabel, Gauge> = register!("nodes", "Nodes by state");
        let connections: Gauge = register!("connections", "Connections that are passed on now");
        let placements: Family<KindLabel, Counter> = register!(
            "placements",
            "Workers and sessions that were placed, and sessions placed anew"
        );
        let lendings: Family<ReasonLabel, Counter> = register!(
            "lendings",
            "Nodes that were granted to a session (WorkersHot) or returned (others), by reason"
        );
        let refusals: Family<CodeLabel, Counter> =
            register!("refusals", "Requests that the gateway refused, by reason");
        let next_tries: Counter = register!(
            "next_tries",
            "Times that a node did not take what was meant for it and the next was tried"
        );
        let resumes: Counter = register!("resumes", "Connections that were resumed");
        let bytes: Family<DirectionLabel, Counter> = Family::default();
        registry.register_with_unit("passed", "Bytes passed on", Unit::Bytes, bytes.clone());
        let passed = |direction| {
            let counter = bytes.get_or_create(&DirectionLabel { direction });
            counter.clone()
        };
        Self {
            to_node: passed("to_node"),
            to_application: passed("to_application"),
            registry,
            nodes,
            placements,
            lendings,
            refusals,
            connections,
            next_tries,
            resumes,
        }
    }
}

impl Metrics {
    /// Counts a refusal.
    pub fn count_refusal(&self, code: &str) {
        let code = code.to_owned();
        self.refusals.get_or_create(&CodeLabel { code }).inc();
    }

    /// Counts a node that was granted to a session or returned.
    pub fn count_lending(&self, reason: &'static str) {
        self.lendings.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// Counts something that was placed: a `worker`, a `session`, or (`session_anew`) one that had lost
    /// its home.
    pub fn count_placement(&self, kind: &'static str) {
        self.placements.get_or_create(&KindLabel { kind }).inc();
    }

    /// The text of `/metrics`.
    pub fn render(&self, states: &[State]) -> Result<String, fmt::Error> {
        for state in State::ALL {
            let count = states.iter().filter(|other| **other == state).count();
            let state = state.as_str();
            self.nodes
                .get_or_create(&StateLabel { state })
                .set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
