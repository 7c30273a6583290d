//! `mafalda-worker`, the relay: a mediasoup application runs it as its worker
//! (`MEDIASOUP_WORKER_BIN` or `createWorker({ workerBin })`), and the real worker runs in the media
//! pod that `MAFALDA_URL` names.

mod channel;
mod check;
mod end;

use mafalda_link::client::{ConnectError, Target};
use mafalda_link::{End, LinkError, Start, Timing, drive};
use std::collections::BTreeMap;
use std::time::Duration;

/// What mediasoup's own worker exits with when `MEDIASOUP_VERSION` is missing.
const EXIT_NO_VERSION: i32 = 41;
/// Ours: the pod cannot be reached, refuses, or was lost for longer than the grace time.
const EXIT_NO_POD: i32 = 50;

/// Arguments whose value is the path of a file on the application's host.
const FILE_ARGUMENTS: [&str; 2] = ["--dtlsCertificateFile", "--dtlsPrivateKeyFile"];

const USAGE: &str = "\
mafalda-worker: runs a mediasoup worker in a media pod. It is not started by hand: an application
names it in MEDIASOUP_WORKER_BIN or createWorker({ workerBin }). It reads

  MAFALDA_URL    where the pod is: ws[s]://host:port (default ws://127.0.0.1:4400)
  MAFALDA_TOKEN  the token that the pod asks for (`mafalda token` makes one)
  MAFALDA_CA     a PEM file of authorities to trust, for wss (default: the system's)

  --check        tries the connection with these settings and says what is wrong
  --help, --version";

/// What ended the relay other than the worker's own end.
#[derive(Debug, thiserror::Error)]
enum RelayError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error("file descriptors 3 and 4 are not what mediasoup gives its worker: {0}")]
    Descriptors(std::io::Error),
}

fn start() -> Start {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let files: BTreeMap<String, String> = args
        .iter()
        .filter_map(|argument| argument.split_once('='))
        .filter(|(name, _)| FILE_ARGUMENTS.contains(name))
        // One that cannot be read stays out: the worker then refuses its settings, as it would here.
        .filter_map(|(name, path)| Some((name.to_owned(), std::fs::read_to_string(path).ok()?)))
        .collect();
    Start {
        pid: std::process::id(),
        args,
        files,
    }
}

async fn relay(version: String) -> Result<mafalda_link::Exit, RelayError> {
    end::ignore_signals();
    let target = Target::from_env(version)?;
    let (socket, welcome, mut reconnect) = target.connect(start()).await?;
    let timing = Timing::with_grace(Duration::from_secs(welcome.grace_seconds));
    let (mut source, mut sink) =
        channel::open(welcome.max_frame).map_err(RelayError::Descriptors)?;
    let window = welcome.window;
    match drive(
        &mut source,
        &mut sink,
        &mut reconnect,
        socket,
        window,
        timing,
    )
    .await?
    {
        End::Exit(exit) => Ok(exit),
        End::Settled => unreachable!("the relay's source never ends"),
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
        Ok(runtime) => runtime.block_on(relay(version)),
        Err(error) => Err(RelayError::Descriptors(error)),
    };
    match result {
        Ok(exit) => end::as_worker(exit),
        Err(error) => {
            eprintln!("mafalda-worker: {error}");
            std::process::exit(EXIT_NO_POD);
        }
    }
}
