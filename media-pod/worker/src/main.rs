//! mediasoup's C++ worker as a program of its own: what the npm package calls
//! `mediasoup-worker`, built from the `mediasoup-sys` crate.
//!
//! It speaks mediasoup's channel (size-prefixed FlatBuffers) on file
//! descriptors 3 (requests in) and 4 (responses and notifications out), takes
//! mediasoup's own arguments and runs until its channel is closed or it is told
//! to end. Beside that it knows two environment variables of Mafalda:
//!
//! - `MEDIASOUP_WORKER_PID`: the process id that it reports ([`pid`]).
//! - `MAFALDA_WORKER_STANDBY=1`: start now, be told version, process id and
//!   arguments later ([`standby`]).
//!
//! # Exit status
//! Mediasoup's own: 0 when it was closed, 41 without `MEDIASOUP_VERSION`, 42
//! when the settings are wrong, 40 and 134 for what C++ did not expect. An
//! unreadable standby message also ends in 40.

mod bio;
mod pid;
mod signals;
mod standby;
mod start;
mod worker;

use std::process::ExitCode;

/// What mediasoup's worker exits with when `MEDIASOUP_VERSION` is missing.
const EXIT_NO_VERSION: u8 = 41;

/// What mediasoup's worker exits with when something unforeseen went wrong.
const EXIT_UNKNOWN_ERROR: u8 = 40;

fn main() -> ExitCode {
    signals::set_up();
    let start = if standby::is_wanted() {
        match standby::wait() {
            Ok(Some(start)) => start,
            Ok(None) => return ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("mafalda-media-worker: {error}");
                return EXIT_UNKNOWN_ERROR.into();
            }
        }
    } else {
        match start::Start::from_environment() {
            Some(start) => start,
            None => {
                eprintln!("MEDIASOUP_VERSION is not set: this program is started by mediasoup");
                return EXIT_NO_VERSION.into();
            }
        }
    };
    worker::run(&start)
}
