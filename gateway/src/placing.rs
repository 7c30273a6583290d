//! Where sessions go where no Kubernetes places them: the gateway chooses the node and the generation, when
//! a session is asked for by `PUT /v1/sessions/{name}`, and when an application comes for one that has lost
//! its home.

use crate::dial::AskError;
use crate::gateway::Gateway;
use crate::grants::{self, DEFAULT_EXPECTED, DEFAULT_MAX_PODS, MOST_EXPECTED, MOST_PODS, Next};
use crate::http::Body;
use crate::pass::Passage;
use crate::refusal::refusal;
use crate::report::Session;
use crate::sessions::{self, Home, Put};
use hyper::body::Bytes;
use hyper::{Method, Response, StatusCode};
use mafalda_link::RefusalBody;
use mafalda_plan::{Generation, PodName, Reason};
use serde_json::{Map, Value, json};
use std::time::{Duration, SystemTime};
use tokio::time::sleep;

/// How soon a home that answers and was not reached is tried again.
const AGAIN: Duration = Duration::from_millis(250);

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
    // A wish says all of it: what it leaves out is what it is by default.
    limits(&mut wish, "maxPods", 1, MOST_PODS, DEFAULT_MAX_PODS)?;
    let most = MOST_EXPECTED;
    limits(&mut wish, "expectedParticipants", 1, most, DEFAULT_EXPECTED)?;
    let decided = {
        let (state, now) = (gateway.state(), gateway.now());
        sessions::put(&state.nodes, name, asked, now)
    };
    let write = |wish: &mut Map<String, Value>, generation: Generation, passage: &mut Passage| {
        wish.insert("generation".to_owned(), generation.0.into());
        passage.set_body(Value::Object(wish.clone()).to_string().into());
    };
    match decided {
        Put::Older(home) => Err(older(asked, &home)),
        Put::AtHome(home) => {
            let generation = asked.unwrap_or_default().max(home.generation);
            write(&mut wish, generation, &mut passage);
            passage.reach_home(&home.pod).await
        }
        Put::Place(generation) => {
            let number = |field: &str| wish.get(field).and_then(Value::as_u64);
            let number = |field| number(field).and_then(|number| u32::try_from(number).ok());
            let said = Session {
                name: name.to_owned(),
                generation: generation.0,
                max_pods: number("maxPods"),
                expected_participants: number("expectedParticipants"),
                max_connections: number("maxConnections").map(|most| most as usize),
                max_participants: number("maxParticipants"),
                last_reason: Some(Reason::Placed.name().to_owned()),
                ..Session::default()
            };
            wish.insert("lastReason".to_owned(), Reason::Placed.name().into());
            // Those that lend to all do not lend to it: it is granted what it needs.
            wish.entry("pods").or_insert(Value::Array(Vec::new()));
            write(&mut wish, generation, &mut passage);
            let (node, response) = passage.reach_any_session().await?;
            if matches!(response.status(), StatusCode::OK | StatusCode::CREATED) {
                note(gateway, &node, said);
                gateway.metrics().count_placement("session");
                tracing::info!(session = name, %node, generation = generation.0, "placed");
            }
            Ok(response)
        }
    }
}

/// Notes where a session was placed, until the node says it itself.
fn note(gateway: &Gateway, node: &PodName, session: Session) {
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let session = Session {
        created_at: since_1970.unwrap_or_default().as_secs(),
        ..session
    };
    let now = gateway.now();
    let mut state = gateway.state();
    state.nodes.begin_session(node, session);
    state.nodes.place(node, now);
    drop(state);
    gateway.tell();
}

/// The body of a `PUT` of a session to a node: as `said`, but for who lends to it and why.
pub fn wish(said: &Session, generation: Generation, pods: &[Value], reason: &str) -> Value {
    let mut wish = json!({
        "generation": generation.0,
        "pods": pods,
        "maxPods": said.max_pods.unwrap_or(DEFAULT_MAX_PODS),
        "expectedParticipants": said.expected_participants.unwrap_or(DEFAULT_EXPECTED),
        "lastReason": reason,
    });
    // A node without these limits may not know the fields.
    if let Some(most) = said.max_connections {
        wish["maxConnections"] = most.into();
    }
    if let Some(most) = said.max_participants {
        wish["maxParticipants"] = most.into();
    }
    wish
}

/// Places a session anew that an application asks for, if its home is known to be lost: the one that the
/// session has now. `None`: it has none any more, or no node takes it.
///
/// # Errors
/// Whether its home is lost is not certain.
pub async fn place_anew(
    gateway: &Gateway,
    name: &str,
    home: &Home,
    mediasoup: Option<&str>,
) -> Result<Option<Home>, RefusalBody> {
    let turn = gateway.placing_anew().await;
    let (next, said, order) = {
        let (state, now) = (gateway.state(), gateway.now());
        if let Some(other) = state.home(name).filter(|other| other != home) {
            return Ok(Some(other));
        }
        let policy = &gateway.config().policy;
        let next = grants::next(&state.nodes, name, policy.watermark, now);
        let said = state.nodes.session(&home.pod, name).cloned();
        (next, said, state.nodes.rank(mediasoup, policy, now))
    };
    let (generation, reason, said) = match (next, said) {
        (Next::Stays, _) | (_, None) => return Ok(None),
        (Next::Wait, _) => {
            drop(turn);
            sleep(AGAIN).await;
            return Ok(Some(home.clone()));
        }
        (Next::Unsure(node), _) => return Err(unsure(&node)),
        (Next::Place(generation, reason), Some(said)) => (generation, reason, said),
    };
    let body = wish(&said, generation, &[], reason.name());
    let path = format!("/v1/sessions/{name}");
    for node in order.unwrap_or_default() {
        let Some(address) = gateway.state().nodes.address(&node) else {
            continue;
        };
        let asked = gateway
            .dialer()
            .ask(&address, Method::PUT, &path, Some(&body));
        match asked.await {
            Ok(_) => {
                let said = Session {
                    generation: generation.0,
                    last_reason: Some(reason.name().to_owned()),
                    max_pods: said.max_pods,
                    expected_participants: said.expected_participants,
                    max_connections: said.max_connections,
                    max_participants: said.max_participants,
                    name: name.to_owned(),
                    ..Session::default()
                };
                note(gateway, &node, said);
                gateway.metrics().count_placement("session_anew");
                let (word, from) = (reason.name(), &home.pod);
                let generation = generation.0;
                tracing::info!(session = name, %node, %from, generation, reason = word, "{reason}");
                return Ok(gateway.state().home(name));
            }
            // It was elsewhere since, and nobody said so here.
            Err(AskError::Refused { error, .. }) if error.code == "olderGeneration" => {
                return Err(unsure(&node));
            }
            Err(error) => tracing::info!(%node, %error, "it does not take the session"),
        }
    }
    Ok(None)
}

/// That a session is not placed anew, as too little is known.
pub fn unsure(node: &PodName) -> RefusalBody {
    refusal(
        "unreachable",
        format!(
            "no node that answers has the session, and node {node} may have it: it is not placed \
             anew by itself; PUT it with its next generation if {node} is gone for good"
        ),
    )
}

/// Reads a number of a wish, and writes what it is by default.
fn limits(
    wish: &mut Map<String, Value>,
    field: &str,
    least: u32,
    most: u32,
    default: u32,
) -> Result<(), RefusalBody> {
    let value = wish.entry(field).or_insert(default.into());
    let fits = |value: u64| (u64::from(least)..=u64::from(most)).contains(&value);
    match value.as_u64().is_some_and(fits) {
        true => Ok(()),
        false => {
            let text = format!("the body: {field}: a number, {least} to {most}");
            Err(refusal("badRequest", text))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_says_all_of_it_and_nothing_that_cannot_be() {
        let read = |text: &str| {
            let mut wish = read(&Bytes::copy_from_slice(text.as_bytes()))?;
            limits(&mut wish, "maxPods", 1, MOST_PODS, DEFAULT_MAX_PODS)?;
            Ok::<_, RefusalBody>(Value::Object(wish))
        };
        assert_eq!(read("").unwrap(), json!({"maxPods": 8}));
        let unknown = json!({"maxPods": 64, "other": 1});
        assert_eq!(read(&unknown.to_string()).unwrap(), unknown);
        for wrong in [
            json!(0),
            json!(65),
            json!(-1),
            json!(1.5),
            json!("2"),
            json!(null),
        ] {
            let error = read(&json!({"maxPods": wrong}).to_string()).unwrap_err();
            assert_eq!(error.code, "badRequest", "{wrong}");
            assert!(error.message.contains("maxPods: a number, 1 to 64"));
        }
        assert!(read("[]").is_err() && read("{").is_err());
    }

    /// Protects a session's limits while it grows, and when it moves.
    #[test]
    fn what_is_not_changed_is_said_again() {
        let said = Session {
            max_connections: Some(3),
            max_pods: Some(2),
            ..Session::default()
        };
        let expected = json!({
            "generation": 4, "pods": [{"name": "b"}], "maxPods": 2, "expectedParticipants": 10,
            "lastReason": "WorkersHot", "maxConnections": 3,
        });
        let pods = [json!({"name": "b"})];
        assert_eq!(wish(&said, Generation(4), &pods, "WorkersHot"), expected);
    }
}
