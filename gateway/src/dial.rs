//! Connections to nodes, and what the gateway asks there for itself.

use crate::config::OwnToken;
use crate::nodes::Address;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use mafalda_link::client::{ConnectError, tls_config};
use mafalda_link::{Refusal, RefusalBody};
use mafalda_media_pod::tune;
use serde_json::Value;
use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

/// What a node that is well takes at most to accept a connection, its TLS handshake included.
const CONNECT: Duration = Duration::from_secs(2);
/// What it takes at most for the head of an answer.
const ANSWER: Duration = Duration::from_secs(4);
/// The longest answer to the gateway's own questions, and the longest refusal that is read, in bytes.
pub const MAX_ANSWER: usize = 64 * 1024;
/// How often the file of authorities is looked at, at most.
const OFTEN: Duration = Duration::from_secs(10);

/// A connection's two ways.
pub trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// Why a node does not answer.
#[derive(Debug, thiserror::Error)]
pub enum Unreachable {
    /// Nobody listens there.
    #[error("it refuses connections")]
    Refused,
    /// It, or the way there, is not well.
    #[error("{0}")]
    Other(String),
}

/// Why a node did not do what the gateway asked for itself.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// It does not answer.
    #[error("no answer: {0}")]
    Unreachable(#[from] Unreachable),
    /// It said no.
    #[error("refused ({code}): {message}", code = .error.code, message = .error.message)]
    Refused {
        /// The status.
        status: StatusCode,
        /// What it said.
        error: RefusalBody,
    },
}

/// Opens connections to nodes.
pub struct Dialer {
    ca: Option<PathBuf>,
    own: OwnToken,
    tls: Mutex<Trust>,
    bearer: Mutex<Option<(HeaderValue, Instant)>>,
}

struct Trust {
    config: Arc<ClientConfig>,
    modified: Option<SystemTime>,
    looked: Instant,
}

fn other(error: &dyn Error) -> Unreachable {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    Unreachable::Other(text)
}

impl Dialer {
    /// Trusts the authorities in `ca`, else the system's.
    pub fn new(ca: Option<PathBuf>, own: OwnToken) -> Result<Self, ConnectError> {
        let modified = modified(ca.as_ref());
        Ok(Self {
            tls: Mutex::new(Trust {
                config: Arc::new(tls_config(ca.as_deref())?),
                modified,
                looked: Instant::now(),
            }),
            ca,
            own,
            bearer: Mutex::default(),
        })
    }

    /// The settings of TLS; authorities are renewed when their file is.
    fn tls(&self) -> Arc<ClientConfig> {
        let mut trust = self.tls.lock().unwrap_or_else(PoisonError::into_inner);
        if trust.looked.elapsed() >= OFTEN {
            trust.looked = Instant::now();
            let modified = modified(self.ca.as_ref());
            if modified != trust.modified {
                match tls_config(self.ca.as_deref()) {
                    Ok(config) => {
                        trust.config = Arc::new(config);
                        trust.modified = modified;
                        tracing::info!("the authorities were renewed");
                    }
                    // Perhaps the file is not written yet.
                    Err(error) => tracing::warn!(%error, "the authorities were not renewed"),
                }
            }
        }
        trust.config.clone()
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// The node does not answer.
    pub async fn connect(&self, address: &Address) -> Result<Box<dyn Io>, Unreachable> {
        let opened = async {
            let stream = TcpStream::connect((address.host.as_str(), address.port)).await;
            let stream = stream.map_err(|error| match error.kind() {
                io::ErrorKind::ConnectionRefused => Unreachable::Refused,
                _ => other(&error),
            })?;
            tune(&stream);
            if !address.tls {
                return Ok(Box::new(stream) as Box<dyn Io>);
            }
            let name = ServerName::try_from(address.host.clone()).map_err(|error| other(&error))?;
            let tls = TlsConnector::from(self.tls());
            let stream = tls.connect(name, stream).await;
            Ok(Box::new(stream.map_err(|error| other(&error))?) as Box<dyn Io>)
        };
        timeout(CONNECT, opened)
            .await
            .unwrap_or_else(|_| Err(Unreachable::Other(silence(CONNECT))))
    }

    /// Sends a request over a connection of its own, which may be upgraded.
    ///
    /// # Errors
    /// The node does not answer.
    pub async fn send<B>(
        &self,
        address: &Address,
        mut request: Request<B>,
    ) -> Result<Response<Incoming>, Unreachable>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let host = HeaderValue::from_str(&address.authority()).map_err(|error| other(&error))?;
        request.headers_mut().insert(HOST, host);
        let io = TokioIo::new(self.connect(address).await?);
        let exchange = async {
            let (mut sender, connection) = http1::handshake(io).await?;
            // Ends with the answer, or with the upgrade.
            tokio::spawn(connection.with_upgrades());
            sender.send_request(request).await
        };
        match timeout(ANSWER, exchange).await {
            Ok(answer) => answer.map_err(|error: hyper::Error| other(&error)),
            Err(_) => Err(Unreachable::Other(silence(ANSWER))),
        }
    }

    /// What the gateway shows for itself.
    pub fn bearer(&self) -> Option<HeaderValue> {
        let mut bearer = self.bearer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((value, made)) = &*bearer
            && made.elapsed() < self.own.lasts()
        {
            return Some(value.clone());
        }
        match self.own.bearer() {
            Ok(value) => {
                let value = HeaderValue::from_str(&value?).ok()?;
                *bearer = Some((value.clone(), Instant::now()));
                Some(value)
            }
            // It was tried when the settings were checked; perhaps the file is just being written.
            Err(error) => {
                tracing::warn!(%error, "the token of before is used");
                bearer.as_ref().map(|(value, _)| value.clone())
            }
        }
    }

    /// Asks a node for something for the gateway itself.
    ///
    /// # Errors
    /// It does not answer, or says no.
    pub async fn ask(
        &self,
        address: &Address,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Bytes, AskError> {
        let text = body.map(ToString::to_string).unwrap_or_default();
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::from(text))
            .map_err(|error| other(&error))?;
        if let Some(bearer) = self.bearer() {
            request.headers_mut().insert(AUTHORIZATION, bearer);
        }
        let response = self.send(address, request).await?;
        let status = response.status();
        let bytes = read(response.into_body()).await?;
        match status.is_success() {
            true => Ok(bytes),
            false => Err(AskError::Refused {
                status,
                error: read_refusal(status, &bytes),
            }),
        }
    }
}

/// Reads a short body.
///
/// # Errors
/// It is long, slow, or broken off.
pub async fn read(body: Incoming) -> Result<Bytes, Unreachable> {
    let body = Limited::new(body, MAX_ANSWER).collect();
    match timeout(ANSWER, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) => Err(other(&*error)),
        Err(_) => Err(Unreachable::Other(silence(ANSWER))),
    }
}

/// A pod's refusal, or one made of its status.
pub fn read_refusal(status: StatusCode, body: &[u8]) -> RefusalBody {
    match serde_json::from_slice::<Refusal>(body) {
        Ok(Refusal { error }) => error,
        Err(_) => RefusalBody {
            code: status.as_u16().to_string(),
            message: "no media pod answers there".to_owned(),
        },
    }
}

fn modified(path: Option<&PathBuf>) -> Option<SystemTime> {
    path?.metadata().and_then(|file| file.modified()).ok()
}

fn silence(time: Duration) -> String {
    format!("nothing for {} s", time.as_secs())
}
