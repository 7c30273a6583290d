//! What a worker's messages go through on their way to its application.

use crate::metrics::Direction;
use crate::pod::Pod;
use crate::translate::Translator;
use bytes::Bytes;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

/// The way out of a worker.
pub struct Outlet {
    translator: Arc<Mutex<Translator>>,
    pod: Pod,
}

impl Outlet {
    /// Of the worker that the translator stands before.
    pub fn new(translator: Arc<Mutex<Translator>>, pod: Pod) -> Self {
        Self { translator, pod }
    }

    /// Takes whole messages of the worker; those for the application are returned.
    pub fn pass(&self, batch: Bytes) -> io::Result<Bytes> {
        let length = batch.len();
        let mut translator = self
            .translator
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let (batch, count) = translator.outbound(batch).map_err(io::Error::other)?;
        drop(translator);
        let metrics = self.pod.metrics();
        metrics.count_messages(Direction::ToApplication, count, length);
        Ok(batch)
    }
}
