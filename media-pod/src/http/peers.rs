//! `/v1/peers`: which pods lend their workers to all virtual workers of this one.

use super::access::allow;
use super::body::{self, Body};
use super::{json, read, reply};
use crate::auth::Role;
use crate::lending::{Grant, Peer};
use crate::pod::{Pod, refusal};
use mafalda_link::client::Target;
use mafalda_link::{MEDIASOUP_NPM, RefusalBody};
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::{HeaderMap, StatusCode};
use warp::reply::Response;

const READERS: &[Role] = &[Role::Monitor, Role::Operator];
const WRITERS: &[Role] = &[Role::Operator];

/// The routes.
pub fn routes(pod: Pod) -> BoxedFilter<(Response,)> {
    let with_pod = warp::any().map(move || pod.clone());
    let get = warp::path!("v1" / "peers")
        .and(read())
        .and(warp::header::headers_cloned())
        .and(with_pod.clone())
        .map(|headers, pod| reply(&pod, get(&headers, &pod)));
    let put = warp::path!("v1" / "peers")
        .and(warp::put())
        .and(warp::header::headers_cloned())
        .and(body::take())
        .and(with_pod)
        .then(|headers: HeaderMap, body: Body, pod: Pod| async move {
            reply(&pod, put(&headers, body, &pod).await)
        });
    get.or(put).unify().boxed()
}

fn get(headers: &HeaderMap, pod: &Pod) -> Result<Response, RefusalBody> {
    allow(pod, headers, READERS, None)?;
    Ok(state(pod))
}

async fn put(headers: &HeaderMap, body: Body, pod: &Pod) -> Result<Response, RefusalBody> {
    allow(pod, headers, WRITERS, None)?;
    let grant: Grant = body.parse().await?;
    check(&grant.pods)?;
    tracing::info!(pods = grant.pods.len(), "pods lend to all virtual workers");
    pod.members().peers().lend_to_all(grant);
    Ok(state(pod))
}

fn state(pod: &Pod) -> Response {
    let own = &pod.config().identity.name;
    let pods = pod.members().peers().states(own);
    json(StatusCode::OK, &serde_json::json!({ "pods": pods }))
}

/// Whether these can be pods that lend.
///
/// # Errors
/// The field that cannot be, and why.
pub fn check(pods: &[Peer]) -> Result<(), RefusalBody> {
    for (index, peer) in pods.iter().enumerate() {
        let wrong = |what: String| refusal("badRequest", format!("pods[{index}].{what}"));
        if peer.name.is_empty() {
            return Err(wrong("name: at least one character".to_owned()));
        }
        Target::new(&peer.url, MEDIASOUP_NPM.to_owned())
            .map_err(|error| wrong(format!("url: {error}")))?;
    }
    Ok(())
}
