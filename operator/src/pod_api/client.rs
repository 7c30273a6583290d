//! Requests to one media pod.

use super::access::{Access, server_name};
use super::report::{Phase, Report};
use crate::names::API_PORT;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode};
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Http;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;
use serde_json::{Value, json};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// What a pod that is well takes at most to answer.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Connections to pods that nothing is said on are closed.
const IDLE: Duration = Duration::from_secs(20);
/// The longest answer, in bytes.
pub(super) const MAX_ANSWER: usize = 8 << 20;

/// The word of a pod that does not know the key of the operator's token: it will, as soon as the
/// kubelet has brought it.
pub const UNAUTHORIZED: &str = "unauthorized";

/// Why a pod did not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It did not answer.
    #[error("the pod does not answer: {0}")]
    Unreachable(String),
    /// It said no.
    #[error("the pod refuses ({code}): {message}")]
    Refused {
        /// The word in its answer.
        code: String,
        /// The sentence in its answer.
        message: String,
    },
}

/// A pod, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    pub name: String,
    pub ip: IpAddr,
    /// Empty where that is not known.
    pub region: String,
    /// Empty where that is not known.
    pub zone: String,
}

/// Talks to the pods of one cluster.
#[derive(Clone)]
pub struct Client {
    http: Http<HttpsConnector<HttpConnector>, Full<Bytes>>,
    access: Arc<Access>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Refusal {
    error: RefusalBody,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RefusalBody {
    code: String,
    message: String,
}

impl Client {
    /// With what the cluster's Secrets say.
    pub fn new(access: Arc<Access>) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(TIMEOUT));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config((*access.tls()).clone())
            .https_only()
            .with_server_name_resolver(FixedServerNameResolver::new(server_name()))
            .enable_http1()
            .wrap_connector(tcp);
        let http = Http::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(2)
            .build(connector);
        Self { http, access }
    }

    /// What it is reached with.
    pub fn access(&self) -> &Arc<Access> {
        &self.access
    }

    /// How the pod is.
    ///
    /// # Errors
    /// When it does not answer as it should.
    pub async fn status(&self, pod: IpAddr) -> Result<Report, Error> {
        let answer = self.ask(Method::GET, pod, "/v1/status", None).await?;
        serde_json::from_slice(&answer).map_err(|error| Error::Unreachable(error.to_string()))
    }

    /// Starts a session at its home, or raises its generation, for so many participants at most; `lenders`
    /// lend it workers.
    ///
    /// # Errors
    /// When the pod drains or knows a later generation, and as [`Client::status`].
    pub async fn put_session(
        &self,
        home: &Peer,
        name: &str,
        generation: u64,
        max_participants: u32,
        lenders: &[Peer],
    ) -> Result<(), Error> {
        let peer = |peer: &Peer| {
            let url = format!("wss://{}", SocketAddr::new(peer.ip, API_PORT));
            json!({"name": peer.name, "url": url, "region": peer.region, "zone": peer.zone})
        };
        let pods: Vec<Value> = lenders.iter().map(peer).collect();
        let mut body =
            json!({"generation": generation, "maxParticipants": max_participants, "pods": pods});
        for (field, place) in [("region", &home.region), ("zone", &home.zone)] {
            if !place.is_empty() {
                body[field] = json!(place);
            }
        }
        if !lenders.is_empty() {
            let token = self.access.lending();
            body["token"] = token
                .map_err(|error| Error::Unreachable(error.to_string()))?
                .into();
        }
        let path = format!("/v1/sessions/{name}");
        self.ask(Method::PUT, home.ip, &path, Some(body))
            .await
            .map(drop)
    }

    /// Ends what the pod runs under this name of this generation or an older one.
    ///
    /// # Errors
    /// When the pod has a later generation, and as [`Client::status`].
    pub async fn delete_session(
        &self,
        pod: IpAddr,
        name: &str,
        generation: u64,
    ) -> Result<(), Error> {
        let path = format!("/v1/sessions/{name}?generation={generation}");
        match self.ask(Method::DELETE, pod, &path, None).await {
            Err(Error::Refused { code, .. }) if code == "unknownSession" => Ok(()),
            other => other.map(drop),
        }
    }

    /// Lets the pod drain, or takes that back.
    ///
    /// # Errors
    /// As [`Client::status`].
    pub async fn drain(&self, pod: IpAddr, phase: Phase, deadline: Duration) -> Result<(), Error> {
        let body =
            |phase: &str| Some(json!({"phase": phase, "deadlineSeconds": deadline.as_secs()}));
        let (method, body) = match phase {
            Phase::Active => (Method::DELETE, None),
            Phase::Cordoned => (Method::PUT, body("cordoned")),
            Phase::Draining => (Method::PUT, body("draining")),
        };
        self.ask(method, pod, "/v1/drain", body).await.map(drop)
    }

    async fn ask(
        &self,
        method: Method,
        pod: IpAddr,
        path: &str,
        body: Option<Value>,
    ) -> Result<Bytes, Error> {
        let lost = |error: &dyn std::error::Error| Error::Unreachable(whole_story(error));
        let bearer = self.access.bearer().map_err(|error| lost(&error))?;
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(format!("https://{}{path}", SocketAddr::new(pod, API_PORT)))
            .header("authorization", bearer)
            .header("content-type", "application/json")
            .body(Full::from(body))
            .map_err(|error| lost(&error))?;
        let exchange = async {
            let response = self
                .http
                .request(request)
                .await
                .map_err(|error| lost(&error))?;
            let status = response.status();
            let body = http_body_util::Limited::new(response.into_body(), MAX_ANSWER);
            let body = body.collect().await.map_err(|error| lost(&*error))?;
            Ok((status, body.to_bytes()))
        };
        let (status, answer) = tokio::time::timeout(TIMEOUT, exchange)
            .await
            .map_err(|_| Error::Unreachable(format!("nothing for {} s", TIMEOUT.as_secs())))??;
        if status.is_success() {
            Ok(answer)
        } else {
            Err(refusal(status, &answer))
        }
    }
}

fn refusal(status: StatusCode, answer: &[u8]) -> Error {
    let RefusalBody { code, message } = serde_json::from_slice::<Refusal>(answer)
        .unwrap_or_default()
        .error;
    let code = if code.is_empty() {
        status.as_str().to_owned()
    } else {
        code
    };
    Error::Refused { code, message }
}

/// An error with those that it comes from.
pub(crate) fn whole_story(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
