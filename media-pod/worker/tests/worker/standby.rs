//! Standby: what the supervisor of a media pod relies on.

use crate::program::Program;

const STANDBY: (&str, &str) = ("MAFALDA_WORKER_STANDBY", "1");

fn message(pid: u32, args: &str) -> String {
    format!(r#"{{"version":"3.27.1","pid":{pid},"args":[{args}]}}"#) + "\n"
}

/// Both messages that carry the process id are held to the one it was told,
/// which C++ did not know when it stored its own.
#[test]
fn it_runs_with_what_it_is_told() {
    let mut program = Program::start(&[STANDBY], &[]);
    program.tell(&message(4711, r#""--logLevel=warn""#));
    assert_eq!(program.running_pid(), 4711);
    assert_eq!(program.dump_pid(), 4711);
}

/// What it is told wins over the environment it was started in.
#[test]
fn what_it_is_told_comes_first() {
    let environment = [STANDBY, ("MEDIASOUP_WORKER_PID", "1")];
    let mut program = Program::start(&environment, &["--logLevel=chicken"]);
    program.tell(&message(4711, ""));
    assert_eq!(program.running_pid(), 4711);
}

#[test]
fn it_keeps_no_hold_of_file_descriptor_5() {
    let mut program = Program::start(&[STANDBY], &[]);
    program.write_standby(&message(4711, ""));
    assert_eq!(program.running_pid(), 4711);
    assert!(program.has_closed_standby());
}

#[test]
fn with_wrong_settings_it_exits_with_42() {
    let mut program = Program::start(&[STANDBY], &[]);
    program.tell(&message(4711, r#""--logLevel=chicken""#));
    let (status, text) = program.end();
    assert_eq!(status.code(), Some(42));
    assert!(text.contains("chicken"), "{text}");
}

#[test]
fn when_it_is_not_needed_it_exits_with_0() {
    let mut program = Program::start(&[STANDBY], &[]);
    program.tell("");
    let (status, text) = program.end();
    assert_eq!((status.code(), text.as_str()), (Some(0), ""));
}

#[test]
fn a_message_it_cannot_read_is_an_error_with_a_reason() {
    let cases = [
        ("half a line", "not a line"),
        ("{\n", "not what it should be"),
        ("{\"version\":\"3\\u0000\",\"pid\":1,\"args\":[]}\n", "NUL"),
    ];
    for (line, reason) in cases {
        let mut program = Program::start(&[STANDBY], &[]);
        program.tell(line);
        let (status, text) = program.end();
        assert_eq!(status.code(), Some(40), "{line:?}");
        assert!(text.contains(reason), "{text}");
    }
}

/// The supervisor ends what it no longer needs like any worker.
#[test]
fn sigterm_ends_it_while_it_waits() {
    let program = Program::start(&[STANDBY], &[]);
    program.wait_for_signal_handlers();
    program.signal(libc::SIGTERM);
    let (status, _) = program.end();
    assert_eq!(status.code(), Some(0));
}
