//! Passes a request on to a node. After the node's answer to a WebSocket request the gateway copies bytes
//! both ways until one side is done.

use crate::counted::Counted;
use crate::dial::{MAX_ANSWER, Unreachable, read, read_refusal};
use crate::gateway::{Gateway, LEARN};
use crate::http::{Body, full};
use crate::nodes::{Address, State};
use crate::placing;
use crate::refusal::refusal;
use crate::sessions::Home;
use http_body_util::{BodyExt, Either, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::upgrade::OnUpgrade;
use hyper::{HeaderMap, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use mafalda_link::{RefusalBody, header as mafalda};
use mafalda_plan::{NoPod, PodName};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::copy_bidirectional;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout, timeout_at};

/// Whether another node may have another answer than this refusal. `verified`: the gateway found the token
/// good, so that a node that does not is yet to read a new key.
fn is_for_the_next(status: StatusCode, code: &str, verified: bool) -> bool {
    match status {
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
            ["draining", "tooManyWorkers", "tooManyConnections"].contains(&code)
        }
        StatusCode::UNAUTHORIZED => verified && code == "unauthorized",
        _ => false,
    }
}

/// How long a client waits for a session whose home is gone to be placed anew: a relay does not wait
/// longer than 10 s for its answer.
const ELSEWHERE: Duration = Duration::from_secs(6);

/// How long a client may take for a request's body.
const BODY: Duration = Duration::from_secs(10);

/// A client's request, ready to be sent as often as needed.
pub struct Passage {
    gateway: Gateway,
    parts: Parts,
    body: Bytes,
    /// There when the client asks for a WebSocket.
    on_upgrade: Option<OnUpgrade>,
    /// The client's share of the limit of connections.
    permit: Arc<OwnedSemaphorePermit>,
}

/// The load of a worker counts as long as this lives and until it shows.
struct Placed {
    gateway: Gateway,
    node: PodName,
    number: u64,
}

impl Placed {
    fn new(gateway: &Gateway, node: &PodName) -> Self {
        let now = gateway.now();
        Self {
            number: gateway.state().nodes.place(node, now),
            gateway: gateway.clone(),
            node: node.clone(),
        }
    }
}

impl Drop for Placed {
    fn drop(&mut self) {
        self.gateway.state().nodes.remove(&self.node, self.number);
    }
}

/// What a node answered.
enum Answer {
    /// It takes the connection, or has an answer that is the client's.
    Final(Response<Incoming>),
    /// It refuses, for a reason that another node may not have; the whole answer.
    Next(Response<Bytes>),
}

impl Passage {
    /// Takes a client's request.
    ///
    /// # Errors
    /// Its body is longer than anybody needs, or slow.
    pub async fn new(
        gateway: Gateway,
        mut request: Request<Incoming>,
        permit: Arc<OwnedSemaphorePermit>,
    ) -> Result<Self, RefusalBody> {
        let on_upgrade =
            wants_web_socket(request.headers()).then(|| hyper::upgrade::on(&mut request));
        let (parts, body) = request.into_parts();
        let refused = |code, what: &dyn fmt::Display| refusal(code, format!("the body: {what}"));
        let body = match timeout(BODY, Limited::new(body, MAX_ANSWER).collect()).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                let most = format!("at most {MAX_ANSWER} bytes are possible");
                return Err(refused("tooLarge", &most));
            }
            Ok(Err(error)) => return Err(refused("badRequest", &error)),
            Err(_) => {
                let late = format!("not there after {} s", BODY.as_secs());
                return Err(refused("timeout", &late));
            }
        };
        Ok(Self {
            gateway,
            parts,
            body,
            on_upgrade,
            permit,
        })
    }

    /// The body.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Puts another body in its place.
    pub fn set_body(&mut self, body: Bytes) {
        self.body = body;
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.parts.headers.get(name)?.to_str().ok()
    }

    /// The release of the application's mediasoup.
    fn mediasoup(&self) -> Option<&str> {
        self.header(mafalda::MEDIASOUP)
    }

    /// The generation of the session that the client means.
    pub fn generation(&self) -> Option<u64> {
        self.header(mafalda::GENERATION)?.parse().ok()
    }

    /// The generation that a client means who resumes on another node than its session's home, if that is an
    /// older one than the home's: what it had is over, whether its node is gone or yet to learn of it.
    pub fn left_behind(&self, home: &Home) -> Option<u64> {
        left_behind(self.generation(), self.header(mafalda::POD), home)
    }

    /// Gives it to the best node that takes it.
    pub async fn reach_any(self) -> Result<Response<Body>, RefusalBody> {
        let (node, answer, placed) = self.try_all().await?;
        let response = match answer {
            Answer::Final(response) => response,
            Answer::Next(response) => return Ok(response.map(full)),
        };
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            self.gateway.metrics().count_placement("worker");
        }
        Ok(self.finish(&node, response, Some(placed)))
    }

    /// Gives a wish for a session to the best node that takes it. Also returns which that is.
    pub async fn reach_any_session(self) -> Result<(PodName, Response<Body>), RefusalBody> {
        let (node, answer, _) = self.try_all().await?;
        let response = match answer {
            Answer::Final(response) => self.finish(&node, response, None),
            Answer::Next(response) => response.map(full),
        };
        Ok((node, response))
    }

    /// Tries nodes, the best first, until one does not refuse for want of room; else the last refusal.
    async fn try_all(&self) -> Result<(PodName, Answer, Placed), RefusalBody> {
        let order = self.order().await.map_err(|none| self.no_node(none))?;
        let mut refused = None;
        for node in order {
            let placed = Placed::new(&self.gateway, &node);
            match self.try_node(&node).await {
                Ok(answer @ Answer::Final(_)) => return Ok((node, answer, placed)),
                Ok(answer @ Answer::Next(_)) => refused = Some((node, answer, placed)),
                Err(error) => tracing::info!(%node, %error, "not reached, trying the next"),
            }
            self.gateway.metrics().next_tries.inc();
        }
        refused.ok_or_else(|| refusal("noNode", "no node of this cluster can be reached"))
    }

    /// The nodes that can take it, the best first. A gateway that has just begun waits for one.
    async fn order(&self) -> Result<Vec<PodName>, NoPod> {
        let mut news = self.gateway.news();
        loop {
            news.mark_unchanged();
            let order = {
                let (state, now) = (self.gateway.state(), self.gateway.now());
                let policy = &self.gateway.config().policy;
                state.nodes.rank(self.mediasoup(), policy, now)
            };
            match order {
                Err(NoPod::NoneReady) if self.gateway.is_new() => {
                    let _ = timeout(LEARN, news.changed()).await;
                }
                order => return order,
            }
        }
    }

    /// Gives it to the node that a session is at home on.
    pub async fn reach_home(self, node: &PodName) -> Result<Response<Body>, RefusalBody> {
        match self.try_node(node).await {
            Ok(Answer::Final(response)) => Ok(self.finish(node, response, None)),
            Ok(Answer::Next(response)) => Ok(response.map(full)),
            Err(error) => Err(unreachable(node, &error)),
        }
    }

    /// Gives it to the node that a session is at home on. If that is gone, it waits for a moment until
    /// Kubernetes' operator has placed the session anew. Where there is none, the gateway does so itself
    /// for an application, which is who `places` it.
    pub async fn reach_session(
        self,
        session: &str,
        mut home: Home,
        places: bool,
    ) -> Result<Response<Body>, RefusalBody> {
        let kubernetes = self.gateway.config().kubernetes;
        // Who names a generation wants no other.
        let moves = (kubernetes || places) && self.generation().is_none();
        let until = Instant::now() + ELSEWHERE;
        loop {
            let error = match moves && !kubernetes && self.is_silent(&home.pod) {
                true => Unreachable::Other("it is silent".to_owned()),
                false => match self.try_node(&home.pod).await {
                    Ok(Answer::Final(response)) => {
                        return Ok(self.finish(&home.pod, response, None));
                    }
                    Ok(Answer::Next(response)) => return Ok(response.map(full)),
                    Err(error) => error,
                },
            };
            if !moves || Instant::now() >= until {
                return Err(unreachable(&home.pod, &error));
            }
            let other = match kubernetes {
                true => timeout_at(until, self.home_other_than(session, &home)).await,
                false => Ok(
                    placing::place_anew(&self.gateway, session, &home, self.mediasoup()).await?,
                ),
            };
            home = match other {
                Ok(Some(other)) => other,
                Ok(None) | Err(_) => return Err(unreachable(&home.pod, &error)),
            };
        }
    }

    fn is_silent(&self, node: &PodName) -> bool {
        let (state, now) = (self.gateway.state(), self.gateway.now());
        let node = state.nodes.get(node);
        node.is_some_and(|node| node.state(now) == State::Silent)
    }

    /// Resolves when a session has another home.
    async fn home_other_than(&self, session: &str, home: &Home) -> Option<Home> {
        let mut news = self.gateway.news();
        loop {
            news.mark_unchanged();
            let now = self.gateway.state().home(session);
            if let Some(now) = now.filter(|now| now != home) {
                return Some(now);
            }
            news.changed().await.ok()?;
        }
    }

    /// Gives it to the node that has the connection which is resumed: the one that the client was told of,
    /// else whichever knows it. `home` is where its session is at home, if it has one.
    pub async fn reach_its_pod(self, home: Option<Home>) -> Result<Response<Body>, RefusalBody> {
        let told = self.header(mafalda::POD).map(PodName::from);
        if let Some(node) = told
            && self.gateway.state().nodes.address(&node).is_some()
        {
            let response = match self.try_node(&node).await {
                Ok(Answer::Final(response)) => self.resumed(&node, response),
                Ok(Answer::Next(response)) => response.map(full),
                Err(error) => {
                    return Err(match self.is_lost(&node, home.as_ref(), &error) {
                        true => refusal(
                            "unknownConnection",
                            format!("node {node} is gone, and what it had is lost"),
                        ),
                        false => unreachable(&node, &error),
                    });
                }
            };
            return Ok(response);
        }
        let nodes: Vec<(PodName, bool)> = {
            let (state, now) = (self.gateway.state(), self.gateway.now());
            if !state.nodes.is_listed() {
                return Err(refusal(
                    "unreachable",
                    "the gateway is yet to learn of nodes",
                ));
            }
            let nodes = state.nodes.all();
            nodes
                .map(|node| (node.listed.name.clone(), node.state(now) != State::Silent))
                .collect()
        };
        let mut silent = None;
        for (node, answers) in nodes {
            if !answers {
                silent = Some(node);
                continue;
            }
            match self.try_node(&node).await {
                Ok(Answer::Final(response)) if response.status() == StatusCode::NOT_FOUND => {}
                Ok(Answer::Final(response)) => return Ok(self.resumed(&node, response)),
                Ok(Answer::Next(_)) | Err(_) => silent = Some(node),
            }
        }
        Err(match silent {
            Some(node) => refusal(
                "unreachable",
                format!("no node that answers has this connection, and {node} does not answer"),
            ),
            None => refusal(
                "unknownConnection",
                "no node has such a connection: its time is over, or its pod is gone",
            ),
        })
    }

    /// Whether who places sessions and pods has given up a node that does not answer, or the session
    /// that was there. A list that somebody writes does not say that; but what a session had where nobody
    /// listens any more has ended, and it can be had elsewhere.
    fn is_lost(&self, node: &PodName, home: Option<&Home>, error: &Unreachable) -> bool {
        let elsewhere = home.is_some_and(|home| home.pod != *node);
        match self.gateway.config().kubernetes {
            true => elsewhere || self.gateway.state().nodes.is_gone(node),
            false => elsewhere || home.is_some() && matches!(error, Unreachable::Refused),
        }
    }

    fn resumed(self, node: &PodName, response: Response<Incoming>) -> Response<Body> {
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            self.gateway.metrics().resumes.inc();
        }
        self.finish(node, response, None)
    }

    /// Why there is no node, in a pod's words.
    fn no_node(&self, none: NoPod) -> RefusalBody {
        match none {
            NoPod::OtherVersion => {
                let state = self.gateway.state();
                let mut served: Vec<String> = state
                    .nodes
                    .all()
                    .filter_map(|node| node.report.as_ref())
                    .map(|report| {
                        let versions = &report.mediasoup;
                        format!("npm {} and crate {}", versions.npm, versions.rust)
                    })
                    .collect();
                served.sort();
                served.dedup();
                refusal(
                    "versionMismatch",
                    format!(
                        "the application has mediasoup {}, this cluster serves {}: install that \
                         version, or add a node built for yours",
                        self.mediasoup().unwrap_or("unknown"),
                        served.join(", ")
                    ),
                )
            }
            _ => refusal(
                "noNode",
                "no node takes anything new: none is there, or they start, drain or do not \
                 answer; /v1/status of the gateway says which",
            ),
        }
    }

    /// Sends it to a node and reads what that answers, as far as it must be known.
    async fn try_node(&self, node: &PodName) -> Result<Answer, Unreachable> {
        let address = self.gateway.state().nodes.address(node);
        let address = address.ok_or_else(|| Unreachable::Other("it is not listed".to_owned()))?;
        let sent = self.send(&address).await;
        if let Err(Unreachable::Refused) = sent {
            let now = self.gateway.now();
            self.gateway.state().nodes.refuses(node, now);
            self.gateway.tell();
        }
        let response = sent?;
        let status = response.status();
        let verified = self.gateway.config().verifier.is_some();
        let is_final = match status {
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => false,
            StatusCode::UNAUTHORIZED => !verified,
            _ => true,
        };
        if is_final {
            return Ok(Answer::Final(response));
        }
        let (mut parts, body) = response.into_parts();
        let body = read(body).await?;
        let code = read_refusal(status, &body).code;
        if !is_for_the_next(status, &code, verified) {
            return Err(Unreachable::Other(format!("it answers {status} {code}")));
        }
        clean(&mut parts.headers);
        Ok(Answer::Next(Response::from_parts(parts, body)))
    }

    async fn send(&self, address: &Address) -> Result<Response<Incoming>, Unreachable> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.parts.method.clone();
        let path = self.parts.uri.path_and_query();
        let uri = path.and_then(|path| path.as_str().parse::<Uri>().ok());
        *request.uri_mut() = uri.unwrap_or_else(|| Uri::from_static("/"));
        let mut headers = self.parts.headers.clone();
        clean(&mut headers);
        // As long as the body that is sent.
        headers.remove(header::CONTENT_LENGTH);
        if self.on_upgrade.is_some() {
            upgrade(&mut headers);
        }
        *request.headers_mut() = headers;
        self.gateway.dialer().send(address, request).await
    }

    /// The client's answer; a connection that the node takes is carried from here on.
    fn finish(
        self,
        node: &PodName,
        mut response: Response<Incoming>,
        placed: Option<Placed>,
    ) -> Response<Body> {
        let taken = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        let ends = taken.then(|| hyper::upgrade::on(&mut response));
        let (mut parts, body) = response.into_parts();
        clean(&mut parts.headers);
        if let Ok(name) = HeaderValue::from_str(node.as_str()) {
            parts.headers.insert(mafalda::POD, name);
        }
        let (Some(far), Some(near)) = (ends, self.on_upgrade) else {
            return Response::from_parts(parts, Either::Right(body));
        };
        upgrade(&mut parts.headers);
        tokio::spawn(carry(self.gateway, near, far, (self.permit, placed)));
        Response::from_parts(parts, full(Bytes::new()))
    }
}

/// Copies both ways until one side is done. `held` is let go then.
async fn carry<H>(gateway: Gateway, near: OnUpgrade, far: OnUpgrade, held: H) {
    let (near, far) = match tokio::try_join!(near, far) {
        Ok(both) => both,
        Err(error) => {
            tracing::debug!(%error, "an upgrade broke");
            return;
        }
    };
    let metrics = gateway.metrics();
    let (to_node, to_application) = (metrics.to_node.clone(), metrics.to_application.clone());
    let mut near = Counted::new(TokioIo::new(near), to_node, to_application);
    let mut far = TokioIo::new(far);
    metrics.connections.inc();
    // Who is gone without a word is found out by TCP (`tune`).
    if let Err(error) = copy_bidirectional(&mut near, &mut far).await {
        tracing::debug!(%error, "a connection broke");
    }
    metrics.connections.dec();
    drop(held);
}

/// See [`Passage::left_behind`]: `asked` is the client's generation and `node` the one it was told of.
fn left_behind(asked: Option<u64>, node: Option<&str>, home: &Home) -> Option<u64> {
    let was = asked.filter(|asked| *asked < home.generation.0)?;
    // A generation may go up where the session is.
    node.is_some_and(|node| node != home.pod.as_str())
        .then_some(was)
}

/// A node that should answer and does not. A client that resumes tries again.
pub fn unreachable(node: &PodName, error: &Unreachable) -> RefusalBody {
    tracing::info!(%node, %error, "not reached");
    refusal("unreachable", format!("node {node} does not answer"))
}

/// Whether this is a request for a WebSocket (RFC 6455, section 4.2.1).
pub fn wants_web_socket(headers: &HeaderMap) -> bool {
    let has = |name, word: &str| {
        let values = headers.get_all(name).iter();
        let mut words = values.filter_map(|value| value.to_str().ok());
        words.any(|words| {
            words
                .split(',')
                .any(|found| found.trim().eq_ignore_ascii_case(word))
        })
    };
    has(header::CONNECTION, "upgrade") && has(header::UPGRADE, "websocket")
}

/// Takes headers away that are between two neighbours alone (RFC 9110, section 7.6.1).
fn clean(headers: &mut HeaderMap) {
    const HOPS: [HeaderName; 7] = [
        header::CONNECTION,
        header::UPGRADE,
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
    ];
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|words| words.split(','))
        .filter_map(|word| word.trim().parse().ok())
        .collect();
    for name in HOPS.iter().chain(&named) {
        headers.remove(name);
    }
}

/// Asks for a WebSocket, or grants one.
fn upgrade(headers: &mut HeaderMap) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(all: &[(&'static str, &'static str)]) -> HeaderMap {
        let header = |(name, value): &(&'static str, &'static str)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        };
        all.iter().map(header).collect()
    }

    /// Protects calls whose session was only raised, and tells those whose session is elsewhere.
    #[test]
    fn who_is_left_behind_is_of_an_older_generation_on_another_node() {
        let home = Home {
            pod: "n2".into(),
            generation: mafalda_plan::Generation(4),
        };
        for (asked, node, expected) in [
            (Some(3), Some("n1"), Some(3)),
            (Some(3), Some("n2"), None),
            (Some(4), Some("n1"), None),
            // This gateway has yet to learn of it.
            (Some(5), Some("n1"), None),
            (Some(3), None, None),
            (None, Some("n1"), None),
        ] {
            assert_eq!(
                left_behind(asked, node, &home),
                expected,
                "{asked:?} {node:?}"
            );
        }
    }

    #[test]
    fn the_next_node_is_asked_where_it_may_say_something_else() {
        let (busy, many) = (
            StatusCode::SERVICE_UNAVAILABLE,
            StatusCode::TOO_MANY_REQUESTS,
        );
        let unknown = StatusCode::UNAUTHORIZED;
        for (status, code, verified, wanted) in [
            (busy, "draining", false, true),
            (busy, "tooManyConnections", true, true),
            (many, "tooManyWorkers", false, true),
            (busy, "unknown", true, false),
            // A node that is yet to read the key that the gateway has.
            (unknown, "unauthorized", true, true),
            (unknown, "unauthorized", false, false),
            (StatusCode::FORBIDDEN, "forbidden", true, false),
        ] {
            let is = is_for_the_next(status, code, verified);
            assert_eq!(is, wanted, "{status} {code}");
        }
    }

    #[test]
    fn headers_between_neighbours_stay_there() {
        let mut all = headers(&[
            ("connection", "Upgrade, x-secret"),
            ("upgrade", "websocket"),
            ("keep-alive", "timeout=5"),
            ("x-secret", "1"),
            ("sec-websocket-key", "k"),
            ("authorization", "Bearer t"),
            ("mafalda-mediasoup", "3.27.1"),
        ]);
        assert!(wants_web_socket(&all));
        clean(&mut all);
        let mut left: Vec<&str> = all.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(
            left,
            ["authorization", "mafalda-mediasoup", "sec-websocket-key"]
        );
        assert!(!wants_web_socket(&all));
        upgrade(&mut all);
        assert!(wants_web_socket(&all));
    }
}
