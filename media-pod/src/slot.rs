//! Keeps one worker process alive and serves one connection after another with it.

use crate::connection::{self, Claim};
use crate::pod::{Pod, SlotState};
use crate::process::WorkerProcess;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::time::sleep;

/// A process that lived shorter than this on standby is not replaced at once: something is wrong.
const SHORT_LIFE: Duration = Duration::from_secs(1);

/// The pause before a process that lived short is replaced, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// What a process on standby met with.
enum Next {
    Claim(Box<Claim>, Box<WorkerProcess>),
    Died,
    PodStops,
}

/// Runs until the pod stops; a slot that is not `permanent`, until its connection has ended.
pub async fn run(
    pod: Pod,
    index: usize,
    permanent: bool,
    mut claims: mpsc::UnboundedReceiver<Claim>,
) {
    let mut pause = PAUSE.0;
    loop {
        let begin = Instant::now();
        match standby(&pod, index, &mut claims).await {
            Next::Claim(claim, process) => {
                connection::serve(&pod, index, *process, *claim).await;
                if !permanent {
                    break;
                }
                pause = PAUSE.0;
            }
            Next::Died => {
                pod.with_slot(index, |slot| {
                    slot.state = SlotState::Starting;
                    slot.pid = None;
                    slot.restarts += 1;
                });
                if begin.elapsed() < SHORT_LIFE {
                    sleep(pause).await;
                    pause = (pause * 2).min(PAUSE.1);
                }
            }
            Next::PodStops => break,
        }
    }
    pod.remove_slot(index);
}

async fn standby(pod: &Pod, index: usize, claims: &mut mpsc::UnboundedReceiver<Claim>) -> Next {
    let program = &pod.config().worker_program;
    let mut process = match WorkerProcess::start(program) {
        Ok(process) => process,
        Err(error) => {
            tracing::error!(worker = index, program = %program.display(), %error, "no worker");
            return Next::Died;
        }
    };
    let pid = process.pid;
    tracing::debug!(worker = index, pid, "worker on standby");
    pod.with_slot(index, |slot| {
        slot.state = SlotState::Idle;
        slot.pid = Some(pid);
    });
    tokio::select! {
        biased;
        status = process.child.wait() => {
            let how = status.map_or_else(|error| error.to_string(), |status| status.to_string());
            tracing::warn!(worker = index, pid, how, "a worker on standby died");
            pod.metrics().worker_deaths.inc();
            Next::Died
        }
        () = pod.stopped() => Next::PodStops,
        claim = claims.recv() => match claim {
            Some(claim) => Next::Claim(Box::new(claim), Box::new(process)),
            None => Next::PodStops,
        },
    }
}
