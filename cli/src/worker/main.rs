//! `mafalda-worker`, the relay: a mediasoup application runs it as its worker
//! (`MEDIASOUP_WORKER_BIN` or `createWorker({ workerBin })`), and the real worker runs in the media
//! pod that `MAFALDA_URL` names.

mod channel;
mod check;
mod end;
mod horizontal;
mod pods;
mod settings;

use channel::Descriptors;
use horizontal::SpanError;
use mafalda_link::client::{
    ClientError, EXIT_NO_POD, Target, connect, hand_over, pod_gone, start, url_from_env,
};
use mafalda_link::{End, Exit, Timing, drive};
use pods::{Pods, Said};
use std::time::Duration;

/// What mediasoup's own worker exits with when `MEDIASOUP_VERSION` is missing.
const EXIT_NO_VERSION: i32 = 41;

const USAGE: &str = "\
mafalda-worker: runs a mediasoup worker in a media pod. It is not started by hand: an application
names it in MEDIASOUP_WORKER_BIN or createWorker({ workerBin }). It reads

  MAFALDA_URL    where the pod is: ws[s]://host:port (default ws://127.0.0.1:4400). Several, with
                 commas between, or a host name with several addresses: the worker spans the
                 workers of all those pods. If they lend none, as gateways do, or the URL has a
                 path, the addresses of a name are tried in turn, later too
  MAFALDA_MODE   `virtual`: a worker that spans all of the pod's; `real`: one process of its own
                 (default: as the pod is set, virtual). The path of MAFALDA_URL says it too:
                 ws://host:port/v1/worker/virtual or …/real
  MAFALDA_PLACEMENT  with several pods: `pack` (as few workers as carry the load, default) or
                 `spread` (one after the other)
  MAFALDA_WATERMARK  with several pods: the share of a core above which nothing new is placed on
                 a worker while another has room (0.01 to 1, default 0.6)
  MAFALDA_PIPE_SRTP, MAFALDA_PIPE_RTX
                 with several pods: `off` (default), `pods` or `on`: encrypt, and send again what is
                 lost, in no pipe between workers, in those from pod to pod, or in all
  MAFALDA_PIPE_DEPTH, MAFALDA_PIPE_FAN_OUT
                 with several pods: pipes between a producer and its farthest copy (default 3), and
                 copies of it that one worker feeds (default 8), at most; 1 to 255
  MAFALDA_TOKEN  the token that the pod asks for (`mafalda token` makes one; default none)
  MAFALDA_URL_FILE, MAFALDA_TOKEN_FILE
                 files with these, read when a worker is made, instead of the variables. Pods that
                 the file names later are used from then on, those that it names no more are not;
                 one is enough to begin with. With a session's URL (ws[s]://host:port/v1/sessions/name)
                 a new worker waits for up to two minutes, while the pod there is away or does not have
                 the session (any more), until the file names another
  MAFALDA_CA     a PEM file of authorities to trust, for wss (default: the system's)
  MAFALDA_HAND_OVER  `off`: go through this process also to a pod on the same host (default on)

  --check        tries the connection with these settings and says what is wrong
  --help, --version";

/// Why there is no worker.
#[derive(Debug, thiserror::Error)]
enum RelayError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Span(#[from] SpanError),
}

async fn run(version: String) -> Result<Exit, RelayError> {
    end::ignore_signals();
    let descriptors = Descriptors::open().map_err(ClientError::Io)?;
    let text = url_from_env().map_err(ClientError::Connect)?;
    let mut looks = Pods::default();
    let pods = looks.first(&text, &version, said()).await;
    match pods.map_err(ClientError::Connect)? {
        Some(pods) => {
            let target =
                Target::from_env_of(&pods[0].url, version).map_err(ClientError::Connect)?;
            Ok(horizontal::run(pods, looks, descriptors, target).await?)
        }
        None => Ok(relay(version, descriptors).await?),
    }
}

/// What the environment says beside the pods' URLs.
fn said() -> Said {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    Said {
        in_a_file: is_set("MAFALDA_URL_FILE"),
        real: std::env::var("MAFALDA_MODE").is_ok_and(|mode| mode == "real"),
    }
}

/// Connects the application with one pod.
async fn relay(version: String, descriptors: Descriptors) -> Result<Exit, ClientError> {
    let start = start(std::env::args().skip(1).collect());
    let (mut socket, welcome, mut reconnect) = connect(&version, start).await?;
    let pod = hand_over(&mut socket, &welcome, descriptors.ends())
        .await
        .map_err(ClientError::Broken)?;
    // Those that the pod has are closed here, or each message would wake this process too.
    let descriptors = Some(descriptors).filter(|_| pod.is_none());
    let (mut source, mut sink) = channel::open(descriptors, welcome.max_frame)?;
    let timing = Timing::with_grace(Duration::from_secs(welcome.grace_seconds));
    let window = welcome.window;
    let (source, sink) = (&mut source, &mut sink);
    tokio::select! {
        end = drive(source, sink, &mut reconnect, socket, window, timing) => match end? {
            End::Exit(exit) => Ok(exit),
            End::Settled => unreachable!("the relay's source never ends"),
        },
        gone = pod_gone(pod) => Err(gone.map_or_else(ClientError::Io, |()| ClientError::PodGone)),
    }
}

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("--check") => return check::run(),
        Some("--help" | "-h") => return println!("{USAGE}"),
        Some("--version" | "-V") => {
            return println!("mafalda-worker {}", env!("CARGO_PKG_VERSION"));
        }
        _ => {}
    }
    let Ok(version) = std::env::var("MEDIASOUP_VERSION") else {
        eprintln!("MEDIASOUP_VERSION is not set: mediasoup starts this program\n\n{USAGE}");
        std::process::exit(EXIT_NO_VERSION);
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(run(version)),
        Err(error) => Err(ClientError::Io(error).into()),
    };
    match result {
        Ok(exit) => end::as_worker(exit),
        Err(error) => {
            eprintln!("mafalda-worker: {error}");
            std::process::exit(EXIT_NO_POD);
        }
    }
}
