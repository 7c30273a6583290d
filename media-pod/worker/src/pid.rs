//! The process id that the worker reports.
//!
//! The worker says its process id in its first message (WORKER_RUNNING) and in
//! the answer to WORKER_DUMP, and the Node library waits for the id of the
//! process it spawned. Behind a relay that is the relay's, on another host.
//!
//! C++ asks once: a static initialiser stores `uv_os_getpid()` in
//! `Logger::Pid`, before `main`; every use reads that variable. So there are
//! two ways in: answer the question ([`uv_os_getpid`], from the environment),
//! or replace the answer ([`report`], for a worker that was started before
//! anybody knew the application).

use std::ffi::{CStr, c_int};

/// Names the process id to report, in decimal.
const VARIABLE: &CStr = c"MEDIASOUP_WORKER_PID";

/// Takes the place of libuv's function in this program: the process id given
/// in `MEDIASOUP_WORKER_PID`, else our own. Runs before `main`.
// SAFETY: the signature is libuv's, and nothing else here defines the name.
#[unsafe(no_mangle)]
extern "C" fn uv_os_getpid() -> c_int {
    // SAFETY: the name is a C string, and before `main` there is one thread,
    // so that nothing changes the environment meanwhile.
    let value = unsafe { libc::getenv(VARIABLE.as_ptr()) };
    if !value.is_null() {
        // SAFETY: `getenv` returns null or a C string of the environment.
        let text = unsafe { CStr::from_ptr(value) };
        if let Some(pid) = parse(text) {
            return pid;
        }
    }
    // SAFETY: has no preconditions and cannot fail.
    unsafe { libc::getpid() }
}

/// A process id is a positive number.
fn parse(text: &CStr) -> Option<c_int> {
    let pid = text.to_str().ok()?.parse().ok()?;
    (pid > 0).then_some(pid)
}

// SAFETY: `static const uint64_t Logger::Pid` of mediasoup's Logger.hpp, by its
// mangled name.
unsafe extern "C" {
    #[link_name = "_ZN6Logger3PidE"]
    static mut LOGGER_PID: u64;
}

/// Lets the worker report `pid`. To be called before the worker runs.
pub fn report(pid: u32) {
    // SAFETY: the variable is initialised at run time, hence in writable memory
    // (.bss), and only Logger.cpp sees its initialiser, hence every reader
    // loads it. The worker has not been started and there is one thread, so
    // nobody reads it now. `tests/worker/standby.rs` holds both messages to it.
    unsafe { (&raw mut LOGGER_PID).write(pid.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_positive_numbers_are_process_ids() {
        for (text, pid) in [
            (c"4711", Some(4711)),
            (c"0", None),
            (c"-3", None),
            (c"", None),
            (c"12x", None),
            (c"99999999999", None),
            (c"\xff", None),
        ] {
            assert_eq!(parse(text), pid, "{text:?}");
        }
    }
}
