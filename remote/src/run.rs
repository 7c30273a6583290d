//! One worker's life, in the thread that the `mediasoup` crate made for it.

use crate::EXIT_NO_POD;
use crate::application::{FromApplication, Outbox, ToApplication, messages};
use crate::border::{Requests, Responses};
use crate::workers::{self, Running};
use mafalda_link::client::{ConnectError, Target, start};
use mafalda_link::{End, Exit, Frame, LinkError, Timing, drive};
use std::future::poll_fn;
use std::io::{self, Write};
use std::os::raw::c_int;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// What ended a worker other than its own end.
#[derive(Debug, thiserror::Error)]
enum RemoteError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Runs a worker until its end, and returns its status as the crate knows them.
pub fn run(
    arguments: Vec<String>,
    version: String,
    requests: Requests,
    responses: Responses,
) -> c_int {
    let result = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(RemoteError::Io)
        .and_then(|runtime| {
            let result = carry(&runtime, arguments, version, requests, responses);
            // A look-up of the pod's name may still be under way: not to be waited for.
            runtime.shutdown_background();
            result
        });
    if workers::program_ends() {
        // Returning would tell the application that its worker died.
        loop {
            std::thread::park();
        }
    }
    match result {
        Ok(Exit::Code(code)) => code,
        Ok(Exit::Signal(number)) => 128 + number,
        Err(error) => {
            // Standard error may be closed.
            let _ = writeln!(io::stderr(), "mafalda-remote: {error}");
            EXIT_NO_POD
        }
    }
}

enum Step {
    Deliver(Frame),
    End(Result<Exit, RemoteError>),
}

/// Carries a worker's messages until its end.
///
/// The application's callbacks run in `responses`. They may block, even on a runtime of their own,
/// as in a thread of the C++ worker; inside of ours they could not. So each of the worker's frames
/// is handed on outside of it, between two steps of the connection.
fn carry(
    runtime: &Runtime,
    arguments: Vec<String>,
    version: String,
    requests: Requests,
    mut responses: Responses,
) -> Result<Exit, RemoteError> {
    let sink = ToApplication::default();
    let outbox = sink.outbox.clone();
    let mut connection = pin!(connect(arguments, version, requests, sink));
    loop {
        let step = poll_fn(|context| {
            if let Poll::Ready(result) = connection.as_mut().poll(context) {
                return Poll::Ready(Step::End(result));
            }
            next_frame(&outbox)
        });
        match runtime.block_on(step) {
            Step::Deliver(frame) => deliver(&frame, &mut responses),
            Step::End(result) => return result,
        }
    }
}

fn next_frame(outbox: &Outbox) -> Poll<Step> {
    match outbox.take() {
        Some(frame) => Poll::Ready(Step::Deliver(frame)),
        None => Poll::Pending,
    }
}

async fn connect(
    arguments: Vec<String>,
    version: String,
    requests: Requests,
    mut sink: ToApplication,
) -> Result<Exit, RemoteError> {
    let target = Target::from_env(version)?;
    let (socket, welcome, mut reconnect) = target.connect(start(arguments)).await?;
    let timing = Timing::with_grace(Duration::from_secs(welcome.grace_seconds));
    let running = Arc::new(Running::new());
    let mut source = FromApplication::new(requests, running, welcome.max_frame);
    let window = welcome.window;
    let end = drive(
        &mut source,
        &mut sink,
        &mut reconnect,
        socket,
        window,
        timing,
    );
    match end.await? {
        End::Exit(exit) => Ok(exit),
        End::Settled => unreachable!("the application's source never ends"),
    }
}

/// Hands on what the worker says.
fn deliver(frame: &Frame, responses: &mut Responses) {
    // The standard output and error of this process may be closed.
    match frame {
        Frame::Channel(batch) => messages(batch).for_each(|message| responses.deliver(message)),
        Frame::Stdout(text) => _ = io::stdout().write_all(text),
        Frame::Stderr(text) => _ = io::stderr().write_all(text),
        // The end is the connection's result; the others were refused.
        Frame::Exit(_) | Frame::Signal(_) | Frame::RequestsEnd => {}
    }
}
