//! What happens to messages between an application and its worker: they are checked, counted and,
//! where the pod has a say, rewritten. Pure: messages in, messages out.

use crate::inventory::Inventory;
use crate::listen_infos::{ForApplication, ForWorker, Rewriter};
use crate::seats::Seats;
use bytes::{Bytes, BytesMut};
use mafalda_channel::fbs::response::Response as OwnedResponse;
use mafalda_channel::{Message, ViewError, check, encode_response, messages, view};
use std::sync::{Arc, Mutex, PoisonError};

/// What becomes of a batch of the application's messages.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Inbound {
    /// To the worker, in this order.
    pub to_worker: Vec<Bytes>,
    /// Answers of the pod itself.
    pub to_application: Vec<Bytes>,
    /// How many messages there were.
    pub messages: u64,
    /// How many of them go nowhere.
    pub malformed: u64,
    /// What was wrong with the first of those, for the log. A batch may have a million.
    pub complaint: Option<String>,
}

impl Inbound {
    fn complain(&mut self, error: &impl ToString) {
        self.malformed += 1;
        self.complaint.get_or_insert_with(|| error.to_string());
    }
}

/// Stands between one application and one worker.
pub struct Translator {
    /// `None` with the application's own listen infos.
    rewriter: Option<Rewriter>,
    /// What the worker carries, shared with `/v1/status`.
    inventory: Arc<Mutex<Inventory>>,
    /// `None` for who is of no session.
    seats: Option<Seats>,
}

impl Translator {
    /// For a worker that was started just now.
    pub fn new(rewriter: Option<Rewriter>, inventory: Arc<Mutex<Inventory>>) -> Self {
        Self {
            rewriter,
            inventory,
            seats: None,
        }
    }

    /// For an application of a session.
    pub fn with_seats(self, seats: Option<Seats>) -> Self {
        Self { seats, ..self }
    }

    /// The application is gone: its session has room for others.
    pub fn leave(&mut self) {
        if let Some(seats) = &mut self.seats {
            seats.free_all();
        }
    }

    fn with_inventory<T>(&self, look: impl FnOnce(&mut Inventory) -> T) -> T {
        look(
            &mut self
                .inventory
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    /// Takes messages of the application. The worker gets no message that is not sound in every
    /// part, as it trusts what it reads: a malformed request is answered with an error.
    pub fn inbound(&mut self, batch: &Bytes) -> Inbound {
        let mut result = Inbound::default();
        for message in messages(batch) {
            result.messages += 1;
            let message = match message {
                Ok(message) => message,
                Err(error) => {
                    result.complain(&error);
                    break;
                }
            };
            let answer = match check(&message).and_then(|()| self.admit(&message)) {
                Ok(ForWorker::Unchanged) => {
                    result.to_worker.push(message);
                    continue;
                }
                Ok(ForWorker::Instead(instead)) => {
                    result.to_worker.extend(instead);
                    continue;
                }
                Ok(ForWorker::Answer(answer)) => Some(answer),
                Err(error) => {
                    result.complain(&error);
                    error_response(&message, &error)
                }
            };
            if let (Some(seats), Some(answer)) = (&mut self.seats, &answer) {
                seats.on_response(answer);
            }
            result.to_application.extend(answer);
        }
        if result.to_worker.len() as u64 == result.messages && is_whole(&result.to_worker, batch) {
            // Nothing was changed: one piece, as it came.
            result.to_worker = vec![batch.clone()];
        }
        result
    }

    /// Takes one message that was checked already, if its session has room for what it makes.
    fn admit(&mut self, message: &Bytes) -> Result<ForWorker, ViewError> {
        if let Some(seats) = &mut self.seats
            && let Some(refusal) = seats.on_request(message)?
        {
            return Ok(ForWorker::Answer(refusal));
        }
        self.rewrite(message)
    }

    /// Takes one message that was checked already, or that is our own.
    ///
    /// # Errors
    /// It is no message of the channel.
    pub fn rewrite(&mut self, message: &Bytes) -> Result<ForWorker, ViewError> {
        let rewritten = match &mut self.rewriter {
            Some(rewriter) => rewriter.on_request(message)?,
            None => ForWorker::Unchanged,
        };
        self.with_inventory(|inventory| match &rewritten {
            ForWorker::Unchanged => inventory.observe_request(message),
            ForWorker::Instead(instead) => {
                for message in instead {
                    inventory.observe_request(message);
                }
            }
            ForWorker::Answer(_) => {}
        });
        Ok(rewritten)
    }

    /// What the worker carries.
    pub fn inventory(&self) -> Arc<Mutex<Inventory>> {
        self.inventory.clone()
    }

    /// Takes messages of the worker; returns those for the application and how many there were.
    pub fn outbound(&mut self, batch: Bytes) -> Result<(Bytes, u64), ViewError> {
        let mut count = 0;
        let mut changed = false;
        let mut parts = Vec::new();
        for message in messages(&batch) {
            let message = message?;
            count += 1;
            self.with_inventory(|inventory| {
                inventory.observe_response(&message);
                inventory.observe_notification(&message);
            });
            if let Some(seats) = &mut self.seats {
                seats.on_response(&message);
            }
            let rewritten = match &mut self.rewriter {
                Some(rewriter) => rewriter.on_response(&message)?,
                None => ForApplication::Unchanged,
            };
            match rewritten {
                ForApplication::Unchanged => parts.push(message),
                ForApplication::Instead(instead) => {
                    changed = true;
                    parts.push(instead);
                }
                ForApplication::Nothing => changed = true,
            }
        }
        Ok((if changed { join(&parts) } else { batch }, count))
    }
}

/// Whether the parts are all of `batch`, one after the other and uncopied.
fn is_whole(parts: &[Bytes], batch: &Bytes) -> bool {
    let mut expected = batch.as_ptr();
    for part in parts {
        if part.as_ptr() != expected {
            return false;
        }
        expected = expected.wrapping_add(part.len());
    }
    expected == batch.as_ptr().wrapping_add(batch.len())
}

/// The messages as one piece.
pub fn join(parts: &[Bytes]) -> Bytes {
    match parts {
        [] => Bytes::new(),
        [one] => one.clone(),
        _ => {
            let mut joined = BytesMut::with_capacity(parts.iter().map(Bytes::len).sum());
            parts.iter().for_each(|part| joined.extend_from_slice(part));
            joined.freeze()
        }
    }
}

/// The answer to a malformed request, if it can be told which one it is.
fn error_response(message: &Bytes, error: &ViewError) -> Option<Bytes> {
    let Ok(Message::Request(request)) = view(message) else {
        return None;
    };
    Some(encode_response(&OwnedResponse {
        id: request.id,
        accepted: false,
        body: None,
        error: Some("TypeError".to_owned()),
        reason: Some(format!("malformed request: {error}")),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message of one byte is malformed, and many fit into one frame.
    #[test]
    fn garbage_is_counted_and_complained_of_once() {
        let mut translator = Translator::new(None, Arc::default());
        let batch = Bytes::from([1, 0, 0, 0, 7].repeat(1000));
        let inbound = translator.inbound(&batch);
        assert_eq!((inbound.messages, inbound.malformed), (1000, 1000));
        assert!(inbound.complaint.is_some());
        assert!(inbound.to_worker.is_empty() && inbound.to_application.is_empty());
    }
}
