//! Several pods in `MAFALDA_URL`: the relay runs the virtual worker itself, over the workers of all.

use super::channel::Descriptors;
use super::pods::Pods;
use super::settings::{SettingError, settings};
use mafalda_link::client::{Target, start, token_from_env, url_from_env};
use mafalda_link::{Exit, Frame};
use mafalda_media_pod::horizontal::{self, Horizontal, HorizontalError};
use mafalda_media_pod::{Grant, Peer};
use std::io::Write;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{interval, sleep};

/// How often the file with the pods is read, or their host name looked up, again.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// How long a text that is another one must stay so: the file may be half written.
const WRITTEN: Duration = Duration::from_millis(200);

/// Why there is no worker over pods.
#[derive(Debug, thiserror::Error)]
pub enum SpanError {
    /// A setting is wrong.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// It could not begin, or broke.
    #[error(transparent)]
    Horizontal(#[from] HorizontalError),
}

impl From<std::io::Error> for SpanError {
    fn from(error: std::io::Error) -> Self {
        Self::Horizontal(error.into())
    }
}

/// Runs the virtual worker over these pods, and those that take their place, which `looks` finds.
///
/// # Errors
/// It could not begin.
pub async fn run(
    first: Vec<Peer>,
    looks: Pods,
    descriptors: Descriptors,
    target: Target,
) -> Result<Exit, SpanError> {
    let settings = settings(&|variable| std::env::var(variable).ok())?;
    let horizontal = Horizontal {
        start: start(std::env::args().skip(1).collect()),
        mediasoup: target.mediasoup,
        ca: target.ca,
        placement: settings.placement,
        watermark: settings.watermark,
        pipes: settings.pipes,
    };
    let (sender, receiver) = watch::channel(Grant {
        pods: first,
        token: target.token,
    });
    let (mut terminate, mut interrupt) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let mediasoup = horizontal.mediasoup.clone();
    let run = horizontal::run(horizontal, receiver, descriptors.into_std()?, stop, write);
    tokio::select! {
        result = run => Ok(result?),
        () = look_again(looks, mediasoup, sender) => unreachable!("it looks for ever"),
    }
}

/// Tells of pods that come and go. What cannot be used, as a name that is not found for a moment or a file
/// that is being written, changes nothing, and is said once.
async fn look_again(mut looks: Pods, mediasoup: String, grant: watch::Sender<Grant>) {
    let mut ticks = interval(LOOK_AGAIN);
    let (mut last, mut told) = (String::new(), String::new());
    loop {
        ticks.tick().await;
        let found = match text(&mut last).await {
            Ok(text) => looks.again(&text, &mediasoup).await,
            Err(reason) => Err(reason),
        };
        match found {
            Ok(found) => {
                told.clear();
                grant.send_if_modified(|known| {
                    let now = Grant {
                        pods: found,
                        // The first day's token may have ended; a file may be away for a moment.
                        token: token_from_env().unwrap_or_else(|_| known.token.clone()),
                    };
                    let changed = *known != now;
                    *known = now;
                    changed
                });
            }
            Err(reason) if reason == told => {}
            Err(reason) => {
                let line = format!("mafalda-worker: {reason}; the pods stay as they are\n");
                write(Frame::Stderr(line.into()));
                told = reason;
            }
        }
    }
}

/// What the environment says now. `last` is what it said before.
async fn text(last: &mut String) -> Result<String, String> {
    let read = || url_from_env().map_err(|error| error.to_string());
    let mut text = read()?;
    while text != *last {
        sleep(WRITTEN).await;
        last.clone_from(&text);
        text = read()?;
    }
    Ok(text)
}

/// What members write is for the application's own output. One that reads none misses it.
fn write(frame: Frame) {
    let _ = match frame {
        Frame::Stdout(text) => std::io::stdout().write_all(&text),
        Frame::Stderr(text) => std::io::stderr().write_all(&text),
        _ => Ok(()),
    };
}
