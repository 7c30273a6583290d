//! What mediasoup's library relies on when it starts its worker.

use crate::program::Program;
use std::os::unix::process::ExitStatusExt;

const VERSION: (&str, &str) = ("MEDIASOUP_VERSION", "3.27.1");

#[test]
fn without_a_version_it_exits_with_41() {
    let (status, text) = Program::start(&[], &[]).end();
    assert_eq!(status.code(), Some(41));
    assert!(text.contains("MEDIASOUP_VERSION"), "{text}");
}

/// The library makes a TypeError of 42.
#[test]
fn with_wrong_settings_it_exits_with_42() {
    let (status, text) = Program::start(&[VERSION], &["--logLevel=chicken"]).end();
    assert_eq!(status.code(), Some(42));
    assert!(text.contains("chicken"), "{text}");
}

#[test]
fn it_reports_its_own_process_id() {
    let mut program = Program::start(&[VERSION], &[]);
    let pid = program.pid();
    assert_eq!(program.running_pid(), pid);
    assert_eq!(program.dump_pid(), pid);
}

/// Behind a relay the library waits for the relay's process id.
#[test]
fn it_reports_the_process_id_it_is_given() {
    let mut program = Program::start(&[VERSION, ("MEDIASOUP_WORKER_PID", "4711")], &[]);
    assert_eq!(program.running_pid(), 4711);
    assert_eq!(program.dump_pid(), 4711);
}

#[test]
fn sigterm_and_sigint_end_it_in_order() {
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let mut program = Program::start(&[VERSION], &[]);
        program.running_pid();
        program.signal(signal);
        let (status, _) = program.end();
        assert_eq!(status.code(), Some(0), "signal {signal}");
    }
}

/// The end of a terminal must not end calls.
#[test]
fn it_ignores_the_signals_that_mediasoups_own_ignores() {
    let mut program = Program::start(&[VERSION], &[]);
    let pid = program.running_pid();
    for signal in [
        libc::SIGPIPE,
        libc::SIGHUP,
        libc::SIGALRM,
        libc::SIGUSR1,
        libc::SIGUSR2,
    ] {
        program.signal(signal);
    }
    assert_eq!(program.dump_pid(), pid);
}

/// The library tells a crash by its signal.
#[test]
fn a_crash_ends_in_its_own_signal() {
    let mut program = Program::start(&[VERSION], &[]);
    program.running_pid();
    program.signal(libc::SIGSEGV);
    let (status, _) = program.end();
    assert_eq!(status.signal(), Some(libc::SIGSEGV));
}
