//! Answers one client's requests.

use crate::access::{ANYBODY, APPLICATIONS, Needs, READERS, WRITERS, allow};
use crate::gateway::{Gateway, LEARN};
use crate::pass::{Passage, wants_web_socket};
use crate::placing;
use crate::refusal::{self, refusal};
use crate::route::{Route, route};
use crate::sessions::Home;
use crate::status;
use http_body_util::{Either, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use mafalda_link::{RefusalBody, header};
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

/// A body of the gateway's own, or a node's as it comes.
pub type Body = Either<Full<Bytes>, Incoming>;

/// How long a session may be unknown before that is told: another gateway may have placed it just now.
const SETTLE: Duration = Duration::from_millis(500);

/// A body that is all there.
pub fn full(bytes: Bytes) -> Body {
    Either::Left(Full::new(bytes))
}

fn typed(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(full(body.into()));
    *response.status_mut() = status;
    let content_type = HeaderValue::from_static(content_type);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

fn text(status: StatusCode, body: &'static str) -> Response<Body> {
    typed(status, "text/plain; charset=utf-8", body)
}

/// An answer in JSON.
pub fn json(status: StatusCode, body: &impl Serialize) -> Response<Body> {
    match serde_json::to_vec(body) {
        Ok(body) => typed(status, "application/json", body),
        Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "no JSON\n"),
    }
}

/// Answers a request, or passes it on.
pub async fn answer(
    gateway: Gateway,
    request: Request<Incoming>,
    permit: Arc<OwnedSemaphorePermit>,
) -> Response<Body> {
    let counting = gateway.clone();
    decide(gateway, request, permit)
        .await
        .unwrap_or_else(|error| {
            counting.metrics().count_refusal(&error.code);
            tracing::info!(code = error.code, reason = error.message, "refused");
            refusal::response(error)
        })
}

async fn decide(
    gateway: Gateway,
    request: Request<Incoming>,
    permit: Arc<OwnedSemaphorePermit>,
) -> Result<Response<Body>, RefusalBody> {
    let headers = request.headers();
    let resumes = headers.contains_key(header::CONNECTION) && wants_web_socket(headers);
    let needs = |roles, session| Needs {
        roles,
        session,
        resumes: false,
    };
    match route(request.method(), request.uri().path()) {
        Route::Livez => Ok(text(StatusCode::OK, "ok\n")),
        Route::Readyz => Ok(match gateway.is_ready() {
            true => text(StatusCode::OK, "ready\n"),
            false => text(StatusCode::SERVICE_UNAVAILABLE, "no node answers\n"),
        }),
        Route::Metrics => Ok(metrics(&gateway)),
        Route::Status => {
            check(&gateway, headers, &needs(READERS, None))?;
            Ok(json(StatusCode::OK, &status::status(&gateway)))
        }
        Route::Sessions => {
            check(&gateway, headers, &needs(READERS, None))?;
            Ok(json(StatusCode::OK, &status::sessions(&gateway)))
        }
        Route::Worker => {
            let needs = Needs {
                resumes,
                ..needs(APPLICATIONS, None)
            };
            check(&gateway, headers, &needs)?;
            let passage = Passage::new(gateway, request, permit).await?;
            match resumes {
                true => passage.reach_its_pod(None).await,
                false => passage.reach_any().await,
            }
        }
        Route::PutSession(name) => {
            check(&gateway, headers, &needs(WRITERS, Some(&name)))?;
            not_on_kubernetes(&gateway)?;
            let passage = Passage::new(gateway.clone(), request, permit).await?;
            placing::put(&gateway, &name, passage).await
        }
        Route::DeleteSession(name) => {
            check(&gateway, headers, &needs(WRITERS, Some(&name)))?;
            not_on_kubernetes(&gateway)?;
            let home = home(&gateway, &name).await?;
            let passage = Passage::new(gateway, request, permit).await?;
            passage.reach_home(&home.pod).await
        }
        Route::SessionWorker(name) => {
            let needs = Needs {
                resumes,
                ..needs(APPLICATIONS, Some(&name))
            };
            check(&gateway, headers, &needs)?;
            let passage = Passage::new(gateway.clone(), request, permit).await?;
            if resumes {
                // It may be that the session has moved, and the pod knows best.
                let home = gateway.state().home(&name);
                if let Some(home) = &home
                    && let Some(was) = passage.left_behind(home)
                {
                    gateway.metrics().count_refusal("otherGeneration");
                    return Ok(placing::other_generation(was, home));
                }
                return passage.reach_its_pod(home).await;
            }
            reach_session(&gateway, &name, passage, true).await
        }
        Route::OfSession(name) => {
            check(&gateway, headers, &needs(ANYBODY, Some(&name)))?;
            let passage = Passage::new(gateway.clone(), request, permit).await?;
            reach_session(&gateway, &name, passage, false).await
        }
        Route::OtherMethod(allowed) => Ok(other_method(&gateway, request.method(), allowed)),
        Route::Unknown => Err(refusal("notFound", "there is no such path on the gateway")),
    }
}

/// Gives a request to the home of its session, if the client means that one. For an application, which
/// `places`, a session whose home is lost is placed anew.
async fn reach_session(
    gateway: &Gateway,
    name: &str,
    passage: Passage,
    places: bool,
) -> Result<Response<Body>, RefusalBody> {
    let home = home(gateway, name).await?;
    match passage.generation() {
        Some(asked) if asked != home.generation.0 => {
            gateway.metrics().count_refusal("otherGeneration");
            Ok(placing::other_generation(asked, &home))
        }
        _ => passage.reach_session(name, home, places).await,
    }
}

/// The path is there, and has other methods (RFC 9110, section 15.5.6).
fn other_method(gateway: &Gateway, method: &Method, allowed: &'static str) -> Response<Body> {
    let message = format!("this path knows {allowed}, not {method}");
    let error = refusal("methodNotAllowed", message);
    gateway.metrics().count_refusal(&error.code);
    let mut response = refusal::response(error);
    let allowed = HeaderValue::from_static(allowed);
    response.headers_mut().insert(ALLOW, allowed);
    response
}

fn check(gateway: &Gateway, headers: &HeaderMap, needs: &Needs<'_>) -> Result<(), RefusalBody> {
    allow(gateway.config().verifier.as_ref(), headers, needs)
}

fn not_on_kubernetes(gateway: &Gateway) -> Result<(), RefusalBody> {
    match gateway.config().kubernetes {
        false => Ok(()),
        true => Err(refusal(
            "keptByKubernetes",
            "sessions of this cluster are made and ended with kubectl: apply or delete a Session",
        )),
    }
}

/// Where a session runs, and whether anybody knows.
async fn home(gateway: &Gateway, name: &str) -> Result<Home, RefusalBody> {
    let mut news = gateway.news();
    let known = async {
        loop {
            news.mark_unchanged();
            if let Some(home) = gateway.state().home(name) {
                return Some(home);
            }
            news.changed().await.ok()?;
        }
    };
    let patience = match gateway.is_new() {
        true => LEARN,
        false => SETTLE,
    };
    if let Some(home) = timeout(patience, known).await.ok().flatten() {
        return Ok(home);
    }
    let unheard = match gateway.config().kubernetes {
        true => None,
        false => gateway.state().nodes.unheard().cloned(),
    };
    Err(match unheard {
        Some(node) => placing::unsure(&node),
        None => refusal("unknownSession", "this cluster has no such session"),
    })
}

fn metrics(gateway: &Gateway) -> Response<Body> {
    const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let states: Vec<_> = {
        let (state, now) = (gateway.state(), gateway.now());
        state.nodes.all().map(|node| node.state(now)).collect()
    };
    match gateway.metrics().render(&states) {
        Ok(body) => typed(StatusCode::OK, OPENMETRICS, body),
        Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "no metrics\n"),
    }
}
