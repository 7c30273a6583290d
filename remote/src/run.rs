//! One worker's life, in the thread that the `mediasoup` crate made for it.

use crate::EXIT_NO_POD;
use crate::application::{FromApplication, Outbox, ToApplication, messages};
use crate::border::{Requests, Responses};
use crate::local::Local;
use crate::workers::{self, Running};
use mafalda_link::client::{self, ClientError, Reconnect, pod_gone, start};
use mafalda_link::{End, Exit, Frame, Socket, Source, Timing, Welcome, drive};
use std::future::{pending, poll_fn};
use std::io::{self, Write};
use std::os::raw::c_int;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

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
        .map_err(ClientError::Io)
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
    End(Result<Exit, ClientError>),
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
) -> Result<Exit, ClientError> {
    let outbox = Outbox::default();
    let mut connection = pin!(connect(arguments, version, requests, outbox.clone()));
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
    outbox: Outbox,
) -> Result<Exit, ClientError> {
    let (mut socket, welcome, reconnect) = client::connect(&version, start(arguments)).await?;
    let local = Local::offered(&mut socket, &welcome, outbox.clone())
        .await
        .map_err(ClientError::Broken)?;
    let running = Arc::new(Running::new());
    let mut source = FromApplication::new(requests, running, welcome.max_frame);
    let connection = Connection {
        socket,
        welcome,
        reconnect,
        sink: ToApplication::new(outbox.clone()),
    };
    let Some((mut local, pod)) = local else {
        return connection.drive(&mut source).await;
    };
    let mut silent = Silent;
    let exit = tokio::select! {
        exit = connection.drive(&mut silent) => exit?,
        error = local.carry(source) => return Err(error.into()),
        gone = pod_gone(Some(pod)) => {
            gone?;
            return Err(ClientError::PodGone);
        }
    };
    local.finish()?;
    outbox.emptied().await;
    Ok(exit)
}

/// A connection whose handshake is done.
struct Connection {
    socket: Box<dyn Socket>,
    welcome: Welcome,
    reconnect: Reconnect,
    sink: ToApplication,
}

impl Connection {
    /// Drives it until the worker's end.
    async fn drive(mut self, source: &mut impl Source) -> Result<Exit, ClientError> {
        let timing = Timing::with_grace(Duration::from_secs(self.welcome.grace_seconds));
        let (sink, reconnect) = (&mut self.sink, &mut self.reconnect);
        let window = self.welcome.window;
        match drive(source, sink, reconnect, self.socket, window, timing).await? {
            End::Exit(exit) => Ok(exit),
            End::Settled => unreachable!("no source here ends"),
        }
    }
}

/// What an application says by a connection when the pod has the channel.
struct Silent;

impl Source for Silent {
    async fn next(&mut self) -> io::Result<Option<Frame>> {
        pending().await
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
        Frame::Exit(_) | Frame::Signal(_) | Frame::RequestsEnd | Frame::Lending(_) => {}
    }
}
