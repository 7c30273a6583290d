//! Carries the channel between a worker and an application on the same host, past the connection.

use super::hand_over::ApplicationEnds;
use super::intake::{Intake, Messages};
use super::outlet::Outlet;
use bytes::{Buf, Bytes};
use mafalda_link::Frame;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// The two directions at work.
pub struct Local {
    /// Stops when this is dropped, and the worker learns that its application is gone.
    _requests: JoinSet<()>,
    responses: JoinSet<()>,
    _alive: UnixStream,
}

impl Local {
    /// Starts both. What is neither request nor response goes `to_link`.
    pub fn start(
        ends: ApplicationEnds,
        intake: Intake,
        worker: Messages,
        outlet: Outlet,
        answers: mpsc::Receiver<Frame>,
        to_link: mpsc::Sender<Frame>,
    ) -> Self {
        let (mut requests, mut responses) = (JoinSet::new(), JoinSet::new());
        let application = Messages::new(ends.requests, intake.max_message());
        requests.spawn(carry_requests(application, intake));
        responses.spawn(carry_responses(
            worker,
            outlet,
            answers,
            ends.responses,
            to_link,
        ));
        Self {
            _requests: requests,
            responses,
            _alive: ends.alive,
        }
    }

    /// Waits until the worker's last message is where it belongs; pending for ever after that.
    pub async fn silence(&mut self) {
        if self.responses.join_next().await.is_none() {
            std::future::pending().await
        }
    }

    /// Whether that is so.
    pub fn is_silent(&self) -> bool {
        self.responses.is_empty()
    }
}

async fn carry_requests(mut application: Messages, mut intake: Intake) {
    loop {
        match application.next().await {
            Ok(Some(batch)) => {
                intake.accept(&batch);
                intake.flush().await;
            }
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(pid = intake.pid(), %error, "the application's channel broke");
                return;
            }
        }
    }
}

async fn carry_responses(
    mut worker: Messages,
    outlet: Outlet,
    mut answers: mpsc::Receiver<Frame>,
    mut application: UnixStream,
    to_link: mpsc::Sender<Frame>,
) {
    loop {
        let messages: Bytes = tokio::select! {
            batch = worker.next() => match batch.map(|batch| batch.map(|batch| outlet.pass(batch))) {
                Ok(Some(Ok(messages))) => messages,
                Ok(None) => return,
                Ok(Some(Err(error))) | Err(error) => {
                    tracing::warn!(%error, "a worker's channel broke");
                    return;
                }
            },
            Some(frame) = answers.recv() => match frame {
                Frame::Channel(messages) => messages,
                frame => {
                    // A connection that is over needs no words.
                    let _ = to_link.send(frame).await;
                    continue;
                }
            },
        };
        let mut messages = messages;
        while messages.has_remaining() {
            if application.write_buf(&mut messages).await.is_err() {
                // The application is gone, and its requests have ended too: the worker will.
                break;
            }
        }
    }
}
