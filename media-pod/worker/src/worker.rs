//! Runs the C++ worker.

use crate::start::Start;
// For its build script and static library alone: see the declaration below.
use mediasoup_sys as _;
use std::ffi::{c_char, c_int, c_void};
use std::ptr;

/// Where requests and notifications come in.
const CONSUMER_CHANNEL_FD: c_int = 3;
/// Where responses and notifications go out.
const PRODUCER_CHANNEL_FD: c_int = 4;

// SAFETY: the signature of mediasoup's `lib.hpp`. The crate's own declaration
// has the two functions non-null, but C++ takes a null read function to mean
// "use the file descriptors".
unsafe extern "C" {
    fn mediasoup_worker_run(
        argc: c_int,
        argv: *mut *mut c_char,
        version: *const c_char,
        consumer_channel_fd: c_int,
        producer_channel_fd: c_int,
        channel_read_fn: *const c_void,
        channel_read_ctx: *const c_void,
        channel_write_fn: *const c_void,
        channel_write_ctx: *const c_void,
    ) -> c_int;
}

/// Runs the worker on file descriptors 3 and 4 until it ends. Does not return:
/// as in mediasoup's `main()`, the process ends without static destructors.
pub fn run(start: &Start) -> ! {
    // getopt reorders the pointers and leaves the strings alone.
    let mut argv: Vec<*mut c_char> = start
        .args
        .iter()
        .map(|arg| arg.as_ptr().cast_mut())
        .collect();
    argv.push(ptr::null_mut());
    // Linux allows some thousands of arguments in a call of exec.
    let argc = c_int::try_from(start.args.len()).unwrap_or(c_int::MAX);

    // SAFETY: `argv` is a null-terminated array of `argc` C strings that
    // outlive the call, `version` is a C string, and null functions select the
    // file descriptors.
    let status = unsafe {
        mediasoup_worker_run(
            argc,
            argv.as_mut_ptr(),
            start.version.as_ptr(),
            CONSUMER_CHANNEL_FD,
            PRODUCER_CHANNEL_FD,
            ptr::null(),
            ptr::null(),
            ptr::null(),
            ptr::null(),
        )
    };
    // SAFETY: ends the process; nothing of ours waits to be written.
    unsafe { libc::_exit(status) }
}
