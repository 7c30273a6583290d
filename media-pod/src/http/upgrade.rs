//! The WebSocket upgrade. warp's own does not let the read buffer be set, which is most of a small
//! message's cost.

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use mafalda_link::{Socket, adapt, counted, websocket_config};
use std::future::Future;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;
use warp::filters::BoxedFilter;
use warp::http::{HeaderMap, StatusCode, header};
use warp::reply::{Reply, Response};
use warp::{Filter, Rejection};

/// A request that may become a WebSocket.
pub struct Upgrade {
    on_upgrade: OnUpgrade,
    accept: String,
}

/// The request is not one for a WebSocket.
#[derive(Debug)]
struct NoWebSocket;

impl warp::reject::Reject for NoWebSocket {}

/// Takes requests for a WebSocket of version 13 (RFC 6455, section 4.2.1), rejects others.
pub fn upgrade() -> BoxedFilter<(Upgrade,)> {
    warp::header::headers_cloned()
        .and(warp::ext::optional::<OnUpgrade>())
        .and_then(
            |headers: HeaderMap, on_upgrade: Option<OnUpgrade>| async move {
                let is = |name, value: &str| {
                    let found = headers.get(name).and_then(|found| found.to_str().ok());
                    found.is_some_and(|found| {
                        found
                            .split(',')
                            .any(|part| part.trim().eq_ignore_ascii_case(value))
                    })
                };
                let key = headers.get(header::SEC_WEBSOCKET_KEY);
                match (on_upgrade, key) {
                    (Some(on_upgrade), Some(key))
                        if is(header::CONNECTION, "upgrade")
                            && is(header::UPGRADE, "websocket")
                            && is(header::SEC_WEBSOCKET_VERSION, "13") =>
                    {
                        Ok(Upgrade {
                            on_upgrade,
                            accept: derive_accept_key(key.as_bytes()),
                        })
                    }
                    _ => Err::<_, Rejection>(warp::reject::custom(NoWebSocket)),
                }
            },
        )
        .boxed()
}

impl Upgrade {
    /// Accepts, and hands the socket to `then`. `max_message` bytes are the largest message taken.
    pub fn accept<F>(
        self,
        max_message: usize,
        then: impl FnOnce(Box<dyn Socket>) -> F + Send + 'static,
    ) -> Response
    where
        F: Future<Output = ()> + Send,
    {
        let on_upgrade = self.on_upgrade;
        tokio::spawn(async move {
            match on_upgrade.await {
                Ok(upgraded) => {
                    let (io, came) = counted(TokioIo::new(upgraded));
                    let config = websocket_config(Some(max_message));
                    let socket =
                        WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
                    then(Box::new(adapt(socket, came))).await;
                }
                Err(error) => tracing::debug!(%error, "a WebSocket upgrade broke"),
            }
        });
        let headers = [
            (header::CONNECTION, "upgrade"),
            (header::UPGRADE, "websocket"),
            (header::SEC_WEBSOCKET_ACCEPT, self.accept.as_str()),
        ];
        let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
        for (name, value) in headers {
            // Base64 and words are fine in a header.
            if let Ok(value) = value.parse() {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}
