//! `/v1/events`: the pod's status over a WebSocket, whenever it has changed.

use super::access::allow;
use super::refuse;
use super::upgrade::{Upgrade, upgrade};
use crate::auth::Role;
use crate::pod::Pod;
use crate::status::{Status, status};
use mafalda_link::{Packet, SinkExt, Socket, StreamExt};
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::HeaderMap;
use warp::reply::Response;

const READERS: &[Role] = &[Role::Monitor, Role::Operator];

/// Changes this close together are told as one.
const TOGETHER: Duration = Duration::from_millis(20);

/// Figures that change all the time are told this often.
const OFTEN: Duration = Duration::from_secs(1);

/// The status comes this often at the least. Until then, what has not changed is a sign of life.
const SELDOM: Duration = Duration::from_secs(15);

/// How long a client may take to take a message.
const PATIENCE: Duration = Duration::from_secs(10);

/// The largest message of a client; none is expected.
const MAX: usize = 4 * 1024;

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "camelCase")]
enum Event {
    Status { status: Box<Status> },
}

/// The route.
pub fn route(pod: Pod, permit: &Arc<OwnedSemaphorePermit>) -> BoxedFilter<(Response,)> {
    let permit = permit.clone();
    warp::path!("v1" / "events")
        .and(warp::get())
        .and(warp::header::headers_cloned())
        .and(upgrade())
        .map(move |headers: HeaderMap, upgrade: Upgrade| {
            let (pod, permit) = (pod.clone(), permit.clone());
            match allow(&pod, &headers, READERS, None) {
                // Each listener costs the pod something: it counts as a connection to its end.
                Ok(_) => upgrade.accept(MAX, move |socket| async move {
                    tell(pod, socket).await;
                    drop(permit);
                }),
                Err(error) => refuse(&pod, error),
            }
        })
        .boxed()
}

/// Tells until the client goes or the pod ends.
async fn tell(pod: Pod, mut socket: Box<dyn Socket>) {
    let mut changes = pod.changes();
    let mut told = String::new();
    let mut told_at = Instant::now();
    loop {
        changes.mark_unchanged();
        let event = Event::Status {
            status: Box::new(status(&pod)),
        };
        let Ok(text) = serde_json::to_string(&event) else {
            return;
        };
        let packet = if text != told || told_at.elapsed() >= SELDOM {
            told.clone_from(&text);
            told_at = Instant::now();
            Packet::Text(text)
        } else {
            Packet::Pong
        };
        match timeout(PATIENCE, socket.send(packet)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return,
        }
        let next = Instant::now() + OFTEN;
        loop {
            tokio::select! {
                _ = changes.changed() => {
                    sleep(TOGETHER).await;
                    break;
                }
                () = sleep_until(next) => break,
                () = pod.stopped() => {
                    let _ = timeout(TOGETHER, socket.send(Packet::close_final("the pod stops"))).await;
                    return;
                }
                packet = socket.next() => match packet {
                    Some(Ok(Packet::Ping | Packet::Pong)) => {}
                    // Whatever a client says here, it has nothing to say.
                    _ => return,
                },
            }
        }
    }
}
