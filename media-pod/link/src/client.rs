//! The client's side: opens the connection and, when a socket breaks, the next one.

mod home;
mod reach;
mod reconnect;

pub use home::connect;
pub use reconnect::Reconnect;

use crate::drive::{DialError, LinkError};
use crate::hand_over::{Claim, Ends, give};
use crate::handshake::{
    FILE_ARGUMENTS, HandedOver, Hello, Refusal, RefusalBody, Start, Welcome, header,
};
use crate::socket::{BoxError, CLOSE_FINAL, Packet, Socket};
pub use crate::tls::config as tls_config;
use futures_util::{SinkExt, StreamExt};
use reach::{Failed, word};
use std::io;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::Connector;
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::http::HeaderValue;
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
    /// The environment says the token, and may name a file with another one later.
    is_of_env: bool,
    failed: Failed,
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
    /// The session of the worker that goes on is in another pod by now.
    #[error(
        "{url}: the session is in generation {generation} on {pod} now, and this worker was of \
         generation {was}: make another worker, it will be there"
    )]
    Moved {
        /// Where that was said.
        url: String,
        /// The generation that the worker was of.
        was: u64,
        /// The one that there is.
        generation: u64,
        /// The pod's name.
        pod: String,
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

/// The token that the environment names: `MAFALDA_TOKEN`, or what the file of `MAFALDA_TOKEN_FILE` has now.
///
/// # Errors
/// [`ConnectError::Setting`]: the file cannot be read.
pub fn token_from_env() -> Result<Option<String>, ConnectError> {
    home::variable_or_file("MAFALDA_TOKEN")
}

/// The URLs of a text, with commas or white space between.
pub fn words(text: &str) -> Vec<&str> {
    let words = text.split(|c: char| c == ',' || c.is_whitespace());
    words.filter(|word| !word.is_empty()).collect()
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
            is_of_env: false,
            failed: Failed::default(),
        })
    }

    /// The target that the environment names: `MAFALDA_URL` (`ws://127.0.0.1:4400` when unset),
    /// `MAFALDA_MODE`, `MAFALDA_TOKEN` and `MAFALDA_CA`. URL and token may be in files, as they are
    /// now, that `MAFALDA_URL_FILE` and `MAFALDA_TOKEN_FILE` name.
    ///
    /// # Errors
    /// [`ConnectError::Setting`]: one of them is wrong.
    pub fn from_env(mediasoup: String) -> Result<Self, ConnectError> {
        let text = url_from_env()?;
        let target = match words(&text)[..] {
            [] => return Err(ConnectError::Setting("MAFALDA_URL names no pod".to_owned())),
            [url] => Self::from_env_of(url, mediasoup)?,
            _ => {
                return Err(ConnectError::Setting(format!(
                    "MAFALDA_URL names several pods, {text:?}, and this worker can be on one: it must \
                     be ws://host:port or wss://host:port (the relay, mafalda-worker, spans several)"
                )));
            }
        };
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
            token: token_from_env()?,
            ca: home::variable("MAFALDA_CA").map(PathBuf::from),
            is_of_env: true,
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
                header::GENERATION,
                resumed.and_then(|resumed| Some(resumed.generation?.to_string())),
            ),
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

    /// Why there is no socket, of an answer that is none of a WebSocket. `resumed` is what was asked for.
    fn refusal(
        &self,
        response: &tungstenite::http::Response<Option<Vec<u8>>>,
        resumed: Option<&Resumed>,
    ) -> ConnectError {
        let body = response.body().as_deref().unwrap_or_default();
        let (status, headers) = (response.status(), response.headers());
        let was = resumed.and_then(|resumed| resumed.generation);
        match serde_json::from_slice::<Refusal>(body) {
            Ok(Refusal { error }) if error.code == "otherGeneration" => {
                match (was, word(headers, header::GENERATION)) {
                    (Some(was), Some(generation)) => ConnectError::Moved {
                        url: self.url.to_string(),
                        was,
                        generation,
                        pod: word(headers, header::POD).unwrap_or_else(|| "another pod".to_owned()),
                    },
                    _ => self.refused(error),
                }
            }
            Ok(Refusal { error }) => self.refused(error),
            // Something between us and the pod, which may be there again in a moment.
            Err(_) if status.is_server_error() || resumed.is_some() => self.unreachable(status),
            Err(_) => ConnectError::Refused {
                url: self.url.to_string(),
                code: status.as_u16().to_string(),
                message: "no media pod answers there".into(),
            },
        }
    }

    fn refused(&self, error: RefusalBody) -> ConnectError {
        ConnectError::Refused {
            url: self.url.to_string(),
            code: error.code,
            message: error.message,
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
            let mut opened = self.open(None).await?;
            // A pod elsewhere has no socket on this host.
            let hand_over = start.hand_over && opened.address.is_loopback();
            let hello = Hello::Start(Start { hand_over, ..start });
            let welcome = self.handshake(&mut opened.socket, &hello).await?;
            Ok((opened, welcome))
        };
        let (opened, welcome) = match timeout(CONNECT, opened).await {
            Ok(result) => result?,
            Err(_) => return Err(self.unreachable(format!("no answer in {} s", CONNECT.as_secs()))),
        };
        let reconnect = Reconnect {
            target: Arc::new(self.clone()),
            resumed: Resumed {
                connection: welcome.connection.clone(),
                pod: opened.pod,
                generation: opened.generation,
                address: opened.address,
            },
            key: welcome.key.clone(),
            pause: Duration::ZERO,
        };
        Ok((opened.socket, welcome, reconnect))
    }

    /// Whether workers are lent at `/v1/members` there, as pods do and gateways do not: their answer is
    /// 404, and 403 is for who may have a session's workers alone.
    ///
    /// # Errors
    /// Nobody answers, or a setting is wrong.
    pub async fn lends(&self) -> Result<bool, ConnectError> {
        let mut target = self.clone();
        target.url.set_path("/v1/members");
        match timeout(CONNECT, target.open(None)).await {
            Ok(Ok(mut opened)) => {
                let close = opened.socket.send(Packet::close_final("only a question"));
                let _ = timeout(CONNECT, close).await;
                Ok(true)
            }
            Ok(Err(ConnectError::Refused { code, .. })) => {
                Ok(!["notFound", "forbidden", "404", "403"].contains(&code.as_str()))
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Err(self.unreachable("no answer")),
        }
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

/// What must be known of a connection to find its pod again.
#[derive(Clone)]
struct Resumed {
    connection: String,
    /// The pod's name, if there is a gateway.
    pod: Option<String>,
    /// The generation of its session, if it is one's.
    generation: Option<u64>,
    /// Where the connection was made.
    address: IpAddr,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handshake::Resume;
    use crate::socket::{Came, adapt};
    use tokio_tungstenite::WebSocketStream;
    use tokio_tungstenite::tungstenite::protocol::Role;

    fn target() -> Target {
        Target::new("ws://pod:4400", crate::MEDIASOUP_NPM.to_owned()).unwrap()
    }

    fn resumed(pod: Option<&str>) -> Resumed {
        Resumed {
            connection: "c".to_owned(),
            pod: pod.map(str::to_owned),
            generation: Some(3),
            address: [10, 0, 0, 1].into(),
        }
    }

    fn response(status: u16, body: &str) -> tungstenite::http::Response<Option<Vec<u8>>> {
        tungstenite::http::Response::builder()
            .status(status)
            .header(header::GENERATION, "4")
            .header(header::POD, "n2")
            .body(Some(body.as_bytes().to_vec()))
            .unwrap()
    }

    fn answer(status: u16, body: &str) -> DialError {
        target().refusal(&response(status, body), None).into()
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

    /// Protects calls from an ingress that is being reloaded: what is no word of a pod ends none.
    #[test]
    fn who_resumes_believes_pods_and_gateways_alone() {
        let resumed = resumed(Some("n1"));
        for status in [403, 404, 408, 429, 502] {
            let error = target().refusal(&response(status, "<html>"), Some(&resumed));
            assert!(
                matches!(error, ConnectError::Unreachable { .. }),
                "{status}"
            );
        }
        assert!(matches!(answer(404, "<html>"), DialError::Refused(_)));
    }

    #[test]
    fn who_resumes_is_told_where_the_session_is_now() {
        let body = r#"{"error":{"code":"otherGeneration","message":"why"}}"#;
        let error = target().refusal(&response(409, body), Some(&resumed(Some("n1"))));
        let DialError::Refused(said) = error.into() else {
            panic!("it is over");
        };
        for part in ["generation 4", "n2", "generation 3"] {
            assert!(said.contains(part), "{said}");
        }
    }

    #[test]
    fn urls_stand_between_commas_or_spaces() {
        for (text, expected) in [
            ("", &[][..]),
            (" , \n", &[]),
            ("ws://a:1", &["ws://a:1"]),
            ("ws://a:1,", &["ws://a:1"]),
            (
                "ws://a:1, ws://b:1\nws://c:1\n",
                &["ws://a:1", "ws://b:1", "ws://c:1"],
            ),
        ] {
            assert_eq!(words(text), expected, "{text:?}");
        }
    }

    /// Protects calls from a gateway that does not know where they are.
    #[test]
    fn who_resumes_says_the_connection_and_its_pod() {
        let request = target().request(Some(&resumed(Some("n1")))).unwrap();
        assert_eq!(request.headers()[header::CONNECTION], "c");
        assert_eq!(request.headers()[header::POD], "n1");
        assert_eq!(request.headers()[header::GENERATION], "3");
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
            let mut near: Box<dyn Socket> = Box::new(adapt(near, Came::default()));
            let mut far = adapt(far, Came::default());
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
