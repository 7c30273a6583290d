//! A worker program whose worker is virtual, for development: mediasoup's library starts it in place
//! of its own (`MEDIASOUP_WORKER_BIN`), and it starts the members.
//!
//! - `MAFALDA_MEMBER_BIN`: the program of a member, `mafalda-media-worker`.
//! - `MAFALDA_MEMBERS`: how many, default 1.
//! - `MAFALDA_PLACEMENT`: `pack` (default) or `spread`.

use bytes::Bytes;
use command_fds::{CommandFdExt, FdMapping};
use mafalda_channel::{Decoder, MAX_MESSAGE};
use mafalda_virtual_worker::{Action, Config, Ledger, MemberId, Placement, VirtualWorker};
use std::collections::HashMap;
use std::error::Error;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, ExitCode};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

#[derive(Clone, Copy)]
enum From {
    Application,
    Member(MemberId),
}

fn read_all(from: From, mut stream: impl Read + Send + 'static, to: Sender<(From, Option<Bytes>)>) {
    std::thread::spawn(move || {
        let mut decoder = Decoder::new(MAX_MESSAGE);
        let mut buffer = vec![0; 65_536];
        while let Ok(size @ 1..) = stream.read(&mut buffer) {
            decoder.push(&buffer[..size]);
            while let Ok(Some(message)) = decoder.next() {
                if to.send((from, Some(message))).is_err() {
                    return;
                }
            }
        }
        let _ = to.send((from, None));
    });
}

fn start_member(program: &str) -> Result<(Child, UnixStream, UnixStream), Box<dyn Error>> {
    let (requests, member_requests) = UnixStream::pair()?;
    let (responses, member_responses) = UnixStream::pair()?;
    let mapping = |stream: UnixStream, child_fd| FdMapping {
        parent_fd: OwnedFd::from(stream),
        child_fd,
    };
    let mut command = Command::new(program);
    command
        .args(std::env::args().skip(1))
        .env("MEDIASOUP_WORKER_PID", std::process::id().to_string())
        .fd_mappings(vec![
            mapping(member_requests, 3),
            mapping(member_responses, 4),
        ])?;
    Ok((command.spawn()?, requests, responses))
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let program = std::env::var("MAFALDA_MEMBER_BIN")?;
    let members: u32 = std::env::var("MAFALDA_MEMBERS").map_or(Ok(1), |n| n.parse())?;
    let placement =
        std::env::var("MAFALDA_PLACEMENT").map_or(Ok(Placement::Pack), |name| name.parse())?;
    // SAFETY: mediasoup's library opens both for its worker, and nobody else here uses them.
    let (requests, mut responses) = unsafe { (File::from_raw_fd(3), File::from_raw_fd(4)) };
    let (sender, events) = channel();
    let config = Config {
        process_id: std::process::id(),
        name: "0".to_owned(),
        placement,
        ..Config::default()
    };
    let mut machine = VirtualWorker::new(config, Ledger::default());
    let mut children = HashMap::new();
    let mut actions = Vec::new();
    for member in (0..members).map(MemberId) {
        let (child, requests, responses) = start_member(&program)?;
        read_all(From::Member(member), responses, sender.clone());
        children.insert(member, (child, requests));
        actions.extend(machine.on_member_added(member, false));
    }
    read_all(From::Application, requests, sender);
    let start = Instant::now();
    let mut status = 0;
    loop {
        for action in actions.drain(..) {
            match action {
                Action::ToApplication(message) => responses.write_all(&message)?,
                Action::ToMember(member, message) => {
                    if let Some((_, requests)) = children.get_mut(&member) {
                        // One that is gone says so at its other descriptor.
                        let _ = requests.write_all(&message);
                    }
                }
                // All members are this one's alone.
                Action::Owns(_) | Action::Disowns(_) => {}
                Action::Died => return Ok(ExitCode::from(status)),
            }
        }
        actions = match events.recv_timeout(Duration::from_millis(100)) {
            Ok((From::Application, Some(message))) => machine.on_application(message),
            Ok((From::Member(member), Some(message))) => machine.on_member(member, message),
            Ok((From::Application, None)) => return Ok(ExitCode::SUCCESS),
            Ok((From::Member(member), None)) => {
                if let Some((mut child, _)) = children.remove(&member) {
                    status = child
                        .wait()?
                        .code()
                        .and_then(|code| u8::try_from(code).ok())
                        .unwrap_or(1);
                }
                machine.on_member_gone(member)
            }
            Err(RecvTimeoutError::Timeout) => Vec::new(),
            Err(RecvTimeoutError::Disconnected) => return Ok(ExitCode::SUCCESS),
        };
        actions.extend(machine.on_tick(start.elapsed()));
    }
}
