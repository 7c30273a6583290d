//! One worker process: started on standby, given to a connection, ended.

use command_fds::{CommandFdExt, FdMapping};
use mafalda_link::Exit;
use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command as StdCommand, ExitStatus, Stdio};
use tokio::net::UnixStream;
use tokio::process::{Child, ChildStderr, ChildStdout, Command};

/// What a worker on standby waits for, one line of JSON on descriptor 5.
#[derive(Debug, Serialize)]
pub struct Orders<'a> {
    /// The application's mediasoup version.
    pub version: &'a str,
    /// The process id under which the application knows its worker.
    pub pid: u32,
    /// The worker's arguments.
    pub args: &'a [String],
}

/// A worker process and our ends of its descriptors.
pub struct WorkerProcess {
    /// The process; it is killed when this is dropped.
    pub child: Child,
    /// Its id.
    pub pid: u32,
    /// Its descriptor 3.
    pub requests: UnixStream,
    /// Its descriptor 4.
    pub responses: UnixStream,
    /// Its standard output.
    pub stdout: ChildStdout,
    /// Its standard error.
    pub stderr: ChildStderr,
    orders: StdUnixStream,
}

fn local(stream: StdUnixStream) -> io::Result<UnixStream> {
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

impl WorkerProcess {
    /// Starts `program` on standby.
    pub fn start(program: &Path) -> io::Result<Self> {
        let (requests, worker_requests) = StdUnixStream::pair()?;
        let (responses, worker_responses) = StdUnixStream::pair()?;
        let (orders, worker_orders) = StdUnixStream::pair()?;
        let mut command = StdCommand::new(program);
        command
            .env("MAFALDA_WORKER_STANDBY", "1")
            .env_remove("MAFALDA_TOKEN")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mapping = |fd: StdUnixStream, child_fd| FdMapping {
            parent_fd: OwnedFd::from(fd),
            child_fd,
        };
        command
            .fd_mappings(vec![
                mapping(worker_requests, 3),
                mapping(worker_responses, 4),
                mapping(worker_orders, 5),
            ])
            .map_err(io::Error::other)?;
        let mut child = Command::from(command).kill_on_drop(true).spawn()?;
        let gone = || io::Error::other("the worker has no such descriptor");
        Ok(Self {
            pid: child.id().ok_or_else(gone)?,
            stdout: child.stdout.take().ok_or_else(gone)?,
            stderr: child.stderr.take().ok_or_else(gone)?,
            child,
            requests: local(requests)?,
            responses: local(responses)?,
            orders,
        })
    }

    /// Makes the standby worker a real one.
    pub fn give_orders(&mut self, orders: &Orders<'_>) -> io::Result<()> {
        let mut line = serde_json::to_vec(orders)?;
        line.push(b'\n');
        // What does not fit into the socket's buffer at once is no line the worker would take.
        self.orders.set_nonblocking(true)?;
        self.orders.write_all(&line)?;
        self.orders.shutdown(std::net::Shutdown::Both)
    }
}

/// How a process ended, as a connection says it.
pub fn exit_of(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, Some(signal)) => Exit::Signal(signal),
        (None, None) => Exit::Code(-1),
    }
}

/// Sends a signal to a process that was not waited for yet.
pub fn send_signal(pid: u32, number: u8) -> io::Result<()> {
    let invalid = || io::Error::from(io::ErrorKind::InvalidInput);
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let signal = Signal::from_named_raw(number.into());
    Ok(kill_process(
        pid.ok_or_else(invalid)?,
        signal.ok_or_else(invalid)?,
    )?)
}
