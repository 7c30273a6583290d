//! The pod's HTTP API. Its description for programs is `openapi.json` beside this crate's manifest.

mod access;
mod body;
mod drain;
mod events;
mod methods;
mod peers;
mod sessions;
mod upgrade;
mod worker;

use crate::auth::Role;
use crate::pod::{Pod, refusal};
use crate::status;
use crate::topology::topology;
use access::allow;
use mafalda_link::{Refusal, RefusalBody};
use serde::Serialize;
use std::convert::Infallible;
use std::future;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;
use warp::filters::BoxedFilter;
use warp::filters::path::FullPath;
use warp::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use warp::reply::{Reply, Response};
use warp::{Filter, Rejection};

const OPENAPI: &str = include_str!("../openapi.json");

/// Roles that may read status.
const READERS: &[Role] = &[Role::Monitor, Role::App, Role::Operator];

/// Everything that the pod answers, to one client, whose connection has a `permit`.
pub fn routes(
    pod: Pod,
    peer: SocketAddr,
    permit: &Arc<OwnedSemaphorePermit>,
) -> BoxedFilter<(Response,)> {
    let with_pod = {
        let pod = pod.clone();
        warp::any().map(move || pod.clone())
    };
    let livez = warp::path!("livez").map(|| text(StatusCode::OK, "ok\n"));
    let readyz = warp::path!("readyz").and(with_pod.clone()).map(ready);
    let metrics = warp::path!("metrics").and(with_pod.clone()).map(metrics);
    let openapi = warp::path!("openapi.json").map(|| typed("application/json", OPENAPI.to_owned()));
    let status = warp::path!("v1" / "status")
        .and(warp::header::headers_cloned())
        .and(with_pod.clone())
        .map(status_reply);
    let topology = warp::path!("v1" / "topology")
        .and(warp::header::headers_cloned())
        .and(with_pod)
        .then(topology_reply);
    let probes = read().and(livez.or(readyz).unify().or(metrics).unify());
    let reads = read().and(openapi.or(status).unify().or(topology).unify());
    other_method(pod.clone())
        .or(probes)
        .unify()
        .or(reads)
        .unify()
        .or(sessions::routes(pod.clone()))
        .unify()
        .or(drain::routes(pod.clone()))
        .unify()
        .or(peers::routes(pod.clone()))
        .unify()
        .or(events::route(pod.clone(), permit))
        .unify()
        .or(worker::routes(pod, peer, permit))
        .unify()
        .recover(not_found)
        .unify()
        .boxed()
}

/// Requests that read: an answer to HEAD is one to GET without its body, which hyper leaves out.
fn read() -> BoxedFilter<()> {
    warp::get().or(warp::head()).unify().boxed()
}

/// Refuses paths that are not there, and methods that a path has not (RFC 9110, section 15.5.6).
fn other_method(pod: Pod) -> BoxedFilter<(Response,)> {
    warp::method()
        .and(warp::path::full())
        .and_then(move |method: Method, path: FullPath| {
            if !methods::is_there(path.as_str()) {
                return future::ready(Ok(refuse(&pod, no_such_path())));
            }
            let refused = methods::other(&method, path.as_str()).map(|allowed| {
                let message = format!("this path knows {allowed}, not {method}");
                let mut response = refuse(&pod, refusal("methodNotAllowed", message));
                let allowed = HeaderValue::from_static(allowed);
                response.headers_mut().insert(header::ALLOW, allowed);
                response
            });
            future::ready(refused.ok_or_else(warp::reject::not_found))
        })
        .boxed()
}

fn text(status: StatusCode, body: &'static str) -> Response {
    warp::reply::with_status(body, status).into_response()
}

fn typed(content_type: &'static str, body: String) -> Response {
    warp::reply::with_header(body, header::CONTENT_TYPE, content_type).into_response()
}

/// A reply in JSON.
fn json(status: StatusCode, body: &impl Serialize) -> Response {
    warp::reply::with_status(warp::reply::json(body), status).into_response()
}

/// An error in JSON, with the status that goes with its code.
pub fn refuse(pod: &Pod, error: RefusalBody) -> Response {
    pod.metrics().count_refusal(&error.code);
    let status = match error.code.as_str() {
        "unauthorized" => StatusCode::UNAUTHORIZED,
        "forbidden" => StatusCode::FORBIDDEN,
        "notFound" | "unknownConnection" | "unknownSession" => StatusCode::NOT_FOUND,
        "methodNotAllowed" => StatusCode::METHOD_NOT_ALLOWED,
        "timeout" => StatusCode::REQUEST_TIMEOUT,
        "tooLarge" => StatusCode::PAYLOAD_TOO_LARGE,
        "versionMismatch" | "olderGeneration" | "otherGeneration" => StatusCode::CONFLICT,
        "tooManyWorkers" => StatusCode::TOO_MANY_REQUESTS,
        "draining" | "tooManyConnections" => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_REQUEST,
    };
    let mut response = json(status, &Refusal { error });
    if status == StatusCode::UNAUTHORIZED {
        let bearer = HeaderValue::from_static("Bearer");
        response
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, bearer);
    }
    response
}

/// The reply, or the refusal in its place.
fn reply(pod: &Pod, result: Result<Response, RefusalBody>) -> Response {
    result.unwrap_or_else(|error| refuse(pod, error))
}

fn ready(pod: Pod) -> Response {
    match pod.is_ready() {
        true => text(StatusCode::OK, "ready\n"),
        false if pod.is_draining() => text(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
        false => text(StatusCode::SERVICE_UNAVAILABLE, "workers are starting\n"),
    }
}

fn metrics(pod: Pod) -> Response {
    const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match pod.metrics().render(status::reading(&pod)) {
        Ok(body) => typed(OPENMETRICS, body),
        Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "no metrics\n"),
    }
}

fn status_reply(headers: HeaderMap, pod: Pod) -> Response {
    match allow(&pod, &headers, READERS, None) {
        Ok(_) => json(StatusCode::OK, &status::status(&pod)),
        Err(error) => refuse(&pod, error),
    }
}

async fn topology_reply(headers: HeaderMap, pod: Pod) -> Response {
    match allow(&pod, &headers, READERS, None) {
        Ok(_) => json(StatusCode::OK, &topology(&pod).await),
        Err(error) => refuse(&pod, error),
    }
}

fn no_such_path() -> RefusalBody {
    let message = "there is no such path; /openapi.json lists them";
    refusal("notFound", message)
}

async fn not_found(rejection: Rejection) -> Result<Response, Infallible> {
    let (status, error) = match rejection.is_not_found() {
        true => (StatusCode::NOT_FOUND, no_such_path()),
        false => {
            let message = "this path wants a WebSocket upgrade (RFC 6455, version 13)";
            (StatusCode::BAD_REQUEST, refusal("badRequest", message))
        }
    };
    Ok(json(status, &Refusal { error }))
}
