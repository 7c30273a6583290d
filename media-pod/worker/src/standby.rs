//! Standby: a worker process that is started before anybody needs it.
//!
//! Started with `MAFALDA_WORKER_STANDBY=1` the program waits for one line of
//! JSON on file descriptor 5 and then runs as if it had been started with it:
//!
//! ```json
//! {"version": "3.27.1", "pid": 1234, "args": ["--logLevel=warn"]}
//! ```
//!
//! `version` stands for `MEDIASOUP_VERSION`, `pid` for `MEDIASOUP_WORKER_PID`
//! and `args` for the arguments without the program's name. The end of file in
//! place of a line means that it is not needed: it exits with status 0.

use crate::pid;
use crate::start::Start;
use serde::Deserialize;
use std::ffi::c_int;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::os::fd::FromRawFd;

/// Where the line comes from.
const STANDBY_FD: c_int = 5;

/// Of the line, in bytes. Certificates are passed as file names, so that a real
/// one has some hundreds.
const MAX_LINE: u64 = 64 * 1024;

/// Why a worker on standby cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StandbyError {
    #[error("cannot read the standby message from file descriptor {STANDBY_FD}: {0}")]
    Io(#[from] io::Error),
    #[error("the standby message is not a line of at most {MAX_LINE} bytes")]
    NotALine,
    #[error("the standby message is not what it should be: {0}")]
    Json(#[from] serde_json::Error),
    #[error("a string of the standby message holds a NUL")]
    Nul(#[from] std::ffi::NulError),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Message {
    version: String,
    pid: u32,
    args: Vec<String>,
}

/// Whether the program was started on standby.
pub fn is_wanted() -> bool {
    std::env::var_os("MAFALDA_WORKER_STANDBY").is_some_and(|value| value == "1")
}

/// Waits for the message, makes the worker report its process id, and says what
/// to start with; `None` at the end of file. Closes file descriptor 5.
///
/// # Errors
/// When no such line can be read.
pub fn wait() -> Result<Option<Start>, StandbyError> {
    // SAFETY: asking for a descriptor's flags has no preconditions.
    if unsafe { libc::fcntl(STANDBY_FD, libc::F_GETFD) } == -1 {
        return Err(io::Error::last_os_error().into());
    }
    // SAFETY: it is open, and nobody else in this program owns number 5.
    let file = unsafe { File::from_raw_fd(STANDBY_FD) };
    let Some(message) = read(BufReader::new(file))? else {
        return Ok(None);
    };
    pid::report(message.pid);
    Ok(Some(Start::new(message.version, message.args)?))
}

/// One message, or `None` at the end of file.
fn read(input: impl BufRead) -> Result<Option<Message>, StandbyError> {
    let mut line = Vec::new();
    input.take(MAX_LINE).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    if line.pop() != Some(b'\n') {
        return Err(StandbyError::NotALine);
    }
    Ok(Some(serde_json::from_slice(&line)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_message() {
        let line = br#"{"version":"3.27.1","pid":7,"args":["--a","b c"]}"#;
        let message = read(&[line, &b"\nrest"[..]].concat()[..]).unwrap().unwrap();
        assert_eq!(message.version, "3.27.1");
        assert_eq!(message.pid, 7);
        assert_eq!(message.args, ["--a", "b c"]);
    }

    #[test]
    fn the_end_of_file_is_no_message() {
        assert!(read(&b""[..]).unwrap().is_none());
    }

    #[test]
    fn anything_else_is_an_error() {
        let long = vec![b'x'; usize::try_from(MAX_LINE).unwrap() + 1];
        let json = |text: &str| read(format!("{text}\n").as_bytes());
        assert!(matches!(read(&long[..]), Err(StandbyError::NotALine)));
        assert!(matches!(read(&b"{"[..]), Err(StandbyError::NotALine)));
        for text in [
            "",
            "{}",
            r#"{"version":"3","pid":-1,"args":[]}"#,
            r#"{"version":"3","pid":1,"args":[],"more":1}"#,
        ] {
            assert!(matches!(json(text), Err(StandbyError::Json(_))), "{text}");
        }
    }
}
