//! Where a connection's next socket comes from: the HTTP API, where the client asks to resume.

use crate::pod::Pod;
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
    welcome: Welcome,
    receiver: Arc<Mutex<mpsc::Receiver<Resumption>>>,
}

impl Sockets {
    /// Of a connection; each socket is greeted with its `welcome`.
    pub fn new(pod: Pod, welcome: Welcome, receiver: mpsc::Receiver<Resumption>) -> Self {
        Self {
            pod,
            welcome,
            receiver: Arc::new(Mutex::new(receiver)),
        }
    }

    /// The connection's id.
    pub fn id(&self) -> &str {
        &self.welcome.connection
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
            let greeted = super::greeting::greet(&mut socket, &welcome).await;
            greeted.map_err(|error| DialError::Retry(error.to_string()))?;
            Ok(Attachment {
                socket,
                received: resumption.received,
            })
        }
        .boxed()
    }

    fn attached(&mut self) {
        tracing::info!(connection = self.id(), "resumed");
        self.pod.metrics().resumes.inc();
        self.pod.set_connected(self.id(), true);
    }

    fn detached(&mut self, reason: &str) {
        tracing::info!(connection = self.id(), reason, "socket lost, waiting");
        self.pod.set_connected(self.id(), false);
    }
}
