//! Does with signals what mediasoup's own worker does: its `ignoreSignals()`
//! and its handlers exist only in a build as an executable (`MS_EXECUTABLE`),
//! and ours is a library.

use std::ffi::c_int;

/// Ends the process as a worker that was asked to.
extern "C" fn leave(_: c_int) {
    // SAFETY: `_exit` is async-signal-safe.
    unsafe { libc::_exit(0) }
}

/// Sets what each signal does. To be called before anything else.
pub fn set_up() {
    for signal in [
        libc::SIGPIPE,
        libc::SIGHUP,
        libc::SIGALRM,
        libc::SIGUSR1,
        libc::SIGUSR2,
    ] {
        // SAFETY: ignoring a signal has no preconditions.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    // Rust's runtime catches these to report its own stack overflows; a crash
    // must end in its own signal, as the application's library tells by it.
    for signal in [libc::SIGSEGV, libc::SIGBUS] {
        // SAFETY: restoring the default action has no preconditions.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    let handler = leave as extern "C" fn(c_int) as libc::sighandler_t;
    for signal in [libc::SIGINT, libc::SIGTERM] {
        // SAFETY: `leave` has a handler's signature and is async-signal-safe.
        unsafe { libc::signal(signal, handler) };
    }
}
