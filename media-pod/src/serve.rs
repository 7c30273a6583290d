//! Accepts HTTP connections and serves them until the pod stops.

use crate::cpu::CpuSampler;
use crate::http;
use crate::lending::keep_borrowing;
use crate::listening::plain;
use crate::pod::Pod;
use crate::tls::Certificate;
use crate::tune::tune;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::future::Future;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use warp::filters::BoxedFilter;
use warp::reply::Response;

/// How long a client may take for its TLS handshake, or for the headers of a request. An idle
/// connection is closed after it too.
const HEADERS: Duration = Duration::from_secs(10);

/// What makes a pod stop.
pub struct Shutdown<Gentle, Now> {
    /// Take no new workers; stop when the running ones have ended, or at the deadline.
    pub gentle: Gentle,
    /// Stop at once.
    pub now: Now,
}

/// Runs the pod on a listener until it is told to stop.
///
/// # Errors
/// The TLS files cannot be used.
pub async fn run(
    pod: Pod,
    listener: TcpListener,
    shutdown: Shutdown<impl Future<Output = ()>, impl Future<Output = ()>>,
) -> io::Result<()> {
    let tls = pod.config().tls.clone().map(Certificate::read).transpose();
    let tls = tls.map_err(io::Error::other)?;
    pod.start_workers();
    tokio::spawn(each_second(pod.clone()));
    let borrowing = keep_borrowing(pod.members().clone(), pod.config().borrows());
    tokio::spawn(borrowing);
    let accepting = tokio::spawn(accept(pod.clone(), listener, tls));
    let gentle = async {
        shutdown.gentle.await;
        pod.retire();
        let seconds = pod.config().stop_after.as_secs();
        tracing::info!(
            connections = pod.connections(),
            seconds,
            "stopping, no new workers"
        );
        let empty = async {
            while !pod.is_unused() {
                sleep(Duration::from_millis(100)).await;
            }
        };
        let _ = timeout(pod.config().stop_after, empty).await;
    };
    tokio::select! {
        () = gentle => {}
        () = shutdown.now => {}
    }
    pod.retire();
    pod.stop();
    // Each slot ends its worker and goes.
    let ended = async {
        while !pod.each_slot(|_, _| ()).is_empty() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    let _ = timeout(Duration::from_secs(6), ended).await;
    accepting.abort();
    tracing::info!("stopped");
    Ok(())
}

/// Samples what CPU time workers take, and tells virtual workers of that and of the time.
async fn each_second(pod: Pod) {
    let mut sampler = CpuSampler::default();
    let mut ticks = interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let pids: Vec<u32> = pod
            .each_slot(|_, slot| slot.pid)
            .into_iter()
            .flatten()
            .collect();
        let shares = sampler.sample(&pids);
        for (index, pid) in pod.each_slot(|index, slot| (index, slot.pid)) {
            let share = pid.and_then(|pid| shares.get(&pid)).copied();
            pod.with_slot(index, |slot| slot.cpu = share.unwrap_or(0.0));
        }
        for group in pod.groups() {
            group.on_second(&shares);
        }
    }
}

async fn accept(pod: Pod, listener: TcpListener, mut tls: Option<Certificate>) {
    let permits = Arc::new(Semaphore::new(pod.config().max_connections));
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
            pod.metrics().count_refusal("tooManyConnections");
            turn_away(stream);
            continue;
        };
        tune(&stream);
        let peer = plain(peer);
        let permit = Arc::new(permit);
        let routes = http::routes(pod.clone(), peer, &permit);
        match &mut tls {
            None => drop(tokio::spawn(serve(stream, routes, permit))),
            Some(tls) => {
                let handshake = tls.acceptor().accept(stream);
                tokio::spawn(async move {
                    match timeout(HEADERS, handshake).await {
                        Ok(Ok(stream)) => serve(stream, routes, permit).await,
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
                \"message\":\"this pod has as many connections as it takes (--max-connections)\"}}";
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
    routes: BoxedFilter<(Response,)>,
    _permit: Arc<OwnedSemaphorePermit>,
) {
    let result = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .max_buf_size(64 * 1024)
        .serve_connection(
            TokioIo::new(stream),
            TowerToHyperService::new(warp::service(routes)),
        )
        .with_upgrades()
        .await;
    if let Err(error) = result {
        tracing::debug!(%error, "an HTTP connection broke");
    }
}

/// The address in a URL, for the log line that others look for.
pub fn base_url(pod: &Pod, address: SocketAddr) -> String {
    let scheme = match pod.config().tls {
        Some(_) => "https",
        None => "http",
    };
    format!("{scheme}://{address}")
}
