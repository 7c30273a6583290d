//! Where a connection's next socket comes from: the HTTP API, where the client asks to resume.

use crate::pod::{Pod, SlotState};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use mafalda_link::{Attachment, Dial, DialError, Socket, Welcome};
use std::sync::Arc;
use tokio::sync::{Mutex, mpsc};

/// A socket whose client has shown the connection's secret.
pub struct Resumption {
    /// The socket, past the hello.
    pub socket: Box<dyn Socket>,
    /// How many frames the client has received.
    pub received: u64,
}

/// The sockets of one connection, as they come.
pub struct Sockets {
    pod: Pod,
    slot: usize,
    welcome: Welcome,
    receiver: Arc<Mutex<mpsc::Receiver<Resumption>>>,
}

impl Sockets {
    /// Of the connection that `slot` serves; each socket is greeted with `welcome`.
    pub fn new(
        pod: Pod,
        slot: usize,
        welcome: Welcome,
        receiver: mpsc::Receiver<Resumption>,
    ) -> Self {
        Self {
            pod,
            slot,
            welcome,
            receiver: Arc::new(Mutex::new(receiver)),
        }
    }

    fn set_connected(&self, is: bool) {
        self.pod.with_slot(self.slot, |slot| {
            // The slot may be another connection's, while this one's end is on its way.
            if let SlotState::Busy(busy) = &mut slot.state
                && busy.connection == self.welcome.connection
            {
                busy.connected = is;
            }
        });
    }
}

impl Dial for Sockets {
    type Candidate = Resumption;

    fn dial(
        &mut self,
        _connected: bool,
    ) -> Option<BoxFuture<'static, Result<Resumption, DialError>>> {
        let receiver = self.receiver.clone();
        let next = async move {
            match receiver.lock().await.recv().await {
                Some(resumption) => Ok(resumption),
                // The pod forgot the connection, which it does when it is over.
                None => std::future::pending().await,
            }
        };
        Some(next.boxed())
    }

    fn attach(
        &mut self,
        resumption: Resumption,
        received: u64,
    ) -> BoxFuture<'_, Result<Attachment, DialError>> {
        async move {
            let mut socket = resumption.socket;
            let welcome = Welcome {
                received,
                ..self.welcome.clone()
            };
            let greeted = super::greet(&mut socket, &welcome).await;
            greeted.map_err(|error| DialError::Retry(error.to_string()))?;
            Ok(Attachment {
                socket,
                received: resumption.received,
            })
        }
        .boxed()
    }

    fn attached(&mut self) {
        tracing::info!(
            worker = self.slot,
            connection = self.welcome.connection,
            "resumed"
        );
        self.pod.metrics().resumes.inc();
        self.set_connected(true);
    }

    fn detached(&mut self, reason: &str) {
        let connection = &self.welcome.connection;
        tracing::info!(
            worker = self.slot,
            connection,
            reason,
            "socket lost, waiting"
        );
        self.set_connected(false);
    }
}
