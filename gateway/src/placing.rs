//! `PUT /v1/sessions/{name}` where no Kubernetes places sessions: the gateway chooses the node and the
//! generation.

use crate::gateway::Gateway;
use crate::http::Body;
use crate::pass::Passage;
use crate::refusal::refusal;
use crate::report::Session;
use crate::sessions::{self, Home, Put};
use hyper::body::Bytes;
use hyper::{Response, StatusCode};
use mafalda_link::RefusalBody;
use mafalda_plan::{Generation, PodName};
use serde_json::{Map, Value};
use std::time::SystemTime;

/// Sees to it that the session is there, on the node that it is at home on or on one that is chosen now.
pub async fn put(
    gateway: &Gateway,
    name: &str,
    mut passage: Passage,
) -> Result<Response<Body>, RefusalBody> {
    if !sessions::is_name(name) {
        let reason = "name: 1 to 253 characters of a-z, 0-9, - and . are possible";
        return Err(refusal("badRequest", reason));
    }
    let mut wish = read(passage.body())?;
    let asked = match wish.get("generation") {
        None => None,
        Some(value) => Some(Generation(value.as_u64().filter(|at| *at > 0).ok_or_else(
            || refusal("badRequest", "the body: generation: a number, at least 1"),
        )?)),
    };
    let decided = {
        let (state, now) = (gateway.state(), gateway.now());
        sessions::put(&state.nodes, name, asked, now)
    };
    let mut write = |generation: Generation, passage: &mut Passage| {
        wish.insert("generation".to_owned(), generation.0.into());
        passage.set_body(Value::Object(wish.clone()).to_string().into());
    };
    match decided {
        Put::Older(home) => Err(older(asked, &home)),
        Put::AtHome(home) => {
            write(asked.unwrap_or_default().max(home.generation), &mut passage);
            passage.to_home(&home.pod).await
        }
        Put::Place(generation) => {
            write(generation, &mut passage);
            let placed = |node: &PodName| {
                let now = gateway.now();
                let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
                let session = Session {
                    name: name.to_owned(),
                    generation: generation.0,
                    connections: 0,
                    created_at: since_1970.unwrap_or_default().as_secs(),
                };
                let mut state = gateway.state();
                state.nodes.begin_session(node, session);
                state.nodes.place(node, now);
                drop(state);
                gateway.metrics().count_placement("session");
                gateway.tell();
                tracing::info!(session = name, %node, generation = generation.0, "placed");
            };
            let (node, response) = passage.to_any_session().await?;
            if matches!(response.status(), StatusCode::OK | StatusCode::CREATED) {
                placed(&node);
            }
            Ok(response)
        }
    }
}

fn read(body: &Bytes) -> Result<Map<String, Value>, RefusalBody> {
    if body.is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(wish)) => Ok(wish),
        Ok(_) => Err(refusal("badRequest", "the body: an object is expected")),
        Err(error) => Err(refusal("badRequest", format!("the body: {error}"))),
    }
}

fn older(asked: Option<Generation>, home: &Home) -> RefusalBody {
    let asked = asked.unwrap_or_default();
    refusal(
        "olderGeneration",
        format!(
            "generation {asked} is older than {}, which is on {}",
            home.generation, home.pod
        ),
    )
}

/// That a client means another generation of a session than there is: says which, and where.
pub fn other_generation(asked: u64, home: &Home) -> Response<Body> {
    let mut response = crate::refusal::response(refusal(
        "otherGeneration",
        format!(
            "the session is in generation {} on {}, not in {asked}",
            home.generation, home.pod
        ),
    ));
    let headers = response.headers_mut();
    for (name, value) in [
        (
            mafalda_link::header::GENERATION,
            home.generation.to_string(),
        ),
        (mafalda_link::header::POD, home.pod.to_string()),
    ] {
        if let Ok(value) = value.parse() {
            headers.insert(name, value);
        }
    }
    response
}
