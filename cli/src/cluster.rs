//! `mafalda cluster`: the settings of a gateway, its logs and signals.

use crate::serve::{LogFormat, PlacementName, raise_file_limit, share, start_logs};
use mafalda_gateway::nodes::{Address, Policy};
use mafalda_gateway::source::{self, Names};
use mafalda_gateway::{Config, Gateway, OwnToken, Preference, Tls};
use mafalda_media_pod::Shutdown;
use mafalda_media_pod::auth::{Role, Verifier};
use std::error::Error;
use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// In seconds: the longest time that a setting takes.
const AN_HOUR: u64 = 60 * 60;

/// Arguments of `mafalda cluster`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Where the gateway listens; `[::]` is all of IPv4 and IPv6. Addresses other than loopback need --token-key.
    #[arg(long, default_value = "127.0.0.1:4500")]
    listen: SocketAddr,
    #[command(flatten)]
    source: SourceArguments,
    /// The MafaldaCluster, with --kubernetes, and the cluster that tokens must be for.
    #[arg(long, default_value = "mafalda")]
    cluster: String,
    /// The namespace of the MafaldaCluster [default: the gateway's own].
    #[cfg(feature = "kubernetes")]
    #[arg(long, requires = "kubernetes")]
    namespace: Option<String>,
    /// The public key (PEM) that tokens are checked with; without it this host alone may connect.
    #[arg(long)]
    token_key: Option<PathBuf>,
    /// What the gateway shows nodes when it asks for itself: a token of role operator.
    #[arg(
        long,
        env = "MAFALDA_TOKEN",
        hide_env_values = true,
        conflicts_with = "signing_key"
    )]
    token: Option<String>,
    /// A file with such a token, read each time: somebody renews it. With --kubernetes a token of role
    /// monitor is enough.
    #[arg(long, env = "MAFALDA_TOKEN_FILE", conflicts_with = "signing_key")]
    token_file: Option<PathBuf>,
    /// The private key (PEM) with which the gateway signs such tokens itself, good for an hour.
    #[arg(long)]
    signing_key: Option<PathBuf>,
    /// Authorities (PEM) to trust for nodes, instead of the system's.
    #[arg(long)]
    ca: Option<PathBuf>,
    /// Certificate chain (PEM): the gateway is then https and wss.
    #[arg(long, requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key (PEM).
    #[arg(long, requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Where workers and sessions go: to as few nodes as carry the load, or one after the other.
    #[arg(long, value_enum, default_value = "pack")]
    placement: PlacementName,
    /// Share of one core (0.01 to 1) for each worker of a node, above which nothing new is placed
    /// on it while another node has room.
    #[arg(long, default_value_t = 0.6, value_parser = share)]
    watermark: f32,
    /// The region whose nodes are preferred.
    #[arg(
        long,
        env = "MAFALDA_REGION",
        default_value = "",
        hide_default_value = true
    )]
    region: String,
    /// Connections at once, workers' connections included.
    #[arg(long, default_value_t = 10_000)]
    max_connections: usize,
    /// How long connections are passed on after SIGTERM, in seconds, while new clients are sent
    /// elsewhere by /readyz.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(0..=AN_HOUR))]
    stop_after: u64,
    /// How log lines look. What is logged RUST_LOG says, for example `debug`.
    #[arg(long, value_enum, default_value = "text")]
    log_format: LogFormat,
}

/// Where the list of nodes comes from.
#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct SourceArguments {
    /// Media pods, each as ws://host:port or wss://host:port; may be given many times.
    #[arg(long, value_name = "URL", num_args = 1.., value_parser = Address::parse)]
    node: Vec<Address>,
    /// A file with one such URL a line, looked at once a second.
    #[arg(long)]
    nodes_file: Option<PathBuf>,
    /// A name in DNS, as host:port or wss://host:port: all its addresses are nodes, looked up every
    /// 5 s.
    #[arg(long, value_parser = Names::parse)]
    nodes_dns: Option<Names>,
    /// The media pods and Sessions of a MafaldaCluster (--cluster), from the Kubernetes API.
    #[cfg(feature = "kubernetes")]
    #[arg(long)]
    kubernetes: bool,
}

impl SourceArguments {
    #[cfg(feature = "kubernetes")]
    fn is_kubernetes(&self) -> bool {
        self.kubernetes
    }

    #[cfg(not(feature = "kubernetes"))]
    fn is_kubernetes(&self) -> bool {
        false
    }
}

fn read(flag: &str, path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{flag} {}: {error}", path.display()))
}

impl Arguments {
    fn config(&self) -> Result<Config, Box<dyn Error>> {
        let verifier = match &self.token_key {
            None => None,
            Some(path) => {
                let verifier = Verifier::of_file(path.clone(), &self.cluster);
                let wrong = |error| format!("--token-key {}: {error}", path.display());
                Some(verifier.map_err(wrong)?)
            }
        };
        let kubernetes = self.source.is_kubernetes();
        let token = self.token.as_ref().filter(|token| !token.is_empty());
        let own = match (&self.token_file, token, &self.signing_key) {
            (Some(path), _, _) => OwnToken::File(path.clone()),
            (None, Some(token), _) => OwnToken::Given(token.clone()),
            (None, None, Some(path)) => OwnToken::Signed {
                key: String::from_utf8(read("--signing-key", path)?)?,
                cluster: self.cluster.clone(),
                // With Kubernetes the operator tells nodes what they must know.
                role: match kubernetes {
                    true => Role::Monitor,
                    false => Role::Operator,
                },
            },
            (None, None, None) => OwnToken::None,
        };
        let config = Config {
            listen: self.listen,
            tls: self
                .tls_cert
                .clone()
                .zip(self.tls_key.clone())
                .map(|(certificate, key)| Tls { certificate, key }),
            verifier,
            ca: self.ca.clone(),
            own,
            max_connections: self.max_connections,
            policy: Policy {
                watermark: f64::from(self.watermark),
                preference: match self.placement {
                    PlacementName::Pack => Preference::Pack,
                    PlacementName::Spread => Preference::Spread,
                },
                region: (!self.region.is_empty()).then(|| self.region.as_str().into()),
            },
            kubernetes,
            stop_after: Duration::from_secs(self.stop_after),
        };
        config.check()?;
        Ok(config)
    }
}

type Source = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What says which nodes there are. A list that is wrong from the beginning is an error.
async fn source(arguments: Arguments, gateway: Gateway) -> Result<Source, Box<dyn Error>> {
    #[cfg(feature = "kubernetes")]
    if arguments.source.kubernetes {
        let client = source::kubernetes::client()
            .await
            .map_err(|error| format!("--kubernetes: {error}"))?;
        let cluster = source::kubernetes::Cluster {
            namespace: arguments.namespace,
            name: arguments.cluster,
        };
        return Ok(Box::pin(source::kubernetes::kubernetes(
            gateway, client, cluster,
        )));
    }
    let from = arguments.source;
    Ok(match (from.nodes_file, from.nodes_dns) {
        (Some(path), _) => {
            source::read(&path).map_err(|error| format!("--nodes-file {error}"))?;
            Box::pin(source::file(gateway, path))
        }
        (None, Some(names)) => Box::pin(source::dns(gateway, names)),
        (None, None) => Box::pin(source::fixed(gateway, from.node)),
    })
}

/// Runs a gateway until it is told to stop.
pub fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    start_logs(arguments.log_format);
    raise_file_limit();
    // One thread: bytes are copied, and waking a second thread for each message costs more than it
    // gains. Further replicas take further cores.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(serve(arguments))
}

async fn serve(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let config = arguments.config()?;
    let listener = mafalda_media_pod::listen(config.listen)
        .map_err(|error| format!("--listen {}: {error}", config.listen))?;
    let address = listener.local_addr()?;
    if config.verifier.is_none() {
        tracing::warn!(
            "no --token-key: everybody on this host may use the cluster, nobody else can"
        );
    }
    let gateway = Gateway::new(config).map_err(|error| format!("--ca: {error}"))?;
    // Before anybody is told that the gateway listens: whoever hears it may stop it.
    let (mut terminate, mut interrupt) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    let source = source(arguments, gateway.clone()).await?;
    tracing::info!(
        "listening on {}",
        mafalda_gateway::base_url(&gateway, address)
    );
    let shutdown = Shutdown {
        gentle: async move { terminate.recv().await.unwrap_or_default() },
        now: async move { interrupt.recv().await.unwrap_or_default() },
    };
    mafalda_gateway::run(gateway, listener, source, shutdown).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn nodes(arguments: &str) -> Result<Vec<String>, clap::Error> {
        let words = ["cluster"].into_iter().chain(arguments.split_whitespace());
        let nodes = Program::try_parse_from(words)?.arguments.source.node;
        Ok(nodes.iter().map(Address::to_string).collect())
    }

    #[test]
    fn nodes_follow_one_flag_or_each_its_own() {
        for arguments in [
            "--node ws://a:1 ws://b:1 wss://c:1",
            "--node ws://a:1 --node ws://b:1 --node wss://c:1",
            "--node ws://a:1 ws://b:1 --placement spread --node wss://c:1",
        ] {
            let expected = ["ws://a:1", "ws://b:1", "wss://c:1"];
            assert_eq!(nodes(arguments).unwrap(), expected, "{arguments}");
        }
        for wrong in [
            "",
            "--node",
            "--node ws://a:1 b",
            "--node ws://a:1 --nodes-file f",
        ] {
            assert!(nodes(wrong).is_err(), "{wrong}");
        }
    }
}
