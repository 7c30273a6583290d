//! Accepts HTTP connections and serves them until the gateway stops.

use crate::announce::announce;
use crate::gateway::Gateway;
use crate::http::answer;
use crate::lending::lend;
use crate::listen::listen;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use mafalda_media_pod::{Certificate, Shutdown, tune};
use std::convert::Infallible;
use std::future::Future;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// How long a client may take for its TLS handshake, or for the headers of a request. An idle
/// connection is closed after it too.
const HEADERS: Duration = Duration::from_secs(10);

/// What a request's headers may have, in bytes.
const MAX_HEADERS: usize = 64 * 1024;

/// Runs the gateway on a listener until it is told to stop. `source` says which nodes there are.
///
/// # Errors
/// The TLS files cannot be used.
pub async fn run(
    gateway: Gateway,
    listener: TcpListener,
    source: impl Future<Output = ()> + Send + 'static,
    shutdown: Shutdown<impl Future<Output = ()>, impl Future<Output = ()>>,
) -> io::Result<()> {
    let tls = gateway.config().tls.clone().map(Certificate::read);
    let tls = tls.transpose().map_err(io::Error::other)?;
    // All of them end with this function.
    let mut tasks = JoinSet::new();
    tasks.spawn(source);
    tasks.spawn(listen(gateway.clone()));
    if !gateway.config().kubernetes {
        tasks.spawn(announce(gateway.clone()));
        tasks.spawn(lend(gateway.clone()));
    }
    tasks.spawn(accept(gateway.clone(), listener, tls));
    let gentle = async {
        shutdown.gentle.await;
        gateway.retire();
        let wait = gateway.config().stop_after;
        tracing::info!(
            seconds = wait.as_secs(),
            "stopping, new clients go elsewhere"
        );
        sleep(wait).await;
    };
    tokio::select! {
        () = gentle => {}
        () = shutdown.now => {}
    }
    tracing::info!("stopped");
    Ok(())
}

async fn accept(gateway: Gateway, listener: TcpListener, mut tls: Option<Certificate>) {
    let permits = Arc::new(Semaphore::new(gateway.config().max_connections));
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, most likely: others may be closed in a moment.
                tracing::warn!(%error, "cannot accept a connection");
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(permit) = permits.clone().try_acquire_owned() else {
            gateway.metrics().count_refusal("tooManyConnections");
            turn_away(stream);
            continue;
        };
        tune(&stream);
        let gateway = gateway.clone();
        match &mut tls {
            None => drop(tokio::spawn(serve(stream, gateway, permit))),
            Some(tls) => {
                let handshake = tls.acceptor().accept(stream);
                tokio::spawn(async move {
                    match timeout(HEADERS, handshake).await {
                        Ok(Ok(stream)) => serve(stream, gateway, permit).await,
                        Ok(Err(error)) => tracing::debug!(%peer, %error, "TLS handshake failed"),
                        Err(_) => tracing::debug!(%peer, "TLS handshake took too long"),
                    }
                });
            }
        }
    }
}

/// Says that there are too many connections, without waiting for anything.
fn turn_away(stream: TcpStream) {
    let body = "{\"error\":{\"code\":\"tooManyConnections\",\
                \"message\":\"this gateway has as many connections as it takes (--max-connections)\"}}";
    let response = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    // A fresh socket's buffer takes this at once; a client that is gone needs no answer.
    if let Ok(mut stream) = stream.into_std() {
        let _ = stream.write(response.as_bytes());
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    gateway: Gateway,
    permit: OwnedSemaphorePermit,
) {
    let permit = Arc::new(permit);
    let service = service_fn(|request| {
        let (gateway, permit) = (gateway.clone(), permit.clone());
        async move { Ok::<_, Infallible>(answer(gateway, request, permit).await) }
    });
    let result = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .max_buf_size(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
    if let Err(error) = result {
        tracing::debug!(%error, "an HTTP connection broke");
    }
}

/// The address in a URL, for the log line that others look for.
pub fn base_url(gateway: &Gateway, address: SocketAddr) -> String {
    let scheme = match gateway.config().tls {
        Some(_) => "https",
        None => "http",
    };
    format!("{scheme}://{address}")
}
