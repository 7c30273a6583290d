//! Finding the pod that the environment names, also when that is another one from now on.
//!
//! A session may move to another pod, and its URL with it. An application learns of it by its
//! worker's death, makes another worker, and that must find the new pod. A variable of its
//! environment is of the time when it was started; a file (`MAFALDA_URL_FILE`) may be of now. But it
//! may also be late: the kubelet brings a changed Secret to its file within a minute or so. So a URL
//! of a file that leads nowhere is waited for. And a connection that broke is given up, and with it the
//! worker, when the file says that the session is elsewhere.

use super::{ConnectError, Reconnect, Target, token_from_env};
use crate::handshake::{Start, Welcome};
use crate::socket::Socket;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long a file may name a pod that does not have the session. The kubelet takes up to 90 s.
const LATE: Duration = Duration::from_secs(120);

/// The pause between two looks at the file.
const LOOK: Duration = Duration::from_secs(1);

/// The pause between two tries to connect to the same pod: the session may come back to it.
const PAUSE: Duration = Duration::from_secs(1);

/// Codes of refusals by a pod that is not, or will not be, the session's.
const NOT_HERE: [&str; 2] = ["unknownSession", "draining"];

/// Opens a connection to the pod that the environment names, see [`Target::from_env`], and asks for
/// a worker. Where a file says which pod, and that one cannot be reached or does not have the
/// session, it waits for up to two minutes until the file says another, or the pod has.
///
/// # Errors
/// A setting is wrong; the pod refuses or cannot be reached.
pub async fn connect(
    mediasoup: &str,
    start: Start,
) -> Result<(Box<dyn Socket>, Welcome, Reconnect), ConnectError> {
    let until = Instant::now() + LATE;
    loop {
        let target = Target::from_env(mediasoup.to_owned())?;
        let moves = target.moves;
        tokio::select! {
            result = target.connect(start.clone()) => match result {
                Err(error) if moves && may_move(&error) && Instant::now() < until => {}
                result => return result,
            },
            () = moved(&target), if moves => continue,
        }
        tokio::select! {
            () = sleep(PAUSE) => {}
            () = moved(&target) => {}
        }
    }
}

/// Whether another pod may have what this one has not.
fn may_move(error: &ConnectError) -> bool {
    match error {
        ConnectError::Unreachable { .. } | ConnectError::NobodyThere { .. } => true,
        ConnectError::Refused { code, .. } => NOT_HERE.contains(&code.as_str()),
        ConnectError::Moved { .. } | ConnectError::Setting(_) => false,
    }
}

/// Whether a file says by now that the session is in another pod.
pub(super) fn is_elsewhere(target: &Target) -> bool {
    if !target.moves {
        return false;
    }
    // One that is being replaced may be away for a moment.
    let now = Target::from_env(target.mediasoup.clone());
    now.is_ok_and(|now| now.url != target.url)
}

/// The target with the token that the environment names now: the one that it has may be of a key that is
/// no more.
pub(super) fn with_token_of_now(target: &Target) -> Target {
    let mut target = target.clone();
    // A file that is being replaced may be away for a moment.
    if target.is_of_env
        && let Ok(Some(token)) = token_from_env()
    {
        target.token = Some(token);
    }
    target
}

/// Whether a file says which pod it is.
pub(super) fn moves() -> bool {
    variable("MAFALDA_URL_FILE").is_some()
}

/// Resolves when a file says that the session is in another pod.
async fn moved(from: &Target) {
    while !is_elsewhere(from) {
        sleep(LOOK).await;
    }
}

/// A variable of the environment; an empty one is none.
pub(super) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// What a variable says, or the file that the variable `{name}_FILE` names, which comes first.
pub(super) fn variable_or_file(name: &str) -> Result<Option<String>, ConnectError> {
    let Some(path) = variable(&format!("{name}_FILE")) else {
        return Ok(variable(name));
    };
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(error) => Err(ConnectError::Setting(format!(
            "{name}_FILE is {path:?}: {error}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Protects an application from two minutes of silence where nothing would come.
    #[test]
    fn only_another_pod_is_waited_for() {
        let refused = |code: &str| ConnectError::Refused {
            url: "wss://pod:4400".to_owned(),
            code: code.to_owned(),
            message: "why".to_owned(),
        };
        for (code, waits) in [
            ("unknownSession", true),
            ("draining", true),
            ("unauthorized", false),
            ("versionMismatch", false),
            ("tooManyConnections", false),
        ] {
            assert_eq!(may_move(&refused(code)), waits, "{code}");
        }
        assert!(!may_move(&ConnectError::Setting("wrong".to_owned())));
    }
}
