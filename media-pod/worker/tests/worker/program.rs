//! The real program on real file descriptors, ended when dropped.

use mediasoup_sys::fbs;
use planus::ReadAsRoot;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long a test waits for a message before it fails.
const DEADLINE: Duration = Duration::from_secs(20);

/// The worker program and our ends of its file descriptors.
pub struct Program {
    child: Child,
    /// Its descriptor 3.
    requests: Option<UnixStream>,
    /// Its descriptor 4.
    answers: UnixStream,
    /// Its descriptor 5.
    standby: Option<UnixStream>,
}

impl Program {
    /// Starts the program with nothing in its environment but what is given.
    pub fn start(environment: &[(&str, &str)], args: &[&str]) -> Self {
        let (requests, its_requests) = UnixStream::pair().unwrap();
        let (answers, its_answers) = UnixStream::pair().unwrap();
        let (standby, its_standby) = UnixStream::pair().unwrap();
        answers.set_read_timeout(Some(DEADLINE)).unwrap();
        let ends = [
            (above(&its_requests), 3),
            (above(&its_answers), 4),
            (above(&its_standby), 5),
        ];
        let mut command = Command::new(env!("CARGO_BIN_EXE_mafalda-media-worker"));
        command
            .env_clear()
            .envs(environment.iter().copied())
            .args(args)
            .stdin(Stdio::null())
            .stderr(Stdio::piped());
        let numbers = ends.each_ref().map(|(end, to)| (end.as_raw_fd(), *to));
        // SAFETY: dup2 is async-signal-safe, and the closure allocates nothing.
        unsafe {
            command.pre_exec(move || {
                for (from, to) in numbers {
                    if libc::dup2(from, to) == -1 {
                        return Err(std::io::Error::last_os_error());
                    }
                }
                Ok(())
            });
        }
        Self {
            child: command.spawn().unwrap(),
            requests: Some(requests),
            answers,
            standby: Some(standby),
        }
    }

    /// Its real process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Writes to its file descriptor 5 and closes it.
    pub fn tell(&mut self, text: &str) {
        self.write_standby(text);
        self.standby = None;
    }

    /// Writes to its file descriptor 5.
    pub fn write_standby(&mut self, text: &str) {
        let mut standby = self.standby.as_ref().expect("still open");
        standby.write_all(text.as_bytes()).unwrap();
    }

    /// Whether it has closed its file descriptor 5 (waits for that).
    pub fn has_closed_standby(&mut self) -> bool {
        let mut standby = self.standby.as_ref().expect("still open");
        standby.set_read_timeout(Some(DEADLINE)).unwrap();
        matches!(standby.read(&mut [0]), Ok(0))
    }

    /// The next message that is not a log.
    pub fn next_message(&mut self) -> fbs::message::Message {
        loop {
            let mut length = [0; 4];
            self.answers.read_exact(&mut length).unwrap();
            let mut bytes = vec![0; u32::from_le_bytes(length) as usize];
            self.answers.read_exact(&mut bytes).unwrap();
            let message = fbs::message::MessageRef::read_as_root(&bytes).unwrap();
            let message = fbs::message::Message::try_from(message).unwrap();
            if !matches!(message.data, fbs::message::Body::Log(_)) {
                return message;
            }
        }
    }

    /// The process id in its first message, which must be WORKER_RUNNING.
    pub fn running_pid(&mut self) -> u32 {
        match self.next_message().data {
            fbs::message::Body::Notification(notification) => {
                assert_eq!(
                    notification.event,
                    fbs::notification::Event::WorkerRunning,
                    "the first message"
                );
                notification.handler_id.parse().unwrap()
            }
            other => panic!("the first message is {other:?}"),
        }
    }

    /// The process id in its answer to WORKER_DUMP.
    pub fn dump_pid(&mut self) -> u32 {
        let request = fbs::message::Message {
            data: fbs::message::Body::Request(Box::new(fbs::request::Request {
                id: 1,
                method: fbs::request::Method::WorkerDump,
                handler_id: String::new(),
                body: None,
            })),
        };
        let mut builder = planus::Builder::new();
        let bytes = builder.finish(request, None);
        let requests = self.requests.as_mut().expect("not closed");
        requests
            .write_all(&u32::try_from(bytes.len()).unwrap().to_le_bytes())
            .unwrap();
        requests.write_all(bytes).unwrap();
        match self.next_message().data {
            fbs::message::Body::Response(response) => match response.body {
                Some(fbs::response::Body::WorkerDumpResponse(dump)) => dump.pid,
                other => panic!("the answer holds {other:?}"),
            },
            other => panic!("the answer is {other:?}"),
        }
    }

    /// Waits until it catches SIGTERM, as /proc tells.
    pub fn wait_for_signal_handlers(&self) {
        let start = Instant::now();
        let path = format!("/proc/{}/status", self.pid());
        loop {
            let status = std::fs::read_to_string(&path).unwrap();
            let caught = status
                .lines()
                .find_map(|line| line.strip_prefix("SigCgt:"))
                .expect("a line on caught signals");
            let caught = u64::from_str_radix(caught.trim(), 16).unwrap();
            if caught & 1 << (libc::SIGTERM - 1) != 0 {
                return;
            }
            assert!(start.elapsed() < DEADLINE, "it does not catch SIGTERM");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: i32) {
        let pid = i32::try_from(self.pid()).unwrap();
        // SAFETY: our own child, which was not waited for.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
    }

    /// Waits until it ends: how, and what it wrote to stderr.
    pub fn end(mut self) -> (ExitStatus, String) {
        let mut text = String::new();
        let stderr = self.child.stderr.as_mut().expect("piped");
        stderr.read_to_string(&mut text).unwrap();
        (self.child.wait().unwrap(), text)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Fails when it has ended, which is as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The same end under a number that is none of 3, 4 and 5, closed at exec.
fn above(end: &UnixStream) -> OwnedFd {
    const FREE_FROM: RawFd = 10;
    // SAFETY: a live descriptor; the new one is owned by nobody else.
    unsafe {
        let number = libc::fcntl(end.as_raw_fd(), libc::F_DUPFD_CLOEXEC, FREE_FROM);
        assert_ne!(number, -1, "{}", std::io::Error::last_os_error());
        OwnedFd::from_raw_fd(number)
    }
}
