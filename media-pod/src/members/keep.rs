//! Keeps one member's process alive.

use super::outbox::Outbox;
use super::{Member, Members, Process, Way, next_member_id};
use crate::ListenInfos;
use crate::connection::Messages;
use crate::listen_infos::Rewriter;
use crate::pod::{Pod, SlotState};
use crate::process::{Orders, WorkerProcess, exit_of, send_signal};
use crate::rtc_addresses::{addresses, rtc_port_is_free};
use crate::translate::Translator;
use bytes::Bytes;
use mafalda_channel::MAX_MESSAGE;
use mafalda_link::{Exit, Frame};
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::Child;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{interval, sleep, timeout};

/// A process that lived shorter than this is not replaced at once: something is wrong.
const SHORT_LIFE: Duration = Duration::from_secs(1);

/// The pause before such a process is replaced, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// How long a process may take to end by itself when the pod stops.
const END: Duration = Duration::from_secs(2);

/// A process that takes nothing of what it is sent for this long is stuck, and killed.
const STUCK: Duration = Duration::from_secs(10);

/// How many bytes of output are read at once.
const READ: usize = 16 * 1024;

/// What is kept running, and for whom.
pub struct Kept {
    /// The slot of the process.
    pub slot: usize,
    /// mediasoup's version, as the process is told.
    pub version: String,
    /// Arguments of the process.
    pub args: Vec<String>,
    /// Where its standard output and error go: to the application whose own it is, else to the log.
    pub output: Option<mpsc::Sender<Frame>>,
}

/// Runs the process and those that replace it, until the pod stops or the group has no use for it.
pub async fn keep(pod: &Pod, group: &Arc<Members>, kept: Kept, stop: impl Future<Output = ()>) {
    let mut stop = std::pin::pin!(stop);
    let mut pause = PAUSE.0;
    let mut before: Option<(Arc<Member>, Exit)> = None;
    loop {
        let begin = Instant::now();
        let started = start(pod, group, &kept);
        if let Ok((new, ..)) = &started {
            // First the new one: a virtual worker whose last member died goes on with it.
            group.add(new);
        }
        if let Some((dead, exit)) = before.take() {
            group.remove(&dead, exit);
        }
        match started {
            Ok((member, mut process)) => {
                pod.with_slot(kept.slot, |slot| {
                    slot.state = SlotState::Member {
                        inventory: member.inventory(),
                        on_range: process.on_range.clone(),
                    };
                    slot.pid = Some(process.pid);
                });
                let exit = tokio::select! {
                    exit = ended(&mut process, kept.slot) => exit,
                    () = &mut stop => {
                        end(&mut process).await;
                        group.remove(&member, Exit::Code(0));
                        break;
                    }
                };
                pod.with_slot(kept.slot, |slot| {
                    slot.state = SlotState::Starting;
                    slot.pid = None;
                    slot.cpu = 0.0;
                    slot.restarts += 1;
                });
                let (worker, pid) = (kept.slot, process.pid);
                if !group.are_shared() && !member.is_running() {
                    // It refuses its settings, as the next one would.
                    tracing::info!(worker, pid, ?exit, "worker ended before it ran");
                    group.remove(&member, exit);
                    break;
                }
                tracing::warn!(worker, pid, ?exit, "worker died, replacing it");
                pod.metrics().worker_deaths.inc();
                before = Some((member, exit));
            }
            Err(error) => {
                let program = pod.config().worker_program.display();
                tracing::error!(worker = kept.slot, %program, %error, "no worker");
            }
        }
        if begin.elapsed() >= SHORT_LIFE {
            pause = PAUSE.0;
            continue;
        }
        if let Some((dead, exit)) = before.take() {
            group.remove(&dead, exit);
        }
        tokio::select! {
            () = sleep(pause) => pause = (pause * 2).min(PAUSE.1),
            () = &mut stop => break,
        }
    }
    pod.remove_slot(kept.slot);
}

/// A running process.
struct Running {
    pid: u32,
    child: Child,
    /// It uses ports of the range, as its own is taken.
    on_range: Arc<AtomicBool>,
    /// Where its messages go.
    outbox: Outbox,
    /// Told when all its messages were handed on.
    silent: oneshot::Receiver<()>,
    /// Ends when all it wrote was handed on.
    output: JoinHandle<()>,
}

fn start(pod: &Pod, group: &Arc<Members>, kept: &Kept) -> io::Result<(Arc<Member>, Running)> {
    let config = pod.config();
    let mut process = WorkerProcess::start(&config.worker_program)?;
    let pid = process.pid;
    process.give_orders(&Orders {
        version: &kept.version,
        pid,
        args: &kept.args,
    })?;
    let rewriter = (config.listen_infos == ListenInfos::Pod).then(|| {
        let addresses = addresses(config, kept.slot);
        Rewriter::new(addresses, rtc_port_is_free).for_members()
    });
    let on_range = rewriter.as_ref().map(Rewriter::on_range);
    let translator = Translator::new(rewriter, Arc::default());
    let outbox = Outbox::new(process.requests.into_std()?)?;
    let member = Arc::new(Member::of_process(
        next_member_id(),
        Process {
            slot: kept.slot,
            pid,
        },
        pod.identity().locality(),
        translator,
        Way::Process(outbox.clone()),
    ));
    let responses = process.responses.into_std()?;
    responses.set_nonblocking(false)?;
    let (silent, is_silent) = oneshot::channel();
    let (reading, group) = (member.clone(), group.clone());
    std::thread::Builder::new()
        .name(format!("worker {}", kept.slot))
        .spawn(move || {
            read(responses, &reading, &group, pid);
            // Whoever waited for it may have given up.
            let _ = silent.send(());
        })?;
    let output = |is_error| Output {
        worker: kept.slot,
        application: kept.output.clone(),
        is_error,
    };
    let lines = [output(false), output(true)];
    let (stdout, stderr) = (process.stdout, process.stderr);
    let output = tokio::spawn(async move {
        let [of_stdout, of_stderr] = lines;
        tokio::join!(of_stdout.carry(stdout), of_stderr.carry(stderr));
    });
    let process = Running {
        pid,
        child: process.child,
        on_range: on_range.unwrap_or_default(),
        outbox,
        silent: is_silent,
        output,
    };
    Ok((member, process))
}

/// Where what a process writes goes, line by line.
struct Output {
    worker: usize,
    application: Option<mpsc::Sender<Frame>>,
    is_error: bool,
}

impl Output {
    async fn carry(self, from: impl AsyncRead + Unpin) {
        // A worker's lines are short; one without an end is handed on in parts.
        let mut reader = BufReader::with_capacity(READ, from);
        loop {
            let text = match reader.fill_buf().await {
                Ok([]) | Err(_) => return,
                Ok(text) => match text.iter().rposition(|byte| *byte == b'\n') {
                    Some(end) => Bytes::copy_from_slice(&text[..=end]),
                    None => Bytes::copy_from_slice(text),
                },
            };
            reader.consume(text.len());
            self.hand_on(text).await;
        }
    }

    async fn hand_on(&self, text: Bytes) {
        let Some(application) = &self.application else {
            let text = String::from_utf8_lossy(&text);
            for line in text.lines() {
                tracing::warn!(worker = self.worker, "{line}");
            }
            return;
        };
        let frame = match self.is_error {
            true => Frame::Stderr(text),
            false => Frame::Stdout(text),
        };
        // An application that is gone reads nothing.
        let _ = application.send(frame).await;
    }
}

/// Reads what a process says until it says no more.
fn read(from: UnixStream, member: &Member, group: &Members, pid: u32) {
    let mut messages = Messages::new(from, MAX_MESSAGE);
    let problem: Box<dyn std::error::Error> = loop {
        match messages.next() {
            Ok(Some(batch)) => {
                if let Err(error) = group.receive(member, batch) {
                    break error.into();
                }
            }
            Ok(None) => return,
            Err(error) => break error.into(),
        }
    };
    tracing::error!(pid, %problem, "a worker's channel broke: it is killed");
    let _ = send_signal(pid, rustix::process::Signal::KILL.as_raw() as u8);
}

/// Waits until the process has ended and all it said was handed on. One that is stuck is killed.
async fn ended(process: &mut Running, worker: usize) -> Exit {
    let (pid, child) = (process.pid, &mut process.child);
    let mut checks = interval(Duration::from_secs(1));
    let status = loop {
        tokio::select! {
            status = child.wait() => break status,
            _ = checks.tick() => {
                let since = process.outbox.stuck_since();
                if since.is_some_and(|since| since.elapsed() > STUCK) {
                    tracing::error!(worker, pid, "a worker takes no messages: it is killed");
                    let _ = child.start_kill();
                }
            }
        }
    };
    // Its last words are read already, or lie in a socket that nobody writes to any more. An
    // application that reads nothing shall not hold up the others.
    let last_words = async { tokio::join!(&mut process.silent, &mut process.output) };
    let _ = timeout(END, last_words).await;
    status.map_or(Exit::Code(-1), exit_of)
}

/// Ends a process that is not needed any more.
async fn end(process: &mut Running) {
    process.outbox.close();
    if timeout(END, process.child.wait()).await.is_err() {
        // Fails only if it has ended.
        let _ = process.child.kill().await;
    }
}
