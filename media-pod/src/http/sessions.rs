//! `/v1/sessions`: which sessions this pod is the home of.

use super::access::allow;
use super::body::{self, Body};
use super::{json, peers, read, reply};
use crate::auth::Role;
use crate::clock::since_1970;
use crate::lending::{Grant, Peer};
use crate::pod::{Pod, refusal};
use crate::sessions::{Notes, SessionError, Wanted};
use crate::status::{self, SessionStatus};
use mafalda_link::RefusalBody;
use serde::{Deserialize, Serialize};
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::{HeaderMap, StatusCode};
use warp::reply::Response;

const READERS: &[Role] = &[Role::Monitor, Role::Operator];
const WRITERS: &[Role] = &[Role::Operator];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Put {
    generation: u64,
    max_connections: Option<usize>,
    max_participants: Option<u32>,
    /// The pods that lend it workers, and no others do from now on; as before when absent: those that
    /// lend to all.
    pods: Option<Vec<Peer>>,
    /// The token to show to those; the pod's own setting when absent.
    token: Option<String>,
    /// Where this pod is, if it was not told when it was started.
    region: Option<String>,
    zone: Option<String>,
    /// What is noted with it, see [`Notes`]; as before when absent.
    max_pods: Option<u32>,
    expected_participants: Option<u32>,
    last_reason: Option<String>,
}

/// The longest reason, in bytes: it is one word.
const LONGEST_REASON: usize = 64;

impl Put {
    fn notes(&self) -> Result<Notes, RefusalBody> {
        if self.max_pods == Some(0) {
            return Err(refusal("badRequest", "maxPods: at least 1"));
        }
        let reason = self.last_reason.as_ref();
        if reason.is_some_and(|reason| reason.len() > LONGEST_REASON) {
            let text = format!("lastReason: one word, at most {LONGEST_REASON} bytes");
            return Err(refusal("badRequest", text));
        }
        Ok(Notes {
            max_pods: self.max_pods,
            expected_participants: self.expected_participants,
            last_reason: self.last_reason.clone(),
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    generation: Option<u64>,
}

#[derive(Serialize)]
struct All {
    sessions: Vec<SessionStatus>,
}

/// The routes but that of the channel.
pub fn routes(pod: Pod) -> BoxedFilter<(Response,)> {
    let with_pod = warp::any().map(move || pod.clone());
    let headers = warp::header::headers_cloned;
    let all = warp::path!("v1" / "sessions")
        .and(read())
        .and(headers())
        .and(with_pod.clone())
        .map(|headers, pod| reply(&pod, get_all(&headers, &pod)));
    let get = warp::path!("v1" / "sessions" / String)
        .and(read())
        .and(headers())
        .and(with_pod.clone())
        .map(|name: String, headers, pod| reply(&pod, get(&name, &headers, &pod)));
    let put = warp::path!("v1" / "sessions" / String)
        .and(warp::put())
        .and(headers())
        .and(body::take())
        .and(with_pod.clone())
        .then(
            |name: String, headers: HeaderMap, body: Body, pod: Pod| async move {
                reply(&pod, put(&name, &headers, body, &pod).await)
            },
        );
    let delete = warp::path!("v1" / "sessions" / String)
        .and(warp::delete())
        .and(headers())
        .and(warp::query::raw().or(warp::any().map(String::new)).unify())
        .and(with_pod)
        .map(|name: String, headers, query: String, pod| {
            reply(&pod, delete(&name, &headers, &query, &pod))
        });
    all.or(get)
        .unify()
        .or(put)
        .unify()
        .or(delete)
        .unify()
        .boxed()
}

/// A refusal of the session, with a word for programs.
pub fn session_refusal(error: &SessionError) -> RefusalBody {
    let code = match error {
        SessionError::OlderGeneration { .. } => "olderGeneration",
        SessionError::OtherGeneration { .. } => "otherGeneration",
        SessionError::Unknown => "unknownSession",
        SessionError::Draining => "draining",
        SessionError::TooManyConnections(_) => "tooManyConnections",
        SessionError::Name | SessionError::Generation => "badRequest",
    };
    refusal(code, error.to_string())
}

fn get_all(headers: &HeaderMap, pod: &Pod) -> Result<Response, RefusalBody> {
    allow(pod, headers, READERS, None)?;
    let sessions = status::sessions(pod);
    Ok(json(StatusCode::OK, &All { sessions }))
}

fn get(name: &str, headers: &HeaderMap, pod: &Pod) -> Result<Response, RefusalBody> {
    allow(pod, headers, READERS, Some(name))?;
    let session = status::session(pod, name);
    let session = session.ok_or_else(|| session_refusal(&SessionError::Unknown))?;
    Ok(json(StatusCode::OK, &session))
}

async fn put(
    name: &str,
    headers: &HeaderMap,
    body: Body,
    pod: &Pod,
) -> Result<Response, RefusalBody> {
    allow(pod, headers, WRITERS, Some(name))?;
    let put: Put = body.parse().await?;
    if let Some(pods) = &put.pods {
        peers::check(pods)?;
    }
    let notes = put.notes()?;
    pod.learn_place(put.region, put.zone);
    let wanted = Wanted {
        generation: put.generation,
        max_connections: put.max_connections,
        max_participants: put.max_participants,
    };
    let is_new = pod
        .put_session(name, wanted)
        .map_err(|error| session_refusal(&error))?;
    if is_new {
        tracing::info!(
            session = name,
            generation = put.generation,
            "session is here"
        );
    }
    pod.note_on_session(name, notes);
    if let Some(pods) = put.pods {
        let token = put.token;
        let peers = pod.members().peers();
        peers.lend_to_session(name, Grant { pods, token }, since_1970());
    }
    let status = match is_new {
        true => StatusCode::CREATED,
        false => StatusCode::OK,
    };
    let session = status::session(pod, name);
    // Ended in the meantime by another request.
    let session = session.ok_or_else(|| session_refusal(&SessionError::Unknown))?;
    Ok(json(status, &session))
}

fn delete(
    name: &str,
    headers: &HeaderMap,
    query: &str,
    pod: &Pod,
) -> Result<Response, RefusalBody> {
    allow(pod, headers, WRITERS, Some(name))?;
    let which: Which = serde_urlencoded::from_str(query)
        .map_err(|error| refusal("badRequest", format!("the query: {error}")))?;
    pod.delete_session(name, which.generation)
        .map_err(|error| session_refusal(&error))?;
    Ok(warp::reply::Reply::into_response(StatusCode::NO_CONTENT))
}
