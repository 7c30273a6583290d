//! The relay's side towards the application: the worker's file descriptors and signals.

use bytes::{Buf, Bytes};
use mafalda_channel::{Decoder, MAX_MESSAGE};
use mafalda_link::hand_over::Ends;
use mafalda_link::{Exit, Frame};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::signal::unix::{Signal, SignalKind, signal};

const SIGINT: u8 = signal_hook::consts::SIGINT as u8;
const SIGTERM: u8 = signal_hook::consts::SIGTERM as u8;

/// How many bytes of whole messages go into one frame, if the first is not larger by itself.
const BATCH: usize = 64 * 1024;

/// The descriptors that mediasoup gives its worker: 3 for requests, 4 for responses.
pub struct Descriptors {
    requests: UnixStream,
    responses: UnixStream,
}

impl Descriptors {
    /// Takes them over. Needs a runtime around it, and is called once.
    pub fn open() -> io::Result<Self> {
        Ok(Self {
            requests: inherited(3)?,
            responses: inherited(4)?,
        })
    }

    /// The ends of the channel, for threads.
    pub fn into_std(self) -> io::Result<(StdUnixStream, StdUnixStream)> {
        Ok((self.requests.into_std()?, self.responses.into_std()?))
    }

    /// The ends of the channel, to be passed on.
    pub fn ends(&self) -> Ends<BorrowedFd<'_>> {
        Ends {
            requests: self.requests.as_fd(),
            responses: self.responses.as_fd(),
        }
    }
}

/// The application's side of the connection. Without `descriptors` the pod has the channel, and only
/// signals, output and the worker's end are left. `max_frame` is the largest frame the pod takes,
/// in bytes.
pub fn open(
    descriptors: Option<Descriptors>,
    max_frame: usize,
) -> io::Result<(Application, Outputs)> {
    let (requests, responses) = descriptors
        .map(|descriptors| (descriptors.requests, descriptors.responses))
        .unzip();
    let application = Application {
        requests: Requests {
            socket: requests,
            decoder: Decoder::new(MAX_MESSAGE.min(max_frame)),
            batch: BATCH.min(max_frame),
        },
        interrupt: signal(SignalKind::interrupt())?,
        terminate: signal(SignalKind::terminate())?,
    };
    let outputs = Outputs {
        responses: responses.map(Output::Socket),
        stdout: output(1)?,
        stderr: output(2)?,
        pending: None,
    };
    Ok((application, outputs))
}

fn owned(number: i32) -> OwnedFd {
    // SAFETY: the application gave us this descriptor, and nothing else in this process uses it
    // while the relay runs; one that is not open fails at the first call on it.
    unsafe { OwnedFd::from_raw_fd(number) }
}

fn is_socket(fd: &OwnedFd) -> bool {
    rustix::fs::fstat(fd)
        .is_ok_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_socket())
}

/// One end of a socket pair, which is what Node makes of `stdio: 'pipe'`.
fn socket(fd: OwnedFd) -> io::Result<UnixStream> {
    let stream = StdUnixStream::from(fd);
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

fn inherited(number: i32) -> io::Result<UnixStream> {
    let fd = owned(number);
    if is_socket(&fd) {
        return socket(fd);
    }
    std::mem::forget(fd); // not ours to close after all
    Err(io::Error::other(format!(
        "descriptor {number} is no socket, which mediasoup gives its worker"
    )))
}

/// A second descriptor of an output: what this process has to say at its end goes to the first.
fn output(number: i32) -> io::Result<Output> {
    // SAFETY: it is open, or the system refuses to make another of it; and it is not closed here.
    let fd = unsafe { BorrowedFd::borrow_raw(number) }.try_clone_to_owned()?;
    if is_socket(&fd) {
        return socket(fd).map(Output::Socket);
    }
    Ok(Output::File(File::from(fd)))
}

/// What the application says to its worker.
pub struct Application {
    requests: Requests,
    interrupt: Signal,
    terminate: Signal,
}

/// The application's requests, cut into frames of whole messages.
struct Requests {
    socket: Option<UnixStream>,
    decoder: Decoder,
    batch: usize,
}

impl Requests {
    async fn next(&mut self) -> io::Result<Frame> {
        loop {
            let batch = self.decoder.next_batch(self.batch);
            if let Some(batch) = batch.map_err(io::Error::other)? {
                return Ok(Frame::Channel(batch));
            }
            let Some(socket) = &mut self.socket else {
                return std::future::pending().await;
            };
            match socket.read_buf(self.decoder.buffer_mut()).await {
                Ok(0) => {}
                Ok(_) => continue,
                // A socket pair's other end is gone with its process.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
                Err(error) => return Err(error),
            }
            self.socket = None;
            return Ok(Frame::RequestsEnd);
        }
    }
}

impl mafalda_link::Source for Application {
    async fn next(&mut self) -> io::Result<Option<Frame>> {
        let frame = tokio::select! {
            frame = self.requests.next() => frame?,
            _ = self.interrupt.recv() => Frame::Signal(SIGINT),
            _ = self.terminate.recv() => Frame::Signal(SIGTERM),
        };
        Ok(Some(frame))
    }
}

enum Output {
    Socket(UnixStream),
    /// A terminal or a file, under a shell.
    File(File),
}

/// Where the worker's words go.
pub struct Outputs {
    responses: Option<Output>,
    stdout: Output,
    stderr: Output,
    pending: Option<Frame>,
}

impl mafalda_link::Sink for Outputs {
    fn accept(&mut self, frame: Frame) -> io::Result<()> {
        self.pending = Some(frame);
        Ok(())
    }

    async fn flush(&mut self) -> io::Result<Option<Exit>> {
        let (output, bytes): (&mut Output, &mut Bytes) = match &mut self.pending {
            Some(Frame::Channel(bytes)) => match &mut self.responses {
                Some(responses) => (responses, bytes),
                None => return Ok(None),
            },
            Some(Frame::Stdout(bytes)) => (&mut self.stdout, bytes),
            Some(Frame::Stderr(bytes)) => (&mut self.stderr, bytes),
            Some(Frame::Exit(exit)) => return Ok(Some(*exit)),
            Some(Frame::Signal(_) | Frame::RequestsEnd | Frame::Lending(_)) | None => {
                return Ok(None);
            }
        };
        while bytes.has_remaining() {
            let written = match output {
                Output::Socket(socket) => socket.write_buf(bytes).await,
                Output::File(file) => file.write(bytes).inspect(|count| bytes.advance(*count)),
            };
            // The application may have closed its end already: the worker's end is still to come.
            if written.is_err() {
                break;
            }
        }
        self.pending = None;
        Ok(None)
    }
}
