//! A mediasoup worker, ended when dropped.

use bytes::Bytes;
use command_fds::{CommandFdExt, FdMapping};
use mafalda_channel::{Decoder, MAX_MESSAGE, Message, view};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Sender;
use std::thread;

/// Which worker says what; `None` is its end.
pub type Said = (usize, Option<Bytes>);

pub struct Worker {
    child: Child,
    /// Its descriptor 3.
    requests: UnixStream,
}

/// Beside the folder of this very test.
fn executable() -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    let folder = test.ancestors().nth(2).expect("in target/release/deps");
    let worker = folder.join("mafalda-media-worker");
    assert!(
        worker.exists(),
        "{} is not built: cargo build --release -p mafalda-media-worker",
        worker.display()
    );
    worker
}

impl Worker {
    /// Starts the worker `index`: all that it says goes to `said`, but its logs.
    pub fn start(index: usize, said: Sender<Said>) -> Self {
        let (requests, its_requests) = UnixStream::pair().unwrap();
        let (answers, its_answers) = UnixStream::pair().unwrap();
        let mapping = |end: UnixStream, child_fd| FdMapping {
            parent_fd: OwnedFd::from(end),
            child_fd,
        };
        let mut command = Command::new(executable());
        command
            .env_clear()
            .env("MEDIASOUP_VERSION", "3.27.1")
            .stdin(Stdio::null())
            .fd_mappings(vec![mapping(its_requests, 3), mapping(its_answers, 4)])
            .unwrap();
        let child = command.spawn().unwrap();
        thread::spawn(move || read(index, answers, &said));
        Self { child, requests }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A whole message, its size before it.
    pub fn send(&mut self, message: &[u8]) {
        if let Err(error) = self.requests.write_all(message) {
            panic!("{error}: the worker has ended, {:?}", self.child.wait());
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Fails when it has ended, which is as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Until the worker ends or nobody listens.
fn read(index: usize, mut answers: UnixStream, said: &Sender<Said>) {
    let mut decoder = Decoder::new(MAX_MESSAGE);
    let mut bytes = [0; 65_536];
    while let Ok(count @ 1..) = answers.read(&mut bytes) {
        decoder.push(&bytes[..count]);
        while let Some(message) = decoder.next().expect("a worker's messages are whole") {
            let log = matches!(view(&message).expect("sound"), Message::Log(_));
            if !log && said.send((index, Some(message))).is_err() {
                return;
            }
        }
    }
    // Nobody listens at the end of the test.
    let _ = said.send((index, None));
}
