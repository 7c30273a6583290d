//! The client's side: opens the connection and, when a socket breaks, the next one.

mod home;

pub use home::connect;

use crate::drive::{Attachment, Dial, DialError, LinkError};
use crate::hand_over::{Claim, Ends, give};
use crate::handshake::{
    FILE_ARGUMENTS, HandedOver, Hello, Refusal, Resume, Start, Welcome, header,
};
use crate::socket::{BoxError, CLOSE_FINAL, Packet, Socket, adapt, websocket_config};
pub use crate::tls::config as tls_config;
use futures_util::{FutureExt, SinkExt, StreamExt, future::BoxFuture};
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::{Connector, client_async_tls_with_config};
use url::Url;

/// How long one try to open a socket may take.
const CONNECT: Duration = Duration::from_secs(10);

/// The pause before the first try to reconnect, and the longest one.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// What an application is told as its worker's exit status when the pod cannot be reached, refuses,
/// or was away for longer than the grace time.
pub const EXIT_NO_POD: i32 = 50;

/// What this process asks a worker to be started with: the arguments without the program's name, and
/// the files that they name. With `MAFALDA_HAND_OVER=off` in the environment it keeps the channel.
pub fn start(args: Vec<String>) -> Start {
    let files = args
        .iter()
        .filter_map(|argument| argument.split_once('='))
        .filter(|(name, _)| FILE_ARGUMENTS.contains(name))
        // One that cannot be read stays out: the worker then refuses its settings, as it would here.
        .filter_map(|(name, path)| Some((name.to_owned(), std::fs::read_to_string(path).ok()?)))
        .collect();
    Start {
        pid: std::process::id(),
        args,
        files,
        hand_over: std::env::var_os("MAFALDA_HAND_OVER").is_none_or(|value| value != "off"),
    }
}

/// Answers the pod's offer to take the channel's ends over. If it has, a stream is returned that
/// closes with the pod; the ends are of no use here any more.
///
/// # Errors
/// The connection broke.
pub async fn hand_over(
    socket: &mut Box<dyn Socket>,
    welcome: &Welcome,
    ends: Ends<BorrowedFd<'_>>,
) -> Result<Option<UnixStream>, BoxError> {
    let Some(name) = &welcome.hand_over else {
        return Ok(None);
    };
    let claim = Claim {
        connection: welcome.connection.clone(),
        key: welcome.key.clone(),
    };
    // A pod behind a forwarded port looks like one on this host; frames will do then.
    let stream = give(name, &claim, ends).ok();
    let handed_over = stream.is_some();
    let answer = serde_json::to_string(&HandedOver { handed_over })?;
    socket.send(Packet::Text(answer)).await?;
    Ok(stream)
}

/// How long the connection may take to end by itself once the pod that has the channel is gone.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Resolves when the pod that has the channel is gone: there is nothing to resume. `stream` is what
/// [`hand_over`] returned; without one, never.
///
/// # Errors
/// The stream cannot be waited for.
pub async fn pod_gone(stream: Option<UnixStream>) -> io::Result<()> {
    let Some(stream) = stream else {
        return std::future::pending().await;
    };
    stream.set_nonblocking(true)?;
    let stream = tokio::net::UnixStream::from_std(stream)?;
    // It says nothing more; an error is an end too.
    let _ = stream.readable().await;
    sleep(LAST_WORDS).await;
    Ok(())
}

/// The pod to connect to, and what to show there.
#[derive(Clone, Debug)]
pub struct Target {
    /// `ws://host:port` or `wss://host:port`, perhaps with a path before `/v1/worker`, or a path to
    /// one kind of worker, `/v1/worker/virtual` or `/v1/worker/real`, to a session,
    /// `/v1/sessions/{name}`, or to the pod's workers as members, `/v1/members`.
    pub url: Url,
    /// The kind of worker that is asked for, `virtual` or `real`; else the pod decides.
    pub mode: Option<String>,
    /// The token, if the pod wants one.
    pub token: Option<String>,
    /// A PEM file of certificate authorities to trust instead of the system's.
    pub ca: Option<PathBuf>,
    /// The application's mediasoup version.
    pub mediasoup: String,
    /// A file says where it is, and may say otherwise later.
    pub moves: bool,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// A setting is wrong.
    #[error("{0}")]
    Setting(String),
    /// The pod cannot be reached, or not for now.
    #[error("cannot reach {url}: {reason}")]
    Unreachable {
        /// Where.
        url: String,
        /// Why.
        reason: String,
    },
    /// No process listens there.
    #[error("cannot reach {url}: {reason}")]
    NobodyThere {
        /// Where.
        url: String,
        /// What the system says.
        reason: String,
    },
    /// The pod refuses.
    #[error("{url} refuses: {message} ({code})")]
    Refused {
        /// Where.
        url: String,
        /// The refusal's word for programs.
        code: String,
        /// The refusal's sentence for people.
        message: String,
    },
}

/// What ends the application's side of a connection, other than the worker's own end.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The connection ended early.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// It ended before its first frame.
    #[error("the connection broke in its first moment: {0}")]
    Broken(BoxError),
    /// The pod that had the channel is gone.
    #[error("the pod on this host is gone")]
    PodGone,
    /// The application's own side failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<ConnectError> for DialError {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Unreachable { .. } => Self::Retry(error.to_string()),
            ConnectError::NobodyThere { .. } => Self::NobodyThere(error.to_string()),
            // Many come back at once when a network does; a gateway may not reach the pod yet.
            ConnectError::Refused { ref code, .. }
                if ["tooManyConnections", "unreachable"].contains(&code.as_str()) =>
            {
                Self::Retry(error.to_string())
            }
            _ => Self::Refused(error.to_string()),
        }
    }
}

/// What the environment names as URL, or as URLs: `MAFALDA_URL`, or what the file of
/// `MAFALDA_URL_FILE` has now, else `ws://127.0.0.1:4400`.
///
/// # Errors
/// [`ConnectError::Setting`]: the file cannot be read.
pub fn url_from_env() -> Result<String, ConnectError> {
    let text = home::variable_or_file("MAFALDA_URL")?;
    Ok(text.unwrap_or_else(|| "ws://127.0.0.1:4400".to_owned()))
}

/// The kinds of worker that a client may ask for.
const MODES: [&str; 2] = ["virtual", "real"];

/// Where a pod gives workers, of the path that the user wrote.
fn worker_path(written: &str, mode: Option<&str>) -> String {
    const WORKER: &str = "/v1/worker";

    let written = written.trim_end_matches('/');
    // A session's workers are virtual.
    let parts: Vec<&str> = written.rsplitn(3, '/').collect();
    match parts[..] {
        ["members", "v1", _] => return written.to_owned(),
        ["worker", _, before] if before.ends_with("/v1/sessions") => return written.to_owned(),
        [_, "sessions", before] if before.ends_with("/v1") => return format!("{written}/worker"),
        _ => {}
    }
    let of_kind = MODES.map(|mode| format!("{WORKER}/{mode}"));
    let kind = of_kind.iter().find(|kind| written.ends_with(kind.as_str()));
    let (before, written_mode) = match kind {
        Some(kind) => (
            &written[..written.len() - kind.len()],
            kind.rsplit('/').next(),
        ),
        None => (written.strip_suffix(WORKER).unwrap_or(written), None),
    };
    match mode.or(written_mode) {
        Some(mode) => format!("{before}{WORKER}/{mode}"),
        None => format!("{before}{WORKER}"),
    }
}

impl Target {
    /// The pod at a URL, with nothing to show.
    ///
    /// # Errors
    /// [`ConnectError::Setting`]: it is no URL of a pod.
    pub fn new(url: &str, mediasoup: String) -> Result<Self, ConnectError> {
        let setting = |what: &str| {
            ConnectError::Setting(format!(
                "MAFALDA_URL is {url:?}: {what}; it must be ws://host:port or wss://host:port"
            ))
        };
        let url = Url::parse(url).map_err(|error| setting(&error.to_string()))?;
        if !matches!(url.scheme(), "ws" | "wss") {
            return Err(setting("its scheme is not ws or wss"));
        }
        if url.host().is_none() {
            return Err(setting("it names no host"));
        }
        Ok(Self {
            url,
            mode: None,
            token: None,
            ca: None,
            mediasoup,
            moves: false,
        })
    }

    /// The target that the environment names: `MAFALDA_URL` (`ws://127.0.0.1:4400` when unset),
    /// `MAFALDA_MODE`, `MAFALDA_TOKEN` and `MAFALDA_CA`. URL and token may be in files, as they are
    /// now, that `MAFALDA_URL_FILE` and `MAFALDA_TOKEN_FILE` name.
    ///
    /// # Errors
    /// [`ConnectError::Setting`]: one of them is wrong.
    pub fn from_env(mediasoup: String) -> Result<Self, ConnectError> {
        let target = Self::from_env_of(&url_from_env()?, mediasoup)?;
        Ok(Self {
            moves: home::moves(),
            ..target
        })
    }

    /// As [`Target::from_env`], with this URL.
    ///
    /// # Errors
    /// As that has them.
    pub fn from_env_of(url: &str, mediasoup: String) -> Result<Self, ConnectError> {
        let target = Self::new(url, mediasoup)?;
        let mode = home::variable("MAFALDA_MODE");
        if let Some(mode) = &mode
            && !MODES.contains(&mode.as_str())
        {
            return Err(ConnectError::Setting(format!(
                "MAFALDA_MODE is {mode:?}; it must be {}, or unset",
                MODES.join(" or ")
            )));
        }
        Ok(Self {
            mode,
            token: home::variable_or_file("MAFALDA_TOKEN")?,
            ca: home::variable("MAFALDA_CA").map(PathBuf::from),
            ..target
        })
    }

    fn request(&self, resumed: Option<&Resumed>) -> Result<Request, ConnectError> {
        let mut url = self.url.clone();
        url.set_path(&worker_path(url.path(), self.mode.as_deref()));
        let mut request = url
            .as_str()
            .into_client_request()
            .map_err(|error| ConnectError::Setting(format!("MAFALDA_URL: {error}")))?;
        let headers = [
            (header::MEDIASOUP, Some(self.mediasoup.clone())),
            (header::PROTOCOL, Some(crate::PROTOCOL.to_owned())),
            (
                header::CONNECTION,
                resumed.map(|resumed| resumed.connection.clone()),
            ),
            (header::POD, resumed.and_then(|resumed| resumed.pod.clone())),
            (
                "authorization",
                self.token.as_ref().map(|token| format!("Bearer {token}")),
            ),
        ];
        for (name, value) in headers {
            let Some(value) = value else { continue };
            let value = HeaderValue::from_str(&value).map_err(|_| {
                let setting = match name {
                    "authorization" => "MAFALDA_TOKEN",
                    _ => "MEDIASOUP_VERSION",
                };
                ConnectError::Setting(format!("{setting} has characters that no header may have"))
            })?;
            request.headers_mut().insert(name, value);
        }
        Ok(request)
    }

    fn connector(&self) -> Result<Connector, ConnectError> {
        match self.url.scheme() {
            "ws" => Ok(Connector::Plain),
            _ => Ok(Connector::Rustls(Arc::new(tls_config(self.ca.as_deref())?))),
        }
    }

    fn unreachable(&self, reason: impl ToString) -> ConnectError {
        ConnectError::Unreachable {
            url: self.url.to_string(),
            reason: reason.to_string(),
        }
    }

    /// Opens a socket. Also returns the pod that it leads to, when a gateway says so.
    async fn open(
        &self,
        resumed: Option<&Resumed>,
    ) -> Result<(Box<dyn Socket>, Option<String>), ConnectError> {
        let (request, connector) = (self.request(resumed)?, self.connector()?);
        // A host was checked for; the scheme's port is known.
        let host = self.url.host_str().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = self.url.port_or_known_default().unwrap_or(4400);
        let stream = TcpStream::connect((host, port)).await;
        let stream = stream.map_err(|error| match error.kind() {
            io::ErrorKind::ConnectionRefused => ConnectError::NobodyThere {
                url: self.url.to_string(),
                reason: error.to_string(),
            },
            _ => self.unreachable(error),
        })?;
        stream
            .set_nodelay(true)
            .map_err(|error| self.unreachable(error))?;
        // What may be under way is bounded by the window.
        let config = websocket_config(None);
        let opened =
            client_async_tls_with_config(request, stream, Some(config), Some(connector)).await;
        match opened {
            Ok((socket, response)) => {
                let pod = response.headers().get(header::POD);
                let pod = pod.and_then(|pod| Some(pod.to_str().ok()?.to_owned()));
                Ok((Box::new(adapt(socket)), pod))
            }
            Err(tungstenite::Error::Http(response)) => Err(self.refusal(&response)),
            Err(error) => Err(self.unreachable(explain(error))),
        }
    }

    fn refusal(&self, response: &tungstenite::http::Response<Option<Vec<u8>>>) -> ConnectError {
        let body = response.body().as_deref().unwrap_or_default();
        let status = response.status();
        match serde_json::from_slice::<Refusal>(body) {
            Ok(Refusal { error }) => ConnectError::Refused {
                url: self.url.to_string(),
                code: error.code,
                message: error.message,
            },
            // Something between us and the pod.
            Err(_) if status.is_server_error() => self.unreachable(status),
            Err(_) => ConnectError::Refused {
                url: self.url.to_string(),
                code: status.as_u16().to_string(),
                message: "no media pod answers there".into(),
            },
        }
    }

    async fn handshake(
        &self,
        socket: &mut Box<dyn Socket>,
        hello: &Hello,
    ) -> Result<Welcome, ConnectError> {
        let text = serde_json::to_string(hello)
            .map_err(|error| ConnectError::Setting(error.to_string()))?;
        socket
            .send(Packet::Text(text))
            .await
            .map_err(|error| self.unreachable(error))?;
        loop {
            return match socket.next().await {
                Some(Ok(Packet::Text(text))) => {
                    serde_json::from_str(&text).map_err(|error| ConnectError::Refused {
                        url: self.url.to_string(),
                        code: "protocol".into(),
                        message: format!("its welcome is not one of protocol 1: {error}"),
                    })
                }
                Some(Ok(Packet::Ping | Packet::Pong)) => continue,
                Some(Ok(Packet::Close { code, reason })) if code == CLOSE_FINAL => {
                    Err(ConnectError::Refused {
                        url: self.url.to_string(),
                        code: "handshake".into(),
                        message: reason,
                    })
                }
                // Something between us and the pod.
                Some(Ok(Packet::Close { code, reason })) => {
                    Err(self.unreachable(format!("the handshake broke: {code} {reason}")))
                }
                Some(Ok(Packet::Frame(_) | Packet::TooLarge(_))) | None => {
                    Err(self.unreachable("the handshake broke"))
                }
                Some(Err(error)) => Err(self.unreachable(error)),
            };
        }
    }

    /// Opens a new connection and asks for a worker.
    pub async fn connect(
        &self,
        start: Start,
    ) -> Result<(Box<dyn Socket>, Welcome, Reconnect), ConnectError> {
        let opened = async {
            let (mut socket, pod) = self.open(None).await?;
            let welcome = self.handshake(&mut socket, &Hello::Start(start)).await?;
            Ok((socket, welcome, pod))
        };
        let (socket, welcome, pod) = match timeout(CONNECT, opened).await {
            Ok(result) => result?,
            Err(_) => return Err(self.unreachable(format!("no answer in {} s", CONNECT.as_secs()))),
        };
        let reconnect = Reconnect {
            target: Arc::new(self.clone()),
            resumed: Resumed {
                connection: welcome.connection.clone(),
                pod,
            },
            key: welcome.key.clone(),
            pause: Duration::ZERO,
        };
        Ok((socket, welcome, reconnect))
    }
}

/// An error of TLS or of the WebSocket, with what it most likely means.
fn explain(error: tungstenite::Error) -> String {
    use tokio_rustls::rustls::{
        CertificateError::UnknownIssuer, Error::InvalidCertificate, Error::InvalidMessage,
    };

    let tls = match &error {
        tungstenite::Error::Io(error) => error.get_ref().and_then(|error| error.downcast_ref()),
        _ => None,
    };
    let hint = match (tls, &error) {
        (Some(InvalidCertificate(UnknownIssuer)), _) => {
            "MAFALDA_CA names a file of authorities to trust"
        }
        (Some(InvalidMessage(_)), _) => "no TLS is spoken there; without it MAFALDA_URL is ws://…",
        (None, tungstenite::Error::Protocol(_)) => {
            "no media pod answers there, or one with TLS, for which MAFALDA_URL is wss://…"
        }
        _ => return error.to_string(),
    };
    format!("{error} ({hint})")
}

/// What a gateway must know of a connection to find its pod.
#[derive(Clone)]
struct Resumed {
    connection: String,
    /// The pod's name, if there is a gateway.
    pod: Option<String>,
}

/// Opens a connection's next socket when the last one broke.
pub struct Reconnect {
    target: Arc<Target>,
    resumed: Resumed,
    key: String,
    /// How long to wait before the next try.
    pause: Duration,
}

impl Dial for Reconnect {
    type Candidate = Box<dyn Socket>;

    fn dial(
        &mut self,
        connected: bool,
    ) -> Option<BoxFuture<'static, Result<Self::Candidate, DialError>>> {
        if connected {
            return None;
        }
        let (target, resumed) = (self.target.clone(), self.resumed.clone());
        let pause = self.pause;
        self.pause = (pause * 2).clamp(BACKOFF.0, BACKOFF.1);
        let dial = async move {
            sleep(pause).await;
            if home::is_elsewhere(&target) {
                return Err(DialError::Refused("the session is in another pod".into()));
            }
            match timeout(CONNECT / 2, target.open(Some(&resumed))).await {
                Ok(result) => Ok(result?.0),
                Err(_) => Err(target.unreachable("no answer").into()),
            }
        };
        Some(dial.boxed())
    }

    fn attach(
        &mut self,
        mut socket: Self::Candidate,
        received: u64,
    ) -> BoxFuture<'_, Result<Attachment, DialError>> {
        async move {
            let hello = Hello::Resume(Resume {
                key: self.key.clone(),
                received,
            });
            let welcome = self.target.handshake(&mut socket, &hello).await?;
            Ok(Attachment {
                socket,
                received: welcome.received,
            })
        }
        .boxed()
    }

    fn attached(&mut self) {
        self.pause = Duration::ZERO;
    }

    fn detached(&mut self, _reason: &str) {
        self.pause = BACKOFF.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio_tungstenite::WebSocketStream;
    use tokio_tungstenite::tungstenite::protocol::Role;

    fn target() -> Target {
        Target {
            url: Url::parse("ws://pod:4400").unwrap(),
            mode: None,
            token: None,
            ca: None,
            mediasoup: crate::MEDIASOUP_NPM.to_owned(),
            moves: false,
        }
    }

    fn answer(status: u16, body: &str) -> DialError {
        let response = tungstenite::http::Response::builder()
            .status(status)
            .body(Some(body.as_bytes().to_vec()))
            .unwrap();
        target().refusal(&response).into()
    }

    #[test]
    fn the_kind_of_worker_is_the_last_part_of_the_path() {
        for (written, mode, path) in [
            ("/", None, "/v1/worker"),
            ("/mafalda/", None, "/mafalda/v1/worker"),
            ("/", Some("real"), "/v1/worker/real"),
            ("/v1/worker", None, "/v1/worker"),
            ("/v1/worker/virtual", None, "/v1/worker/virtual"),
            ("/a/v1/worker/real/", None, "/a/v1/worker/real"),
            ("/a/v1/worker/real", Some("virtual"), "/a/v1/worker/virtual"),
            ("/v1/sessions/call", None, "/v1/sessions/call/worker"),
            (
                "/a/v1/sessions/call/worker",
                None,
                "/a/v1/sessions/call/worker",
            ),
            ("/v1/members", Some("virtual"), "/v1/members"),
            ("/v1/sessions/worker", None, "/v1/sessions/worker/worker"),
        ] {
            assert_eq!(worker_path(written, mode), path, "{written} {mode:?}");
        }
    }

    /// A connection must not end because others came back before it.
    #[test]
    fn a_pod_or_proxy_that_is_busy_is_tried_again() {
        let body = |code| format!(r#"{{"error":{{"code":"{code}","message":"why"}}}}"#);
        for code in ["tooManyConnections", "unreachable"] {
            assert!(matches!(answer(503, &body(code)), DialError::Retry(_)));
        }
        assert!(matches!(answer(502, "<html>"), DialError::Retry(_)));
        for (status, code) in [(404, "unknownConnection"), (401, "unauthorized")] {
            assert!(matches!(answer(status, &body(code)), DialError::Refused(_)));
        }
    }

    /// Protects calls from a gateway that does not know where they are.
    #[test]
    fn who_resumes_says_the_connection_and_its_pod() {
        let resumed = Resumed {
            connection: "c".to_owned(),
            pod: Some("n1".to_owned()),
        };
        let request = target().request(Some(&resumed)).unwrap();
        assert_eq!(request.headers()[header::CONNECTION], "c");
        assert_eq!(request.headers()[header::POD], "n1");
        let request = target().request(None).unwrap();
        assert!(!request.headers().contains_key(header::POD));
    }

    /// Only a pod refuses for good; a proxy that closes says nothing about the connection.
    #[tokio::test]
    async fn a_handshake_is_refused_by_the_final_code_alone() {
        for (code, for_good) in [(CLOSE_FINAL, true), (1001, false), (1012, false)] {
            let (near, far) = tokio::io::duplex(4096);
            let near = WebSocketStream::from_raw_socket(near, Role::Client, None).await;
            let far = WebSocketStream::from_raw_socket(far, Role::Server, None).await;
            let (mut near, mut far): (Box<dyn Socket>, _) = (Box::new(adapt(near)), adapt(far));
            let reason = "why".to_owned();
            far.send(Packet::Close { code, reason }).await.unwrap();
            let hello = Hello::Resume(Resume {
                key: String::new(),
                received: 0,
            });
            let error = target().handshake(&mut near, &hello).await.unwrap_err();
            let refused = matches!(DialError::from(error), DialError::Refused(_));
            assert_eq!(refused, for_good, "{code}");
        }
    }
}
