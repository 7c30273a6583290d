//! The pods' HTTP API, as far as the operator uses it. One listener answers for all: the address that
//! a connection comes to is the pod's.

use futures_util::SinkExt;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

/// The status comes as often as a real pod's,
const STATUS: Duration = Duration::from_secs(15);
/// and a sign of life.
const ALIVE: Duration = Duration::from_secs(1);

/// One played pod.
struct Pod {
    sessions: HashMap<String, (u64, u64)>,
    drain: &'static str,
    changed: watch::Sender<()>,
}

/// All played pods, by their address.
#[derive(Clone, Default)]
pub struct Pods(Arc<Mutex<HashMap<IpAddr, Pod>>>);

impl Pods {
    fn with<T>(&self, pod: IpAddr, change: impl FnOnce(&mut Pod) -> T) -> T {
        let mut pods = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Pod {
            sessions: HashMap::new(),
            drain: "active",
            changed: watch::channel(()).0,
        };
        change(pods.entry(pod).or_insert_with(new))
    }

    /// How many sessions all of them run.
    pub fn sessions(&self) -> usize {
        let pods = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pods.values().map(|pod| pod.sessions.len()).sum()
    }

    fn status(&self, pod: IpAddr) -> Value {
        self.with(pod, |pod| {
            let session = |(name, (generation, since)): (&String, &(u64, u64))| {
                json!({"name": name, "generation": generation, "state": "active",
                    "connections": 0, "emptySince": since, "createdAt": since})
            };
            let sessions: Vec<Value> = pod.sessions.iter().map(session).collect();
            json!({
                "version": "0.1.0",
                "mediasoup": {"npm": "3.27.1", "crate": "0.28.1"},
                "drain": {"phase": pod.drain, "deadline": null},
                "workers": [{"state": "idle", "cpu": 0.01}, {"state": "idle", "cpu": 0.02}],
                "sessions": sessions,
                "connections": {"attached": 0, "detached": 0, "lent": 0},
            })
        })
    }

    fn change<T>(&self, pod: IpAddr, change: impl FnOnce(&mut Pod) -> T) {
        self.with(pod, |pod| {
            change(pod);
            pod.changed.send_replace(());
        });
    }
}

/// Answers until it is dropped, with a certificate and its key (PEM).
///
/// # Errors
/// When the port is taken or the certificate is none.
pub async fn serve(pods: Pods, port: u16, certificate: &[u8], key: &[u8]) -> std::io::Result<()> {
    let wrong = std::io::Error::other::<String>;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate).collect();
    let chain = chain.map_err(|error| wrong(error.to_string()))?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| wrong(error.to_string()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| wrong(error.to_string()))?;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind(("0.0.0.0", port)).await?;
    loop {
        let (socket, _) = listener.accept().await?;
        tokio::spawn(connection(pods.clone(), acceptor.clone(), socket));
    }
}

async fn connection(pods: Pods, acceptor: TlsAcceptor, socket: TcpStream) {
    let Ok(address) = socket.local_addr() else {
        return;
    };
    let Ok(tls) = acceptor.accept(socket).await else {
        return;
    };
    let answer = service_fn(|request| {
        let pods = pods.clone();
        async move { Ok::<_, Infallible>(answer(&pods, address.ip(), request).await) }
    });
    // A client that goes away is no fault.
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(tls), answer)
        .with_upgrades()
        .await;
}

async fn answer(pods: &Pods, pod: IpAddr, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    let session = path.strip_prefix("/v1/sessions/").map(str::to_owned);
    match (request.method().clone(), path.as_str(), session) {
        (Method::GET, "/v1/events", _) => events(pods.clone(), pod, request),
        (Method::GET, "/v1/status", _) => reply(StatusCode::OK, &pods.status(pod)),
        (Method::PUT, _, Some(name)) => {
            let body = request.into_body().collect().await;
            let body = body.map(|body| body.to_bytes()).unwrap_or_default();
            let body: Value = serde_json::from_slice(&body).unwrap_or_default();
            let generation = body["generation"].as_u64().unwrap_or_default();
            let now = SystemTime::UNIX_EPOCH
                .elapsed()
                .unwrap_or_default()
                .as_secs();
            pods.change(pod, |pod| {
                pod.sessions.insert(name, (generation, now));
            });
            reply(StatusCode::OK, &json!({}))
        }
        (Method::DELETE, _, Some(name)) => {
            pods.change(pod, |pod| pod.sessions.remove(&name));
            reply(StatusCode::OK, &json!({}))
        }
        (Method::PUT, "/v1/drain", _) => {
            pods.change(pod, |pod| pod.drain = "cordoned");
            reply(StatusCode::OK, &json!({}))
        }
        (Method::DELETE, "/v1/drain", _) => {
            pods.change(pod, |pod| pod.drain = "active");
            reply(StatusCode::OK, &json!({}))
        }
        _ => reply(
            StatusCode::NOT_FOUND,
            &json!({"error": {"code": "notFound"}}),
        ),
    }
}

fn reply(status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body.to_string()));
    *response.status_mut() = status;
    response
}

fn events(pods: Pods, pod: IpAddr, mut request: Request<Incoming>) -> Response<Full<Bytes>> {
    let key = request.headers().get(header::SEC_WEBSOCKET_KEY);
    let accept = key
        .map(|key| derive_accept_key(key.as_bytes()))
        .unwrap_or_default();
    tokio::spawn(async move {
        let Ok(upgraded) = hyper::upgrade::on(&mut request).await else {
            return;
        };
        let socket = TokioIo::new(upgraded);
        let socket = WebSocketStream::from_raw_socket(socket, Role::Server, None).await;
        tell(pods, pod, socket).await;
    });
    Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::UPGRADE, "websocket")
        .header(header::CONNECTION, "Upgrade")
        .header(header::SEC_WEBSOCKET_ACCEPT, accept)
        .body(Full::default())
        .expect("its headers are in order")
}

async fn tell<S>(pods: Pods, pod: IpAddr, mut socket: WebSocketStream<S>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    use futures_util::StreamExt;
    let mut changed = pods.with(pod, |pod| pod.changed.subscribe());
    loop {
        let event = json!({"type": "status", "status": pods.status(pod)});
        let text = Message::Text(Utf8Bytes::from(event.to_string()));
        if socket.send(text).await.is_err() {
            return;
        }
        let again = tokio::time::sleep(STATUS);
        tokio::pin!(again);
        let mut alive = tokio::time::interval_at(tokio::time::Instant::now() + ALIVE, ALIVE);
        loop {
            tokio::select! {
                // Pings are answered by reading.
                message = socket.next() => match message {
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return,
                },
                _ = changed.changed() => break,
                () = &mut again => break,
                _ = alive.tick() => {
                    if socket.send(Message::Pong(Bytes::new())).await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}
