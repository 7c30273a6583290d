//! `GET /v1/worker`: a WebSocket by which an application gets a worker, or resumes.
//!
//! Below it `/real` and `/virtual` ask for a kind of worker; without them the pod's setting says.
//! `GET /v1/members` is for other pods, and relays that span several: they borrow the pod's workers.

use super::access::{allow, allow_again};
use super::refuse;
use super::sessions::session_refusal;
use super::upgrade::{Upgrade, upgrade};
use crate::auth::Role;
use crate::connection::{self, Claim, Greeting, Resumption};
use crate::pod::{Attendance, Mode, Pod, Reservation, refusal};
use mafalda_link::{
    Hello, MEDIASOUP_CRATE, MEDIASOUP_NPM, PROTOCOL, Packet, RefusalBody, Socket, StreamExt, header,
};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::{HeaderMap, HeaderValue};
use warp::reply::Response;

/// How long a client may take for its hello.
const HELLO: Duration = Duration::from_secs(10);

/// A hello's files and arguments fit in this, in bytes.
const MAX_HELLO: usize = 1024 * 1024;

/// Roles that may have workers.
const APPLICATIONS: &[Role] = &[Role::App, Role::Operator];

/// Roles that may borrow them.
const BORROWERS: &[Role] = &[Role::Pod, Role::App, Role::Operator];

/// What is asked for.
#[derive(Clone, Copy)]
enum Kind {
    /// A worker of one's own.
    Worker(Mode),
    /// The pod's workers, as members of virtual workers elsewhere.
    Members,
}

/// What the request's headers have earned the client.
enum Admission {
    New {
        reservation: Reservation,
        mediasoup: String,
        kind: Kind,
        session: Option<Arc<Attendance>>,
    },
    Resume {
        connection: String,
    },
}

/// What a request's path asks for.
struct Wish {
    kind: Kind,
    session: Option<String>,
}

/// The routes, for one client.
///
/// A socket counts as a connection (`permit`) until its client has said hello: from then on workers are
/// counted.
pub fn routes(
    pod: Pod,
    peer: SocketAddr,
    permit: &Arc<OwnedSemaphorePermit>,
) -> BoxedFilter<(Response,)> {
    let permit = permit.clone();
    let default = pod.config().mode;
    let real = warp::path!("real").map(|| Mode::Real);
    let virtual_worker = warp::path!("virtual").map(|| Mode::Virtual);
    let either = warp::path::end().map(move || default);
    let anonymous = warp::path!("v1" / "worker" / ..)
        .and(either.or(real).unify().or(virtual_worker).unify())
        .map(|mode| Wish {
            kind: Kind::Worker(mode),
            session: None,
        });
    let of_session = warp::path!("v1" / "sessions" / String / "worker").map(|name| Wish {
        kind: Kind::Worker(Mode::Virtual),
        session: Some(name),
    });
    let members = warp::path!("v1" / "members").map(|| Wish {
        kind: Kind::Members,
        session: None,
    });
    anonymous
        .or(of_session)
        .unify()
        .or(members)
        .unify()
        .and(warp::get())
        .and(warp::header::headers_cloned())
        .and(upgrade())
        .map(move |wish: Wish, headers: HeaderMap, upgrade: Upgrade| {
            let (pod, permit) = (pod.clone(), permit.clone());
            let session = wish.session.clone();
            let admission = match admit(&pod, &headers, peer, wish) {
                Ok(admission) => admission,
                Err(error) => {
                    tracing::info!(%peer, code = error.code, "refused");
                    return refuse(&pod, error);
                }
            };
            let max = pod.config().max_message.max(MAX_HELLO);
            let here = session.and_then(|name| pod.session(&name));
            let mut response = upgrade.accept(max, move |socket| {
                attend(pod, peer, socket, admission, permit)
            });
            // Who resumes says it again: by then the session may be elsewhere.
            if let Some(session) = here {
                let generation = HeaderValue::from(session.generation);
                response
                    .headers_mut()
                    .insert(header::GENERATION, generation);
            }
            response
        })
        .boxed()
}

fn admit(
    pod: &Pod,
    headers: &HeaderMap,
    peer: SocketAddr,
    wish: Wish,
) -> Result<Admission, RefusalBody> {
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let resumed = header(header::CONNECTION);
    let roles = match wish.kind {
        Kind::Worker(_) => APPLICATIONS,
        Kind::Members => BORROWERS,
    };
    let claims = match resumed {
        None => allow(pod, headers, roles, wish.session.as_deref())?,
        // Its secret is still to be shown. An end of the token is none of running calls.
        Some(_) => {
            allow_again(pod, headers, roles, wish.session.as_deref())?;
            None
        }
    };
    let protocol = header(header::PROTOCOL).unwrap_or("none");
    if protocol != PROTOCOL {
        return Err(refusal(
            "versionMismatch",
            format!(
                "the client speaks protocol {protocol}, this pod {PROTOCOL}: use mafalda-worker \
                 of the pod's own version, {}",
                env!("CARGO_PKG_VERSION")
            ),
        ));
    }
    let mediasoup = header(header::MEDIASOUP).unwrap_or("unknown");
    if ![MEDIASOUP_NPM, MEDIASOUP_CRATE].contains(&mediasoup) {
        return Err(refusal(
            "versionMismatch",
            format!(
                "the application has mediasoup {mediasoup}, this pod serves npm mediasoup \
                 {MEDIASOUP_NPM} and crate mediasoup {MEDIASOUP_CRATE}: install that version, or \
                 use a pod built for yours"
            ),
        ));
    }
    if let Some(connection) = resumed {
        if !pod.has_connection(connection) {
            return Err(unknown_connection());
        }
        return Ok(Admission::Resume {
            connection: connection.to_owned(),
        });
    }
    let session = match &wish.session {
        None => None,
        Some(name) => {
            let generation = header(header::GENERATION).and_then(|text| text.parse().ok());
            let attendance = pod.attend(name, generation);
            Some(Arc::new(
                attendance.map_err(|error| session_refusal(&error))?,
            ))
        }
    };
    let subject = claims.as_ref().and_then(|claims| claims.sub.clone());
    let client = subject.unwrap_or_else(|| peer.ip().to_string());
    let limit = claims.and_then(|claims| claims.limits.workers);
    let reservation = match wish.kind {
        Kind::Worker(mode) => pod.reserve(&client, limit, mode, wish.session.as_deref())?,
        Kind::Members => pod.reserve_lending()?,
    };
    Ok(Admission::New {
        reservation,
        mediasoup: mediasoup.to_owned(),
        kind: wish.kind,
        session,
    })
}

fn unknown_connection() -> RefusalBody {
    refusal(
        "unknownConnection",
        "this pod has no such connection: its time is over, or the pod was restarted",
    )
}

/// Takes the client's hello and gives it what it was admitted to.
async fn attend(
    pod: Pod,
    peer: SocketAddr,
    mut socket: Box<dyn Socket>,
    admission: Admission,
    permit: Arc<OwnedSemaphorePermit>,
) {
    let said = hello(&mut socket).await;
    drop(permit);
    let problem = match (said, admission) {
        (
            Ok(Hello::Start(start)),
            Admission::New {
                reservation,
                mediasoup,
                kind,
                session,
            },
        ) => {
            let greeting = Greeting {
                socket,
                start,
                mediasoup,
                peer,
            };
            let claim = Claim {
                greeting,
                reservation,
                session,
            };
            match kind {
                Kind::Worker(Mode::Real) => pod.give_worker(claim),
                Kind::Worker(Mode::Virtual) => connection::serve_virtual(pod, claim).await,
                Kind::Members => connection::serve_lending(pod, claim).await,
            }
            return;
        }
        (Ok(Hello::Resume(resume)), Admission::Resume { connection }) => {
            match pod.resumption(&connection, &resume.key) {
                Some(sockets) => {
                    let received = resume.received;
                    // A connection that has just ended drops it.
                    let _ = sockets.send(Resumption { socket, received }).await;
                    return;
                }
                None => unknown_connection().message,
            }
        }
        (Ok(_), _) => "the hello does not fit the request's headers".to_owned(),
        (Err(problem), _) => problem,
    };
    tracing::info!(%peer, problem, "refused");
    connection::refuse(&mut socket, &problem).await;
}

async fn hello(socket: &mut Box<dyn Socket>) -> Result<Hello, String> {
    let first = async {
        loop {
            match socket.next().await {
                Some(Ok(Packet::Ping | Packet::Pong)) => {}
                first => return first,
            }
        }
    };
    match timeout(HELLO, first).await {
        Ok(Some(Ok(Packet::Text(text)))) if text.len() > MAX_HELLO => Err(format!(
            "the hello has {} bytes; {MAX_HELLO} are possible",
            text.len()
        )),
        Ok(Some(Ok(Packet::Text(text)))) => {
            serde_json::from_str(&text).map_err(|error| format!("the hello is malformed: {error}"))
        }
        Ok(Some(Ok(_))) => Err("the first message must be a hello, as text".to_owned()),
        Ok(Some(Err(error))) => Err(error.to_string()),
        Ok(None) => Err("the client went away".to_owned()),
        Err(_) => Err(format!("no hello in {} s", HELLO.as_secs())),
    }
}
