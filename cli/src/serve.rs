//! `mafalda serve`: the settings of a media pod, its logs and signals.

use crate::drain;
use mafalda_media_pod::auth::Verifier;
use mafalda_media_pod::{
    Between, Config, Identity, ListenInfos, Mode, PipeSettings, Placement, Pod, Shutdown, Tls,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

const MAX_MESSAGE: u32 = mafalda_channel::MAX_MESSAGE as u32;

/// In seconds: the longest time that a setting takes.
const A_DAY: u64 = 24 * 60 * 60;

/// How log lines look.
#[derive(Clone, Copy, clap::ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Switch {
    On,
    Off,
}

impl Switch {
    fn is_on(self) -> bool {
        matches!(self, Self::On)
    }
}

/// A family of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Family {
    Ipv4,
    Ipv6,
}

impl Family {
    fn has(self, ip: &IpAddr) -> bool {
        ip.is_ipv6() == (self == Self::Ipv6)
    }
}

/// How something new is placed.
#[derive(Clone, Copy, clap::ValueEnum)]
pub enum PlacementName {
    Pack,
    Spread,
}

/// Arguments of `mafalda serve`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Where the HTTP API listens; `[::]` is all of IPv4 and IPv6. Addresses other than loopback need
    /// --token-key.
    #[arg(long, default_value = "127.0.0.1:4400")]
    listen: SocketAddr,
    /// Worker processes kept running: a number, or `auto` for one a core.
    #[arg(long, default_value = "auto", value_parser = workers)]
    workers: Workers,
    /// Worker processes at most; those over --workers are started when needed [default: 8 times
    /// --workers, at least 32].
    #[arg(long)]
    max_workers: Option<usize>,
    /// Workers that one client may have at once (by its token's subject, else its address)
    /// [default: --max-workers].
    #[arg(long)]
    max_workers_per_client: Option<usize>,
    /// HTTP connections at once, listeners of /v1/events included; workers' connections are not counted.
    #[arg(long, default_value_t = 1024)]
    max_connections: usize,
    /// The largest channel message, in bytes: mediasoup's own limit is the default and the maximum.
    #[arg(long, default_value_t = MAX_MESSAGE, value_parser = clap::value_parser!(u32).range(65_536..=i64::from(MAX_MESSAGE)))]
    max_message_bytes: u32,
    /// What may be unacknowledged on a worker's connection, in bytes, in each direction: past it
    /// the sender waits.
    #[arg(long, default_value_t = 1024 * 1024)]
    buffer_bytes: usize,
    /// How long a worker is kept when its connection is broken, in seconds.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=A_DAY))]
    grace: u64,
    /// How long running workers may go on after SIGTERM, in seconds; SIGINT ends them at once.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(0..=A_DAY))]
    stop_after: u64,
    /// Media ports: worker i uses this number plus i, for UDP and TCP.
    #[arg(long, default_value_t = 40000)]
    rtc_port: u16,
    /// Ports for plain and pipe transports, FIRST-LAST.
    #[arg(long, default_value = "41000-41999", value_parser = port_range)]
    rtc_port_range: RangeInclusive<u16>,
    /// Address to bind media to, one of each family at most [default: the wildcard of each
    /// announced address's family, else 127.0.0.1].
    #[arg(long)]
    rtc_ip: Vec<IpAddr>,
    /// IP address or host name by which clients reach --rtc-ip, where that is another: one of each
    /// family (IPv4, IPv6) at most, with a comma between. A host name is for IPv4 where there is any.
    #[arg(long, value_delimiter = ',')]
    announced_address: Vec<String>,
    /// Address by which other workers reach this pod's pipes, where that is another. Several with a
    /// comma between.
    #[arg(long, value_delimiter = ',')]
    pipe_address: Vec<IpAddr>,
    /// The families to use of --announced-address, each of which has to have one there, and of
    /// --pipe-address: `ipv4`, `ipv6` or both with a comma between [default: all]. A host name is of ipv4.
    #[arg(long, value_enum, value_delimiter = ',')]
    family: Vec<Family>,
    /// A Unix socket at which the pod hears that it is about to end (`mafalda drain`): it takes nothing
    /// new any more, and --stop-after counts from then on.
    #[arg(long)]
    drain_socket: Option<PathBuf>,
    /// Whose listen infos count: the pod's own addresses and ports, or what the application writes
    /// (pod and application on one host).
    #[arg(long, value_enum, default_value_t = ListenInfos::Pod)]
    listen_infos: ListenInfos,
    /// Whether an application that asks for no kind of worker gets a virtual one, which spans all
    /// workers of the pod, or (off) one worker process of its own.
    #[arg(long = "virtual", value_enum, default_value = "on")]
    is_virtual: Switch,
    /// How a virtual worker chooses members: as few as carry the load, or one after the other.
    #[arg(long, value_enum, default_value = "pack")]
    placement: PlacementName,
    /// Share of one core (0.01 to 1) above which nothing new is placed on a worker while another
    /// has room.
    #[arg(long, default_value_t = 0.6, value_parser = share)]
    watermark: f32,
    /// How long a pipe between workers stays when nothing uses it, in seconds.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(0..=A_DAY))]
    pipe_idle: u64,
    /// Pipes between a producer and its farthest copy, at most.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..))]
    pipe_depth: u8,
    /// Copies of one producer that a worker feeds, at most; further ones are fed by copies.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u8).range(1..))]
    pipe_fan_out: u8,
    /// Encrypt what goes through pipes: `off`, `pods` (from pod to pod) or `on` (also between the
    /// workers of a pod).
    #[arg(long, default_value = "off")]
    pipe_srtp: Between,
    /// Send again what is lost in pipes: `off`, `pods` or `on`.
    #[arg(long, default_value = "off")]
    pipe_rtx: Between,
    /// The public key (PEM) that tokens are checked with, or several of which each is good. The file is
    /// read again when it changes. Without it this host alone may connect.
    #[arg(long)]
    token_key: Option<PathBuf>,
    /// The cluster that tokens must be for.
    #[arg(long, default_value = "mafalda")]
    cluster: String,
    /// The pod's name, for whoever reads its status.
    #[arg(
        long,
        env = "MAFALDA_POD_NAME",
        default_value = "",
        hide_default_value = true
    )]
    pod_name: String,
    /// The region that the pod is in.
    #[arg(
        long,
        env = "MAFALDA_REGION",
        default_value = "",
        hide_default_value = true
    )]
    region: String,
    /// The zone of the region.
    #[arg(
        long,
        env = "MAFALDA_ZONE",
        default_value = "",
        hide_default_value = true
    )]
    zone: String,
    /// Certificate chain (PEM): the API is then https and wss.
    #[arg(long, requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key (PEM).
    #[arg(long, requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// A file with the token that this pod shows to pods that lend it workers.
    #[arg(long)]
    peer_token: Option<PathBuf>,
    /// Authorities (PEM) that those pods' certificates are checked with.
    #[arg(long)]
    peer_ca: Option<PathBuf>,
    /// The program `mafalda-media-worker` [default: beside this program].
    #[arg(long)]
    worker_bin: Option<PathBuf>,
    /// How log lines look. What is logged RUST_LOG says, for example `debug`.
    #[arg(long, value_enum, default_value = "text")]
    log_format: LogFormat,
}

#[derive(Clone, Copy)]
enum Workers {
    Auto,
    Number(usize),
}

fn workers(text: &str) -> Result<Workers, String> {
    if text == "auto" {
        return Ok(Workers::Auto);
    }
    match text.parse() {
        Ok(number) if number > 0 => Ok(Workers::Number(number)),
        _ => Err("a number above 0, or auto".to_owned()),
    }
}

/// Reads a share of one core.
pub fn share(text: &str) -> Result<f32, String> {
    let share = text
        .parse()
        .ok()
        .filter(|share| (0.01..=1.0).contains(share));
    share.ok_or_else(|| "a number from 0.01 to 1".to_owned())
}

fn port_range(text: &str) -> Result<RangeInclusive<u16>, String> {
    let range = text.split_once('-').and_then(|(first, last)| {
        Some(first.trim().parse::<u16>().ok()?..=last.trim().parse::<u16>().ok()?)
    });
    range.ok_or_else(|| "two ports as FIRST-LAST, for example 41000-41999".to_owned())
}

impl Arguments {
    fn max_workers(&self, workers: usize) -> usize {
        self.max_workers.unwrap_or_else(|| (8 * workers).max(32))
    }

    /// The announced addresses and those of pipes, of the families that are asked for.
    fn addresses(&self) -> Result<(Vec<String>, Vec<IpAddr>), String> {
        let (announced, pipes) = (&self.announced_address, &self.pipe_address);
        if self.family.is_empty() {
            return Ok((announced.clone(), pipes.clone()));
        }
        let announced_of = |family: &Family| {
            let is_of = |address: &&String| match address.parse() {
                Ok(ip) => family.has(&ip),
                Err(_) => *family == Family::Ipv4 && !address.is_empty(),
            };
            let found = announced.iter().find(is_of).cloned();
            found.ok_or_else(|| format!("--announced-address: none is of --family {family:?}"))
        };
        let pipe_of = |family: &Family| pipes.iter().find(|ip| family.has(ip)).copied();
        let found: Result<_, String> = self.family.iter().map(announced_of).collect();
        Ok((found?, self.family.iter().filter_map(pipe_of).collect()))
    }

    fn config(self) -> Result<Config, Box<dyn Error>> {
        let verifier = match &self.token_key {
            None => None,
            Some(path) => {
                let wrong = |what: &dyn std::fmt::Display| {
                    format!("--token-key {}: {what}", path.display())
                };
                let verifier = Verifier::of_file(path.clone(), &self.cluster);
                Some(verifier.map_err(|error| wrong(&error))?)
            }
        };
        let peer_token = match &self.peer_token {
            None => None,
            Some(path) => {
                let token = std::fs::read_to_string(path)
                    .map_err(|error| format!("--peer-token {}: {error}", path.display()))?;
                Some(token.trim().to_owned())
            }
        };
        let workers = match self.workers {
            Workers::Number(number) => number,
            Workers::Auto => std::thread::available_parallelism()?.get(),
        };
        let max_workers = self.max_workers(workers);
        let (announced, pipe_addresses) = self.addresses()?;
        let worker_program = match self.worker_bin {
            Some(path) => path,
            None => std::env::current_exe()?.with_file_name("mafalda-media-worker"),
        };
        if !worker_program.is_file() {
            let path = worker_program.display();
            return Err(format!("--worker-bin: there is no program {path}").into());
        }
        let config = Config {
            identity: Identity {
                name: self.pod_name,
                cluster: self.cluster,
                region: self.region,
                zone: self.zone,
            },
            listen: self.listen,
            tls: self
                .tls_cert
                .zip(self.tls_key)
                .map(|(certificate, key)| Tls { certificate, key }),
            worker_program,
            workers,
            max_workers,
            max_workers_per_client: self.max_workers_per_client.unwrap_or(max_workers),
            max_connections: self.max_connections,
            max_message: self.max_message_bytes as usize,
            window: self.buffer_bytes,
            grace: Duration::from_secs(self.grace),
            stop_after: Duration::from_secs(self.stop_after),
            listen_infos: self.listen_infos,
            mode: match self.is_virtual.is_on() {
                true => Mode::Virtual,
                false => Mode::Real,
            },
            placement: match self.placement {
                PlacementName::Pack => Placement::Pack,
                PlacementName::Spread => Placement::Spread,
            },
            watermark: self.watermark,
            pipes: PipeSettings {
                idle: Duration::from_secs(self.pipe_idle),
                max_depth: self.pipe_depth.into(),
                max_fan_out: self.pipe_fan_out.into(),
                srtp: self.pipe_srtp,
                rtx: self.pipe_rtx,
                ..PipeSettings::default()
            },
            rtc_ips: self.rtc_ip,
            announced,
            pipe_addresses,
            rtc_port: self.rtc_port,
            rtc_port_range: self.rtc_port_range,
            verifier,
            peer_token,
            peer_ca: self.peer_ca,
        };
        config.check()?;
        config.check_files_and_addresses()?;
        Ok(config)
    }
}

/// Writes logs to standard error from now on.
pub fn start_logs(format: LogFormat) {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false);
    match format {
        LogFormat::Text => logs
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .init(),
        LogFormat::Json => logs.json().flatten_event(true).init(),
    }
}

/// Descriptors that a worker takes: its process, channel and output, the connection's socket, and what
/// was handed over (two ends, the relay's socket, three to stop the threads by).
const DESCRIPTORS_PER_WORKER: usize = 12;

/// Descriptors for everything else.
const OTHER_DESCRIPTORS: usize = 64;

/// Raises the limit of open files as far as it may go, and keeps connections under it.
fn fit_file_limit(config: &mut Config) {
    raise_file_limit();
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let rest =
        limit.saturating_sub(OTHER_DESCRIPTORS + config.max_workers * DESCRIPTORS_PER_WORKER);
    if rest < config.max_connections {
        tracing::warn!(
            open_files = limit,
            max_connections = rest,
            "fewer connections than --max-connections: the limit of open files is low (ulimit -n)"
        );
        config.max_connections = rest.max(1);
    }
}

/// Raises the limit of open files as far as it may go.
pub fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

/// Runs a pod until it is told to stop.
pub fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    start_logs(arguments.log_format);
    let drain_socket = arguments.drain_socket.clone();
    let mut config = arguments.config()?;
    fit_file_limit(&mut config);
    // One thread: a pod forwards small messages, and waking a second thread for each costs more
    // than it gains. Media never comes here.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(serve(config, drain_socket))
}

async fn serve(config: Config, drain_socket: Option<PathBuf>) -> Result<(), Box<dyn Error>> {
    let listener = mafalda_media_pod::listen(config.listen)
        .map_err(|error| format!("--listen {}: {error}", config.listen))?;
    let address = listener.local_addr()?;
    if config.verifier.is_none() {
        tracing::warn!("no --token-key: everybody on this host may use the pod, nobody else can");
    }
    let ips = config.media_ips();
    let pod = Pod::new(config);
    let config = pod.config();
    let (told, asked) = tokio::sync::watch::channel(false);
    if let Some(path) = &drain_socket {
        let socket = drain::Socket::bind(path)?;
        tokio::spawn(socket.keep(pod.clone(), told));
    }
    // Before anybody is told that the pod listens: whoever hears it may stop it.
    let (mut terminate, mut interrupt) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    tracing::info!(
        workers = config.workers,
        rtc_ports = format!("{}..{}", config.rtc_port, usize::from(config.rtc_port) + config.workers - 1),
        rtc_ips = ?ips,
        announced = ?config.announced,
        listen_infos = config.listen_infos.as_str(),
        "listening on {}",
        mafalda_media_pod::base_url(&pod, address)
    );
    let late = drain::is_late(asked, config.stop_after);
    let shutdown = Shutdown {
        gentle: async move { terminate.recv().await.unwrap_or_default() },
        now: async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                () = late => {}
            }
        },
    };
    mafalda_media_pod::run(pod, listener, shutdown).await?;
    Ok(())
}

#[cfg(test)]
mod tests;
