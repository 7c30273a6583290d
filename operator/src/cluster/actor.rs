//! One task for each MafaldaCluster: it looks, plans, notes what was decided and has it done; when
//! something changed, and each second.

use super::doubt::Doubt;
use super::jobs::{Job, Key, due};
use super::perform::{Error, Performer, apply_disruption_budget, write_cluster_status};
use super::refusals::{self, Refusals, What};
use super::status::{UTILIZATION_SECONDS, status};
use crate::book::Book;
use crate::clock::Clock;
use crate::crd::{ExposureType, MafaldaCluster};
use crate::events::{About, Events, of_cluster, of_session, told};
use crate::index::Index;
use crate::metrics::Metrics;
use crate::observe::{Look, ip_of};
use crate::pod_api::client::{Error as PodError, UNAUTHORIZED};
use crate::pod_api::listen::listen;
use crate::pod_api::{Access, Client as Pods, Hearing};
use crate::secrets::{Kept, gateway, keep};
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use kube::{Client, ResourceExt};
use mafalda_plan::{Action, Observed, PodName, Session, SessionName, Step, Timing, plan};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// A plan is made this often at least while something is under way.
const TURN: Duration = Duration::from_secs(1);
/// And this often while nothing is, but load goes up or down.
const REST: Duration = Duration::from_secs(5);
/// And this often while nothing changes at all: what depends on the time alone may wait for it, but for
/// the end of a session.
const CALM: Duration = Duration::from_secs(15);
/// So long after a session was placed it is looked at each turn whether its pod runs it.
const FRESH: Duration = Duration::from_secs(10);
/// Changes that come together are planned together.
const TOGETHER: Duration = Duration::from_millis(5);
/// How long what was done may take to come back from the API server or the pod.
const ECHO: Duration = Duration::from_secs(1);
/// Jobs that wait for their turn at most; others stay due.
const WAITING: usize = 512;
/// How long all requests may take that a look at the Secrets is.
const KEEP: Duration = Duration::from_secs(30);
/// The longest wait after a failure.
const LONGEST: Duration = Duration::from_secs(5);

/// What all clusters share.
#[derive(Clone)]
pub struct Shared {
    pub client: Client,
    pub index: Index,
    pub default_image: Arc<str>,
    pub timing: Timing,
    pub metrics: Metrics,
    pub events: Arc<Events>,
    pub clock: Clock,
    /// Requests to the API server that are under way at the same time at most.
    pub requests: Arc<Semaphore>,
    /// Requests to pods: those do not wait for the API server.
    pub calls: Arc<Semaphore>,
    /// The thread on which pods are listened to.
    pub listening: Handle,
    /// How often keys and certificates are looked at.
    pub secrets: Duration,
}

/// Keeps one cluster as its resource says. Returns when that is gone.
pub async fn run(shared: Shared, namespace: String, name: String) {
    let mut actor = Actor {
        book: Book::new(shared.clock.now()),
        hearing: Hearing::default(),
        listeners: HashMap::new(),
        tasks: JoinSet::new(),
        attempts: HashMap::new(),
        jobs: JoinSet::new(),
        doubt: Doubt::default(),
        turned: Duration::ZERO,
        rests_until: Duration::ZERO,
        kept: None,
        keeping: None,
        kept_at: Instant::now(),
        gateway: Vec::new(),
        trouble: None,
        measured: Duration::ZERO,
        performer: None,
        refusals: Refusals::default(),
        shared,
        namespace,
        name,
    };
    actor.run().await;
    let metrics = &actor.shared.metrics;
    metrics.forget(&actor.namespace, &actor.name);
}

/// How often something was tried, and when it may be again.
struct Attempt {
    under_way: bool,
    failures: u32,
    not_before: Instant,
}

struct Actor {
    shared: Shared,
    namespace: String,
    name: String,
    book: Book,
    hearing: Hearing,
    /// Who listens to which pod, by its uid.
    listeners: HashMap<String, (IpAddr, AbortHandle)>,
    tasks: JoinSet<()>,
    attempts: HashMap<Key, Attempt>,
    jobs: JoinSet<(Job, Result<(), Error>)>,
    doubt: Doubt,
    /// When the last turn was.
    turned: Duration,
    /// It found nothing to do, and nothing to wait for until then.
    rests_until: Duration,
    kept: Option<Kept>,
    /// Who looks at the Secrets.
    keeping: Option<JoinHandle<Result<Kept, String>>>,
    kept_at: Instant,
    /// The names of the cluster's gateway that they were looked at with.
    gateway: Vec<String>,
    /// What is wrong with them.
    trouble: Option<String>,
    /// When utilization was written last.
    measured: Duration,
    performer: Option<Performer>,
    /// What the API server does not let it do.
    refusals: Refusals,
}

impl Actor {
    async fn run(&mut self) {
        let mut changes = self.shared.index.changes();
        let mut took = Duration::ZERO;
        let mut has_news = true;
        while let Some(cluster) = self.shared.index.cluster(&self.namespace, &self.name) {
            let begun = Instant::now();
            self.secrets(&cluster).await;
            self.excuse();
            if has_news || !self.rests() {
                self.turn(&cluster).await;
            }
            took = took.max(begun.elapsed());
            // Half of the time at most goes into planning.
            sleep(took.max(TOGETHER)).await;
            took = begun.elapsed() / 4;
            has_news = tokio::select! {
                _ = changes.changed() => true,
                () = self.hearing.news() => true,
                Some(done) = self.jobs.join_next() => {
                    if let Ok((job, result)) = done {
                        self.done(job, result);
                    }
                    true
                }
                () = sleep_until(begun + TURN) => false,
            };
            while let Some(done) = self.jobs.try_join_next() {
                has_news = true;
                if let Ok((job, result)) = done {
                    self.done(job, result);
                }
            }
            if has_news {
                // The turn that follows sees them all.
                changes.mark_unchanged();
            }
        }
    }

    /// Whether nothing is under way, and all pods are heard: there is nothing to decide.
    fn rests(&self) -> bool {
        let now = self.shared.clock.now();
        let until = match self.hearing.has_shifted() {
            true => self.rests_until.min(self.turned + REST),
            false => self.rests_until,
        };
        now < until && self.hearing.longest_silence(now) < TURN * 2
    }

    /// Time that the operator itself did not have is none of the pods' silence.
    fn excuse(&mut self) {
        let now = self.shared.clock.now();
        let stood_still = self.doubt.stood_still(now, TURN);
        self.hearing.excuse(stood_still, now);
    }

    /// Sees to keys and certificates. Without them nothing can be done; those that are there are good
    /// while the API server takes its time.
    async fn secrets(&mut self, cluster: &Arc<MafaldaCluster>) {
        let every = match &self.trouble {
            Some(_) => self.shared.secrets.min(LONGEST),
            None => self.shared.secrets,
        };
        let services = self.shared.index.services_of(&self.namespace, &self.name);
        let gateway = gateway::names(services.iter().map(AsRef::as_ref));
        // A gateway that was called otherwise is not to wait for its certificate.
        let renamed = gateway != self.gateway;
        let due = self.kept.is_none() || renamed || self.kept_at.elapsed() >= every;
        if self.keeping.is_none() && due {
            let (client, cluster) = (self.shared.client.clone(), cluster.clone());
            let now = self.shared.clock.now();
            self.kept_at = Instant::now();
            self.gateway.clone_from(&gateway);
            self.keeping = Some(tokio::spawn(async move {
                let work = async {
                    let kept = keep(&client, &cluster, &gateway, now).await;
                    let kept = kept.map_err(|error| error.to_string())?;
                    let budget = apply_disruption_budget(&client, &cluster).await;
                    budget.map_err(|error| format!("PodDisruptionBudget: {error}"))?;
                    Ok(kept)
                };
                let late = |_| {
                    let seconds = KEEP.as_secs();
                    Err(format!("no answer about the Secrets within {seconds} s"))
                };
                timeout(KEEP, work).await.unwrap_or_else(late)
            }));
        }
        let waits = |task: &JoinHandle<_>| self.kept.is_some() && !task.is_finished();
        if self.keeping.as_ref().is_none_or(waits) {
            return;
        }
        if let Some(keeping) = self.keeping.take()
            && let Ok(kept) = keeping.await
        {
            let trouble = kept.and_then(|kept| self.take(kept)).err();
            if let Some(trouble) = trouble.as_ref().filter(|_| trouble != self.trouble) {
                tracing::warn!(cluster = %self.name, "keys and certificates are not kept: {trouble}");
            }
            self.trouble = trouble;
            self.rests_until = Duration::ZERO;
        }
    }

    /// Takes what the Secrets have.
    ///
    /// # Errors
    /// A sentence for the cluster's condition.
    fn take(&mut self, kept: Kept) -> Result<(), String> {
        match &self.kept {
            Some(before) if before.lets_in_as(&kept) => {}
            Some(_) | None => self.let_in(&kept)?,
        }
        self.kept = Some(kept);
        Ok(())
    }

    /// Takes keys and authorities for what goes to the pods, and to applications.
    fn let_in(&mut self, kept: &Kept) -> Result<(), String> {
        // Pods show what an authority of before signed until they have read the new certificate.
        let before = self.kept.as_ref().map_or("", |kept| &kept.authorities);
        let authorities = [kept.authorities.as_str(), before].concat();
        let access = Access::new(&self.name, &kept.token_key, &authorities);
        let access = access.and_then(|access| {
            access.is_good_for(&kept.token_keys)?;
            Ok(access)
        });
        let access = access.map_err(|error| error.to_string())?;
        if self.kept.is_none() {
            // From now on pods can be heard.
            self.book.since = self.shared.clock.now();
        }
        self.performer = Some(Performer {
            client: self.shared.client.clone(),
            pods: Pods::new(Arc::new(access)),
            authorities: kept.authorities.as_str().into(),
            access_from: kept.access_digest().into(),
            default_image: self.shared.default_image.clone(),
            metrics: self.shared.metrics.clone(),
            clock: self.shared.clock,
        });
        // They begin anew with what is good now.
        for (_, (_, listener)) in self.listeners.drain() {
            listener.abort();
        }
        Ok(())
    }

    async fn turn(&mut self, cluster: &Arc<MafaldaCluster>) {
        let index = self.shared.index.clone();
        let (namespace, name) = (&self.namespace, &self.name);
        let pods = index.pods_of(namespace, name);
        let sessions = index.sessions_of(namespace, name);
        let services = index.services_of(namespace, name);
        self.listen_to(&pods);
        let nodes: HashMap<String, Arc<Node>> = index
            .nodes()
            .into_iter()
            .map(|node| (node.name_any(), node))
            .collect();
        let services: HashMap<String, Arc<Service>> =
            services.into_iter().map(|s| (s.name_any(), s)).collect();
        let node_ports = match cluster.spec.exposure.type_ {
            ExposureType::NodePort => index.node_ports_but(&self.namespace, &pods),
            _ => Vec::new(),
        };
        if !self.refusals.is_empty() {
            let made = &self.book.pods;
            self.refusals.keep(|what, name| match what {
                What::Pod | What::Address => made.contains_key(&PodName::from(name)),
                What::Service => {
                    made.contains_key(&PodName::from(name)) && !services.contains_key(name)
                }
                What::Session => sessions.iter().any(|session| session.name_any() == name),
            });
        }
        let refused = self.refusals.clone();
        let (heard, refusing) = (self.hearing.all(), self.hearing.refusing());
        let alive = self.hearing.alive_alone();
        let default_image = self.shared.default_image.clone();
        let secrets = self.kept.as_ref().map(Kept::digest).unwrap_or_default();
        let performer = self.performer.as_ref();
        let access_from = performer.map(|performer| performer.access_from.clone());
        let look = Look {
            cluster,
            default_image: &default_image,
            pods: &pods,
            sessions: &sessions,
            nodes: &nodes,
            services: &services,
            heard: &heard,
            secrets: &secrets,
            access_from: access_from.as_deref(),
            refusing: &refusing,
            node_ports: &node_ports,
            refused: &refused,
            alive: &alive,
            timing: self.shared.timing,
            now: self.shared.clock.now(),
        };
        let mut observed = look.observe(&mut self.book);
        if self.doubt.ends(&observed) {
            self.hearing.excuse(look.now, look.now);
            for pod in observed.pods.iter_mut().filter(|pod| !pod.down) {
                pod.last_seen = pod.last_seen.map(|_| look.now);
            }
        }
        // What is decided on less than there is would be taken back a moment later.
        let is_early = look.is_early(&self.book);
        let planned = match is_early {
            true => Some((observed, Vec::new())),
            false => self.plan(observed).await,
        };
        let Some((observed, actions)) = planned else {
            return;
        };
        self.doubt.note(&actions);
        self.book.note(&actions, &observed);
        let mut jobs = due(&look, &observed, &mut self.book, &actions);
        let age = look.now.saturating_sub(self.measured);
        let measured = age.as_secs() >= UTILIZATION_SECONDS && !is_early;
        let trouble = self.trouble.as_deref();
        let status = status(&look, &observed, &self.book, trouble, measured);
        if measured {
            self.measured = look.now;
        }
        if cluster.status.as_ref() != Some(&status) {
            jobs.push(Job::Status(Box::new(status)));
        }
        let waits = |pod: &mafalda_plan::Pod| {
            let mut lent = pod.sessions.iter().flat_map(|hosted| &hosted.lenders);
            pod.drain.is_some() || pod.suspect || lent.any(|lent| lent.unused_since.is_some())
        };
        // What was placed lately may be missed any moment.
        let fresh = |session: &Session| {
            let since = session.home.as_ref().map(|home| home.since);
            since.is_some_and(|since| since + FRESH > look.now)
        };
        let is_quiet = !is_early
            && actions.is_empty()
            && jobs.is_empty()
            && !observed.pods.iter().any(waits)
            && !observed.sessions.iter().any(fresh);
        let expires = observed.sessions.iter().filter_map(Session::expires);
        let rests_until = expires.fold(look.now + CALM, Duration::min);
        self.turned = look.now;
        self.rests_until = match is_quiet {
            true => rests_until,
            false => Duration::ZERO,
        };
        self.tell(cluster, &look, &actions);
        for job in jobs {
            self.start(cluster, job);
        }
    }

    /// Plans beside the other tasks: a large cluster takes a while. Without Secrets nothing is
    /// decided, as nothing could be done.
    async fn plan(&self, mut observed: Observed) -> Option<(Observed, Vec<Action>)> {
        if self.performer.is_none() {
            return Some((observed, Vec::new()));
        }
        let begun = Instant::now();
        let planned = tokio::task::spawn_blocking(move || {
            let actions = plan(&observed);
            observed.apply(&actions);
            (observed, actions)
        });
        let (observed, actions) = planned.await.ok()?;
        let metrics = &self.shared.metrics;
        metrics.planned(&self.namespace, &observed, &actions, begun.elapsed());
        Some((observed, actions))
    }

    /// Starts and ends listeners, so that each pod with an address has one.
    fn listen_to(&mut self, pods: &[Arc<Pod>]) {
        let Some(performer) = &self.performer else {
            return;
        };
        let there: HashMap<String, IpAddr> = pods
            .iter()
            .filter_map(|pod| Some((pod.uid()?, ip_of(pod)?)))
            .collect();
        self.listeners.retain(|uid, (ip, listener)| {
            let stays = there.get(uid) == Some(ip);
            if !stays {
                listener.abort();
            }
            stays
        });
        let uids: std::collections::HashSet<String> =
            pods.iter().filter_map(|pod| pod.uid()).collect();
        self.hearing.keep(|uid| uids.contains(uid));
        for (uid, ip) in there {
            if !self.listeners.contains_key(&uid) {
                let listener = listen(
                    performer.pods.clone(),
                    uid.clone(),
                    ip,
                    self.hearing.clone(),
                    self.shared.clock,
                );
                let listener = self.tasks.spawn_on(listener, &self.shared.listening);
                self.listeners.insert(uid, (ip, listener));
            }
        }
        while self.tasks.try_join_next().is_some() {}
    }

    /// Logs what was decided, and writes events of it.
    fn tell(&mut self, cluster: &MafaldaCluster, look: &Look<'_>, actions: &[Action]) {
        for action in actions {
            // It is decided again until the pod says that it was done.
            if self.is_under_way(&action.step) {
                continue;
            }
            let (step, reason) = (&action.step, action.reason.name());
            tracing::info!(cluster = %self.name, ?step, reason, "{}", action.reason);
            let Some((about, kind, _)) = told(action) else {
                continue;
            };
            if !self.shared.events.allow() {
                self.shared.metrics.event_left_out();
                continue;
            }
            let regarding = match about {
                About::Cluster => Some(of_cluster(cluster)),
                About::Session(name) => look
                    .sessions
                    .iter()
                    .find(|session| session.name_any() == name)
                    .map(|session| of_session(session)),
            };
            if let Some(regarding) = regarding {
                let (events, action) = (self.shared.events.clone(), action.clone());
                self.tasks.spawn(async move {
                    events.publish(regarding, &action, kind).await;
                });
            }
        }
    }

    fn is_under_way(&self, step: &Step) -> bool {
        match step {
            Step::FenceSession {
                pod,
                session,
                generation,
            } => self
                .attempts
                .contains_key(&Key::fence(pod, session, generation.0)),
            _ => false,
        }
    }

    /// Starts a job, unless it is under way or failed a moment ago.
    fn start(&mut self, cluster: &Arc<MafaldaCluster>, job: Job) {
        // Without keys nothing can be done but to say so.
        let says_why = self.trouble.is_some() && matches!(job, Job::Status(_));
        let performer = self.performer.clone();
        if (performer.is_none() && !says_why) || self.jobs.len() >= WAITING {
            return;
        }
        let now = Instant::now();
        let attempt = self.attempts.entry(job.key()).or_insert(Attempt {
            under_way: false,
            failures: 0,
            not_before: now,
        });
        if attempt.under_way || attempt.not_before > now {
            return;
        }
        attempt.under_way = true;
        let (client, cluster) = (self.shared.client.clone(), cluster.clone());
        let turns = match job.asks_pod() {
            true => self.shared.calls.clone(),
            false => self.shared.requests.clone(),
        };
        self.jobs.spawn(async move {
            let _turn = turns.acquire().await;
            let result = match (&performer, &job) {
                (Some(performer), _) => performer.perform(&cluster, &job).await,
                (None, Job::Status(status)) => {
                    let written = write_cluster_status(&client, &cluster, status);
                    written.await.map_err(Error::from)
                }
                (None, _) => Err(Error::NoKeys),
            };
            (job, result)
        });
    }

    /// Keeps what the API server does not let the operator do, and tells people of it once.
    fn note_refusal(&mut self, job: &Job, result: &Result<(), Error>) {
        let refused = match result {
            Ok(()) => None,
            Err(Error::Api(error)) => match refusals::refused(error) {
                Some(said) => Some(said),
                None => return,
            },
            Err(_) => return,
        };
        let Some((what, name)) = Refusals::about(job) else {
            return;
        };
        let Some(message) = self.refusals.note(what, &name, refused) else {
            return;
        };
        let cluster = self.shared.index.cluster(&self.namespace, &self.name);
        if let Some(cluster) = cluster.filter(|_| self.shared.events.allow()) {
            let events = self.shared.events.clone();
            self.tasks.spawn(async move {
                let (reason, action) = (what.reason(), what.action());
                let about = of_cluster(&cluster);
                events.warn(about, reason, action, message).await;
            });
        }
    }

    fn done(&mut self, job: Job, result: Result<(), Error>) {
        self.shared.metrics.performed(result.is_ok());
        self.note_refusal(&job, &result);
        let now = Instant::now();
        self.attempts
            .retain(|_, attempt| attempt.under_way || attempt.not_before + LONGEST > now);
        // The book knows of these at once; what others did shows after a moment.
        let is_noted = result.is_ok() && matches!(job, Job::Tell { .. } | Job::Settle(_));
        if is_noted {
            self.attempts.remove(&job.key());
        } else if let Some(attempt) = self.attempts.get_mut(&job.key()) {
            attempt.under_way = false;
            attempt.failures = if result.is_ok() {
                0
            } else {
                attempt.failures + 1
            };
            attempt.not_before = now + pause(attempt.failures);
        }
        let now = self.shared.clock.now();
        match (&job, result) {
            (Job::Settle(settle), Ok(())) => {
                let name = SessionName::from(settle.session.name_any());
                let spec = settle.session.metadata.generation;
                self.book
                    .settle(&name, settle.seat.decided, spec, settle.access, now);
            }
            (
                Job::Tell {
                    session, decision, ..
                },
                Ok(()),
            ) => self.book.told(&session.as_str().into(), *decision, now),
            (
                Job::Lend {
                    session, decision, ..
                },
                Ok(()),
            ) => self.book.lent(&session.as_str().into(), *decision, now),
            (
                Job::Tell {
                    session, decision, ..
                },
                Err(Error::Pod(PodError::Refused { code, message })),
            ) if code != UNAUTHORIZED => {
                // It drains or knows a later generation: another one is placed.
                tracing::info!(session, code, "a pod did not take the session: {message}");
                self.book.unseat(&session.as_str().into(), *decision, now);
            }
            (_, Ok(())) => {}
            (_, Err(error)) => {
                let job = job.key();
                tracing::warn!(cluster = %self.name, %job, %error, "not done, and due again");
            }
        }
    }
}

/// How long to wait after so many failures; after none, until what was done shows.
fn pause(failures: u32) -> Duration {
    match failures {
        0 => ECHO,
        1.. => (Duration::from_millis(125) * 2u32.saturating_pow(failures.min(8))).min(LONGEST),
    }
}
