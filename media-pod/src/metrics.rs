//! What `/metrics` shows, in Prometheus' text format.

use crate::members::Lending;
use prometheus_client::encoding::{EncodeLabelSet, text::encode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WorkerLabel {
    worker: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodeLabel {
    code: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WayLabel {
    source_pod: String,
    target_pod: String,
}

/// Which way a message goes.
#[derive(Clone, Copy, Debug)]
pub enum Direction {
    /// From the application to its worker.
    ToWorker,
    /// From the worker to its application.
    ToApplication,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DirectionLabel {
    direction: &'static str,
}

impl From<Direction> for DirectionLabel {
    fn from(direction: Direction) -> Self {
        let direction = match direction {
            Direction::ToWorker => "to_worker",
            Direction::ToApplication => "to_application",
        };
        Self { direction }
    }
}

/// The pod's metrics.
pub struct Metrics {
    registry: Registry,
    workers: Family<StateLabel, Gauge>,
    virtual_workers: Gauge,
    cpu: Family<WorkerLabel, Gauge<f64, AtomicU64>>,
    carried: Family<KindLabel, Gauge>,
    to_worker: Carried,
    to_application: Carried,
    crossed: Family<WayLabel, Counter>,
    lenders: Gauge,
    borrowers: Gauge,
    borrowed: Gauge,
    lent: Gauge,
    refusals: Family<CodeLabel, Counter>,
    /// Worker processes that ended without being asked to.
    pub worker_deaths: Counter,
    /// Connections that a new socket took up again.
    pub resumes: Counter,
    /// Connections that no socket took up again in time.
    pub lost: Counter,
    /// Messages of an application that were not passed on.
    pub malformed: Counter,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// One direction's counters, looked up once: they are counted with every message.
struct Carried {
    messages: Counter,
    bytes: Counter,
}

/// What a scrape reads off the pod.
pub struct Reading {
    /// Workers by state.
    pub workers: Vec<(&'static str, usize)>,
    /// Virtual workers that applications have.
    pub virtual_workers: usize,
    /// CPU share by worker.
    pub cpu: Vec<(usize, f64)>,
    /// Things carried by kind.
    pub carried: Vec<(&'static str, u64)>,
    /// Other pods, and relays, that have something on workers of this one.
    pub borrowers: usize,
    /// Members of one pod in another.
    pub lending: Lending,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("mafalda");
        macro_rules! register {
            ($name:literal, $help:literal) => {{
                let metric = Default::default();
                registry.register($name, $help, Clone::clone(&metric));
                metric
            }};
            ($name:literal, $help:literal, $unit:expr) => {{
                let metric = Default::default();
                registry.register_with_unit($name, $help, $unit, Clone::clone(&metric));
                metric
            }};
        }
        let workers: Family<StateLabel, Gauge> = register!("workers", "Worker processes by state");
        let virtual_workers: Gauge =
            register!("virtual_workers", "Virtual workers that applications have");
        let cpu: Family<WorkerLabel, Gauge<f64, AtomicU64>> = register!(
            "worker_cpu",
            "Share of one core that a worker took in the last second",
            Unit::Other("ratio".to_owned())
        );
        let carried: Family<KindLabel, Gauge> =
            register!("carried", "What the workers carry, by kind");
        let messages: Family<DirectionLabel, Counter> =
            register!("channel_messages", "Channel messages carried");
        let bytes: Family<DirectionLabel, Counter> =
            register!("channel", "Bytes of channel messages carried", Unit::Bytes);
        let crossed: Family<WayLabel, Counter> = register!(
            "pipe",
            "Bytes that pipes of this pod's virtual workers sent from one pod to another",
            Unit::Bytes
        );
        let lenders: Gauge = register!("lenders", "Connections to pods that lend their workers");
        let borrowers: Gauge = register!(
            "borrowers",
            "Other pods, and relays, that have something on workers of this one"
        );
        let borrowed: Gauge = register!("borrowed_members", "Workers of other pods that are lent");
        let lent: Gauge = register!(
            "lent_members",
            "Workers of this pod that others have something on"
        );
        let refusals: Family<CodeLabel, Counter> = register!(
            "refusals",
            "Requests for a worker that were refused, by reason"
        );
        let worker_deaths: Counter = register!(
            "worker_deaths",
            "Worker processes that ended without being asked to"
        );
        let resumes: Counter = register!(
            "connection_resumes",
            "Connections that a new socket took up again"
        );
        let lost: Counter = register!(
            "connections_lost",
            "Connections that no socket took up again in time"
        );
        let malformed: Counter = register!(
            "malformed_messages",
            "Messages of applications that were not passed on"
        );
        let carried_by = |direction: Direction| {
            let label = DirectionLabel::from(direction);
            Carried {
                messages: messages.get_or_create(&label).clone(),
                bytes: bytes.get_or_create(&label).clone(),
            }
        };
        Self {
            to_worker: carried_by(Direction::ToWorker),
            to_application: carried_by(Direction::ToApplication),
            registry,
            workers,
            virtual_workers,
            cpu,
            carried,
            crossed,
            lenders,
            borrowers,
            borrowed,
            lent,
            refusals,
            worker_deaths,
            resumes,
            lost,
            malformed,
        }
    }
}

impl Metrics {
    /// Counts messages that were carried, of `bytes` together.
    pub fn count_messages(&self, direction: Direction, messages: u64, bytes: usize) {
        let carried = match direction {
            Direction::ToWorker => &self.to_worker,
            Direction::ToApplication => &self.to_application,
        };
        carried.messages.inc_by(messages);
        carried.bytes.inc_by(bytes as u64);
    }

    /// Counts bytes that crossed from pod to pod, by source and target.
    pub fn count_crossed(&self, crossed: BTreeMap<(Arc<str>, Arc<str>), u64>) {
        for ((source, target), bytes) in crossed {
            let way = WayLabel {
                source_pod: source.to_string(),
                target_pod: target.to_string(),
            };
            self.crossed.get_or_create(&way).inc_by(bytes);
        }
    }

    /// Counts a refusal.
    pub fn count_refusal(&self, code: &str) {
        let code = code.to_owned();
        self.refusals.get_or_create(&CodeLabel { code }).inc();
    }

    /// The text of `/metrics`.
    pub fn render(&self, reading: Reading) -> Result<String, fmt::Error> {
        for (state, count) in reading.workers {
            self.workers
                .get_or_create(&StateLabel { state })
                .set(count as i64);
        }
        self.virtual_workers.set(reading.virtual_workers as i64);
        self.lenders.set(reading.lending.lenders as i64);
        self.borrowers.set(reading.borrowers as i64);
        self.borrowed.set(reading.lending.borrowed as i64);
        self.lent.set(reading.lending.lent as i64);
        self.cpu.clear();
        for (worker, share) in reading.cpu {
            self.cpu.get_or_create(&WorkerLabel { worker }).set(share);
        }
        for (kind, count) in reading.carried {
            self.carried
                .get_or_create(&KindLabel { kind })
                .set(count as i64);
        }
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
