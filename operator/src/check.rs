//! `mafalda-operator check`: whether an installed operator is well, as `helm test` asks.

use crate::crd::{MafaldaCluster, Session};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::{StatusCode, Uri};
use hyper_util::client::legacy::Client as Http;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::api::ListParams;
use kube::{Api, Client};
use std::net::Ipv6Addr;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};

const BETWEEN_LOOKS: Duration = Duration::from_millis(500);
/// The longest answer that is read, in bytes: it is a line.
const MAX_ANSWER: usize = 4096;

/// What is asked, and for how long.
#[derive(clap::Args, Debug)]
pub struct Settings {
    /// Where the operator serves /livez and /readyz: a name or an address.
    #[arg(long, default_value = "127.0.0.1")]
    pub host: String,
    /// Its port.
    #[arg(long, default_value_t = 8080)]
    pub port: u16,
    /// The namespace whose resources are listed [default: its own].
    #[arg(long)]
    pub namespace: Option<String>,
    /// A MafaldaCluster of that namespace, which must be Ready.
    #[arg(long)]
    pub cluster: Option<String>,
    /// How long all of it may take, in seconds.
    #[arg(long, default_value_t = 120)]
    pub timeout_seconds: u32,
}

/// What is not well.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither in a pod nor with a kubeconfig.
    #[error("no way to the API server: {0}")]
    Client(#[from] kube::Error),
    /// The host is no name and no address.
    #[error("--host {host}: {error}")]
    Host {
        /// As it was told.
        host: String,
        /// What is wrong with it.
        error: hyper::http::Error,
    },
    /// It was not so in time.
    #[error("{what}: {why}")]
    Not {
        /// What should be.
        what: String,
        /// What was last said about it.
        why: String,
    },
}

/// Asks for one thing after the other, each until it is so, and tells `said` of each.
///
/// # Errors
/// With the first that is not so in time.
pub async fn check(settings: &Settings, mut said: impl FnMut(&str)) -> Result<(), Error> {
    let deadline = Instant::now() + Duration::from_secs(settings.timeout_seconds.into());
    let http = Http::builder(TokioExecutor::new()).build_http();
    for path in ["/livez", "/readyz"] {
        let uri = settings.uri(path)?;
        let answer = until(deadline, &uri.to_string(), async || get(&http, &uri).await).await?;
        said(&format!("{uri}: {}", answer.trim()));
    }

    let client = Client::try_default().await?;
    let namespace = settings.namespace.as_deref();
    let namespace = namespace.unwrap_or(client.default_namespace()).to_owned();
    let clusters: Api<MafaldaCluster> = Api::namespaced(client.clone(), &namespace);
    let sessions: Api<Session> = Api::namespaced(client, &namespace);
    if let Some(name) = &settings.cluster {
        let what = format!("mafaldacluster/{name}");
        let why = until(deadline, &what, async || ready(&clusters, name).await).await?;
        said(&format!("{what}: {why}"));
    }
    let what = format!("the resources of namespace {namespace}");
    let counts = until(deadline, &what, async || count(&clusters, &sessions).await).await?;
    said(&format!("{what}: {counts}"));
    Ok(())
}

impl Settings {
    fn uri(&self, path: &str) -> Result<Uri, Error> {
        let host = match self.host.parse::<Ipv6Addr>() {
            Ok(address) => format!("[{address}]"),
            Err(_) => self.host.clone(),
        };
        Uri::builder()
            .scheme("http")
            .authority(format!("{host}:{}", self.port))
            .path_and_query(path)
            .build()
            .map_err(|error| Error::Host {
                host: self.host.clone(),
                error,
            })
    }
}

/// Asks until it is so: what was said then.
async fn until(
    deadline: Instant,
    what: &str,
    mut ask: impl AsyncFnMut() -> Result<String, String>,
) -> Result<String, Error> {
    let mut last = "no answer in time".to_owned();
    loop {
        match timeout_at(deadline, ask()).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(why)) => last = why,
            Err(_) => {}
        }
        if Instant::now() + BETWEEN_LOOKS >= deadline {
            return Err(Error::Not {
                what: what.to_owned(),
                why: last,
            });
        }
        sleep(BETWEEN_LOOKS).await;
    }
}

async fn get(http: &Http<HttpConnector, Empty<Bytes>>, uri: &Uri) -> Result<String, String> {
    let answer = http.get(uri.clone()).await.map_err(|error| {
        let cause = std::error::Error::source(&error);
        cause.map_or_else(|| error.to_string(), ToString::to_string)
    })?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
    let body = body.map_err(|error| error.to_string())?.to_bytes();
    let text = String::from_utf8_lossy(&body).into_owned();
    match status {
        StatusCode::OK => Ok(text),
        _ => Err(format!("{status}: {}", text.trim())),
    }
}

async fn ready(clusters: &Api<MafaldaCluster>, name: &str) -> Result<String, String> {
    let cluster = clusters.get(name).await;
    let status = cluster.map_err(|error| error.to_string())?.status;
    let conditions = status.map(|status| status.conditions).unwrap_or_default();
    let ready = conditions.into_iter().find(|says| says.type_ == "Ready");
    let ready = ready.ok_or("has no condition Ready: no operator works on it")?;
    let why = format!("{} ({})", ready.reason, ready.message);
    if ready.status == "True" {
        Ok(why)
    } else {
        Err(format!("is not Ready: {why}"))
    }
}

async fn count(clusters: &Api<MafaldaCluster>, sessions: &Api<Session>) -> Result<String, String> {
    let all = ListParams::default();
    let said = |error: kube::Error| error.to_string();
    let clusters = clusters.list(&all).await.map_err(said)?.items.len();
    let sessions = sessions.list(&all).await.map_err(said)?.items.len();
    Ok(format!("{clusters} MafaldaClusters, {sessions} Sessions"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        settings: Settings,
    }

    fn settings(arguments: &[&str]) -> Settings {
        Cli::parse_from([&["check"], arguments].concat()).settings
    }

    /// Protects clusters of IPv6, whose Services' addresses need brackets.
    #[test]
    fn a_host_is_a_name_or_an_address_of_either_family() {
        for (host, wanted) in [
            ("operator.media", "http://operator.media:8080/livez"),
            ("10.96.0.7", "http://10.96.0.7:8080/livez"),
            ("fd00::7", "http://[fd00::7]:8080/livez"),
        ] {
            let uri = settings(&["--host", host]).uri("/livez").unwrap();
            assert_eq!(uri.to_string(), wanted);
        }
        assert!(settings(&["--host", "a b"]).uri("/livez").is_err());
    }

    /// Protects `helm test` from an operator that does not answer: it fails, and says why.
    #[tokio::test]
    async fn who_does_not_answer_is_named() {
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = nobody.local_addr().unwrap().port().to_string();
        drop(nobody);
        let settings = settings(&["--port", &port, "--timeout-seconds", "0"]);
        let said = check(&settings, |_| {}).await.unwrap_err().to_string();
        assert!(said.contains(&format!("127.0.0.1:{port}/livez")), "{said}");
        assert!(said.contains("refused"), "{said}");
    }
}
