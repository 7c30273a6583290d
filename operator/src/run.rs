//! `mafalda-operator run`: its settings, and the way from waiting for the Lease to working.

use crate::clock::Clock;
use crate::cluster::actor::Shared;
use crate::events::Events;
use crate::index::{Index, WATCH_SECONDS};
use crate::lead::lead;
use crate::lease::Candidate;
use crate::metrics::Metrics;
use crate::pod_api::listen;
use crate::{http, names};
use kube::{Client, Config};
use mafalda_plan::Timing;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// How long the end of the program waits for the API server.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How long a connection to the API server is silent before it is given up: a watch ends before that by
/// itself.
const SILENT: Duration = Duration::from_secs(WATCH_SECONDS as u64 + 10);

/// What the operator is told when it starts.
#[derive(clap::Args, Debug)]
pub struct Settings {
    /// The namespace whose MafaldaClusters and Sessions it keeps [default: all].
    #[arg(long, env = "MAFALDA_NAMESPACE")]
    pub namespace: Option<String>,
    /// The image of media pods whose MafaldaCluster names none.
    #[arg(long, env = "MAFALDA_IMAGE", default_value = "mafalda:latest")]
    pub image: String,
    /// Where /livez, /readyz and /metrics are served; `[::]` is all of IPv4 and IPv6.
    #[arg(long, default_value = "[::]:8080")]
    pub listen: SocketAddr,
    /// The namespace of the Lease that replicas agree by [default: the operator's own, else
    /// `default`].
    #[arg(long, env = "MAFALDA_LEASE_NAMESPACE")]
    pub lease_namespace: Option<String>,
    /// The name of that Lease.
    #[arg(long, default_value = names::FIELD_MANAGER)]
    pub lease: String,
    /// What this replica is called, unlike all others.
    #[arg(long, env = "MAFALDA_POD_NAME", default_value_t = default_identity())]
    pub identity: String,
    /// How long a pod serves at least before it is drained because fewer are enough, in seconds.
    #[arg(long, default_value_t = 300)]
    pub settle_seconds: u32,
    /// How long a pod that is to go takes nothing new before its sessions are told, in seconds.
    #[arg(long, default_value_t = 30)]
    pub cordon_seconds: u32,
    /// How often keys and certificates are looked at, in seconds.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    pub secrets_seconds: u32,
    /// Requests to the API server at the same time, at most, and as many to pods.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub requests: u16,
}

fn default_identity() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}-{}", host.trim(), std::process::id())
}

/// Why the operator cannot work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither in a pod nor with a kubeconfig.
    #[error("no way to the API server: {0}")]
    Client(#[from] kube::Error),
    /// The endpoints' address is taken, or not one of this host.
    #[error("--listen {address}: {error}")]
    Listen {
        /// As it was told.
        address: SocketAddr,
        /// What the system said.
        error: std::io::Error,
    },
    /// The system gives no thread.
    #[error("no thread to listen to the media pods: {0}")]
    Thread(std::io::Error),
}

/// Works until `shutdown` is ready, whenever it holds the Lease. Media pods and sessions go on
/// without it.
///
/// # Errors
/// When it cannot begin.
pub async fn run(settings: Settings, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
    let client = client().await?;
    let listener = bind(settings.listen).await.map_err(|error| Error::Listen {
        address: settings.listen,
        error,
    })?;
    let namespace = settings.lease_namespace.as_deref();
    let namespace = namespace.unwrap_or(client.default_namespace()).to_owned();
    let candidate = Candidate::new(&client, &namespace, &settings.lease, &settings.identity);
    let mut tasks = JoinSet::new();
    let index = Index::start(&client, settings.namespace.as_deref(), &mut tasks);
    let listening = listen::thread().map_err(Error::Thread)?;
    let shared = shared(&settings, client, index, listening);
    tasks.spawn(http::serve(
        listener,
        shared.metrics.clone(),
        shared.index.clone(),
    ));
    tracing::info!(
        identity = settings.identity,
        lease = settings.lease,
        "waiting for the lease"
    );
    tokio::select! {
        () = shutdown => {}
        () = work(&shared, &candidate) => {}
    }
    shared.metrics.lead(false);
    let released = tokio::time::timeout(LAST_WORDS, candidate.release());
    if !matches!(released.await, Ok(Ok(()))) {
        tracing::warn!("the lease was not given back: another replica waits until it is over");
    }
    Ok(())
}

/// A host without IPv6 has no `[::]`: all of its addresses are those of IPv4.
async fn bind(at: SocketAddr) -> std::io::Result<TcpListener> {
    match TcpListener::bind(at).await {
        Err(error) if at.is_ipv6() && at.ip().is_unspecified() && !is_taken(&error) => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, at.port())).await
        }
        other => other,
    }
}

fn is_taken(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{AddrInUse, PermissionDenied};
    matches!(error.kind(), AddrInUse | PermissionDenied)
}

/// A client to the API server, as the environment says.
async fn client() -> kube::Result<Client> {
    let mut config = Config::infer().await.map_err(kube::Error::InferConfig)?;
    config.read_timeout = Some(SILENT);
    config.reset_reader_on_write = true;
    Client::try_from(config)
}

fn shared(settings: &Settings, client: Client, index: Index, listening: Handle) -> Shared {
    let seconds = |seconds: u32| Duration::from_secs(seconds.into());
    Shared {
        index,
        default_image: settings.image.as_str().into(),
        timing: Timing {
            settle: seconds(settings.settle_seconds),
            cordon: seconds(settings.cordon_seconds),
            ..Timing::default()
        },
        metrics: Metrics::default(),
        events: Arc::new(Events::new(client.clone(), &settings.identity)),
        clock: Clock::start(),
        requests: Arc::new(Semaphore::new(settings.requests.into())),
        calls: Arc::new(Semaphore::new(settings.requests.into())),
        secrets: seconds(settings.secrets_seconds),
        listening,
        client,
    }
}

/// Takes its turn, as often as it comes.
async fn work(shared: &Shared, candidate: &Candidate) {
    loop {
        let since = candidate.acquire().await;
        tracing::info!("this replica works");
        shared.metrics.lead(true);
        // Whatever it had begun ends with it.
        tokio::select! {
            () = lead(shared.clone()) => {}
            () = candidate.keep(since) => {}
        }
        shared.metrics.lead(false);
        tracing::warn!("the lease is lost: another replica may work");
    }
}
