//! `/v1/drain`: whoever runs the pod empties it, or takes that back.

use super::access::allow;
use super::body::{self, Body};
use super::{json, reply};
use crate::auth::Role;
use crate::pod::{Phase, Pod, refusal};
use mafalda_link::RefusalBody;
use serde::Deserialize;
use std::time::Duration;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::{HeaderMap, StatusCode};
use warp::reply::Response;

const WRITERS: &[Role] = &[Role::Operator];

/// The longest time until a deadline, in seconds: a week.
const LONGEST: u64 = 7 * 24 * 60 * 60;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Put {
    phase: Phase,
    deadline_seconds: Option<u64>,
}

/// The routes.
pub fn routes(pod: Pod) -> BoxedFilter<(Response,)> {
    let with_pod = warp::any().map(move || pod.clone());
    let put = warp::path!("v1" / "drain")
        .and(warp::put())
        .and(warp::header::headers_cloned())
        .and(body::take())
        .and(with_pod.clone())
        .then(|headers: HeaderMap, body: Body, pod: Pod| async move {
            reply(&pod, put(&headers, body, &pod).await)
        });
    let delete = warp::path!("v1" / "drain")
        .and(warp::delete())
        .and(warp::header::headers_cloned())
        .and(with_pod)
        .map(|headers, pod| reply(&pod, delete(&headers, &pod)));
    put.or(delete).unify().boxed()
}

async fn put(headers: &HeaderMap, body: Body, pod: &Pod) -> Result<Response, RefusalBody> {
    allow(pod, headers, WRITERS, None)?;
    let put: Put = body.parse().await?;
    if put
        .deadline_seconds
        .is_some_and(|seconds| seconds > LONGEST)
    {
        let reason = format!("deadlineSeconds: at most {LONGEST}, which is a week");
        return Err(refusal("badRequest", reason));
    }
    let time = put.deadline_seconds.map(Duration::from_secs);
    let drain = pod.set_drain(put.phase, time);
    tracing::info!(phase = ?drain.phase, deadline = drain.deadline, "drain");
    Ok(json(StatusCode::OK, &drain))
}

fn delete(headers: &HeaderMap, pod: &Pod) -> Result<Response, RefusalBody> {
    allow(pod, headers, WRITERS, None)?;
    let drain = pod.set_drain(Phase::Active, None);
    tracing::info!(phase = ?drain.phase, "drain");
    Ok(json(StatusCode::OK, &drain))
}
