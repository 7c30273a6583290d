//! Carries a connection to its end.

use super::resume::Sockets;
use crate::pod::{Place, Pod};
use mafalda_link::{End, Exit, LinkError, Sink, Socket, Source, Timing, drive};
use std::time::Duration;
use tokio::time::timeout;

/// How long a worker may take to end by itself once its connection is over.
const END: Duration = Duration::from_secs(2);

/// A worker as the source of a connection's frames.
pub trait Worker: Source {
    /// How it ended, if it has.
    fn exit(&self) -> Option<Exit>;

    /// Gives it this long to end by itself, then ends it.
    fn end_within(self, time: Duration) -> impl Future<Output = ()> + Send;
}

/// Carries the connection to its end, and the worker's too. `stop` asks the worker to end.
pub async fn carry(
    pod: Pod,
    place: Place,
    socket: Box<dyn Socket>,
    mut dial: Sockets,
    (mut from_worker, mut to_worker): (impl Worker, impl Sink),
    stop: impl FnOnce(),
) {
    let id = dial.id().to_owned();
    let (window, timing) = (pod.config().window, Timing::with_grace(pod.config().grace));
    let connection = drive(
        &mut from_worker,
        &mut to_worker,
        &mut dial,
        socket,
        window,
        timing,
    );
    let result = until_stopped(&pod, stop, connection).await;
    pod.remove_connection(&id);
    report(&pod, place, &id, &result, from_worker.exit());
    // A worker whose requests end closes what it carries, and itself.
    drop(to_worker);
    from_worker.end_within(END).await;
}

/// Runs the connection; once the pod stops, the worker is told to end and soon after made to.
async fn until_stopped(
    pod: &Pod,
    stop: impl FnOnce(),
    connection: impl Future<Output = Result<End, LinkError>>,
) -> Result<End, LinkError> {
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        result = &mut connection => return result,
        () = pod.stopped() => {}
    }
    stop();
    match timeout(END, connection).await {
        Ok(result) => result,
        Err(_) => Err(LinkError::Closed("the pod stops".into())),
    }
}

fn report(
    pod: &Pod,
    place: Place,
    connection: &str,
    result: &Result<End, LinkError>,
    exit: Option<Exit>,
) {
    match (exit, result) {
        (Some(Exit::Code(code)), _) => {
            tracing::info!(worker = %place, connection, code, "worker ended");
        }
        (Some(Exit::Signal(signal)), _) => {
            tracing::warn!(worker = %place, connection, signal, "worker died");
            if let Place::Worker(index) = place {
                pod.metrics().worker_deaths.inc();
                pod.with_slot(index, |slot| slot.restarts += 1);
            }
        }
        (None, Err(error @ LinkError::Lost { .. })) => {
            tracing::warn!(worker = %place, connection, %error, "connection lost");
            pod.metrics().lost.inc();
        }
        // Its application took its leave, or the pod does.
        (None, Err(LinkError::Closed(reason))) => {
            tracing::info!(worker = %place, connection, reason, "connection closed");
        }
        (None, Err(error)) => {
            tracing::warn!(worker = %place, connection, %error, "connection ended");
        }
        (None, Ok(_)) => {}
    }
}
