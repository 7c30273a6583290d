//! `mafalda drain`: a media pod on this machine takes nothing new any more, and is waited for until nobody
//! uses it. What Kubernetes runs before it ends a media pod (`preStop`).
//!
//! Pod and command meet at a Unix socket that only the pod's user may open. Whoever connects has said what
//! there is to say; the connection ends when nobody uses the pod.

use mafalda_media_pod::Pod;
use std::error::Error;
use std::fs::{self, Permissions};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

/// How often it is looked whether somebody uses the pod.
const LOOK: Duration = Duration::from_millis(100);
/// What the answer of a pod may take that nobody uses.
const MOMENT: Duration = Duration::from_secs(1);

/// Arguments of `mafalda drain`.
#[derive(clap::Args)]
pub struct Arguments {
    /// The socket that the pod was given as --drain-socket.
    #[arg(long)]
    socket: PathBuf,
    /// How long to wait until nobody uses the pod, in seconds.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(0..=24 * 60 * 60))]
    deadline: u64,
}

/// Why a pod is not empty.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("--socket {0}: {1} (does a pod run with this --drain-socket?)")]
    NoPod(PathBuf, std::io::Error),
    #[error("the pod is still in use after {0} s")]
    Late(u64),
}

/// Drains a pod.
pub fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    Ok(runtime.block_on(drain(arguments))?)
}

async fn drain(arguments: &Arguments) -> Result<(), Failure> {
    let no_pod = |error| Failure::NoPod(arguments.socket.clone(), error);
    let limit = Duration::from_secs(arguments.deadline).max(MOMENT);
    let mut pod = UnixStream::connect(&arguments.socket)
        .await
        .map_err(no_pod)?;
    match timeout(limit, pod.read(&mut [0])).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(no_pod(error)),
        Err(_) => Err(Failure::Late(arguments.deadline)),
    }
}

/// Where a pod hears that it is to drain and end.
pub struct Socket(UnixListener);

impl Socket {
    /// Makes it, for this user alone.
    ///
    /// # Errors
    /// There is something else of that name, or the folder may not be written.
    pub fn bind(path: &Path) -> Result<Self, String> {
        let wrong = |error: std::io::Error| format!("--drain-socket {}: {error}", path.display());
        // That of a process before this one.
        if fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
            fs::remove_file(path).map_err(wrong)?;
        }
        let listener = UnixListener::bind(path).map_err(wrong)?;
        fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(wrong)?;
        Ok(Self(listener))
    }

    /// Lets the pod take nothing new as soon as somebody asks for it, and lets those go who asked when
    /// nobody uses the pod. `asked` becomes true.
    pub async fn keep(self, pod: Pod, asked: watch::Sender<bool>) {
        loop {
            let Ok((waits, _)) = self.0.accept().await else {
                // Out of descriptors, most likely.
                sleep(LOOK).await;
                continue;
            };
            tracing::info!("draining: this pod is about to end");
            pod.retire();
            asked.send_replace(true);
            let pod = pod.clone();
            tokio::spawn(async move {
                while !pod.is_unused() {
                    sleep(LOOK).await;
                }
                drop(waits);
            });
        }
    }
}

/// Returns when a pod that was asked to drain has had its time: it has then not waited for SIGTERM to
/// begin to count.
pub async fn is_late(mut asked: watch::Receiver<bool>, stop_after: Duration) {
    if asked.wait_for(|asked| *asked).await.is_err() {
        // Nobody can ask.
        return std::future::pending().await;
    }
    // Who asked leaves first.
    sleep(stop_after.max(MOMENT) + MOMENT).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Protects the end of a container from a socket that one before it has left, and other files from
    /// being taken for one.
    #[tokio::test]
    async fn a_socket_of_before_is_replaced() {
        let folder = std::env::temp_dir().join(format!("mafalda-drain-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("drain.sock");
        drop(Socket::bind(&path).unwrap());
        let socket = Socket::bind(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        drop(socket);
        let file = folder.join("file");
        fs::write(&file, "mine").unwrap();
        assert!(Socket::bind(&file).is_err());
        assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
        fs::remove_dir_all(&folder).unwrap();
    }

    /// Protects Kubernetes' hook: it ends when the pod lets go, says so when that comes too late, and
    /// fails at once where there is no pod.
    #[tokio::test]
    async fn who_drains_waits_until_it_is_let_go() {
        let path = std::env::temp_dir().join(format!("mafalda-waits-{}.sock", std::process::id()));
        let arguments = Arguments {
            socket: path.clone(),
            deadline: 0,
        };
        assert!(matches!(drain(&arguments).await, Err(Failure::NoPod(..))));
        let Socket(listener) = Socket::bind(&path).unwrap();
        let (result, ()) = tokio::join!(drain(&arguments), async {
            let (waits, _) = listener.accept().await.unwrap();
            drop(waits);
        });
        assert!(result.is_ok());
        let (late, _kept) = tokio::join!(drain(&arguments), listener.accept());
        assert!(matches!(late, Err(Failure::Late(0))));
        fs::remove_file(&path).unwrap();
    }
}
