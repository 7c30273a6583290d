//! The transports that one application of a session has, and whether it may have one more.
//!
//! A pod sees no participants, only WebRtcTransports: a participant has two at most, one to send and one
//! to receive. So a session of so many participants has twice as many WebRtcTransports, over all its
//! applications, wherever its members are.
//!
//! A transport has its seat from the request that makes it, so that many requests at once pass no limit,
//! until the request that closes it or what it depends on: who closes one and makes the next at once finds
//! the seat free. One [`Seats`] serves one application. What it cannot read it passes over.

#[cfg(test)]
mod tests;

use bytes::Bytes;
use mafalda_channel::fbs::request::{BodyRef, Method};
use mafalda_channel::fbs::response::Response as OwnedResponse;
use mafalda_channel::fbs::web_rtc_transport::ListenRef;
use mafalda_channel::{Message, Request, ViewError, encode_response, view};
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

/// WebRtcTransports of one participant at most.
pub const EACH: u64 = 2;

/// A transport, as a session counts them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Transport {
    /// A participant's.
    WebRtc,
    /// Plain, pipe or direct: somebody uses the session by it, but no participant is counted.
    Other,
}

/// The session has as many participants as it may have.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "session {session} has {count} WebRtcTransports, all that its limit of {limit} participants allows \
     ({EACH} each): close one, or raise maxParticipants"
)]
pub struct Full {
    /// The session's name.
    pub session: String,
    /// Participants at most.
    pub limit: u32,
    /// WebRtcTransports that it has.
    pub count: u64,
}

/// What the session's applications share.
pub trait Room: Send {
    /// One more transport.
    ///
    /// # Errors
    /// There is no room for it.
    fn enter(&self, transport: Transport) -> Result<(), Full>;

    /// One less.
    fn leave(&self, transport: Transport);
}

/// An id's hash.
type Key = u64;

struct Seat {
    transport: Transport,
    router: Key,
    server: Option<Key>,
}

/// The transports of one application. Their seats are free when it is dropped.
pub struct Seats {
    room: Box<dyn Room>,
    taken: HashMap<Key, Seat>,
    /// Requests that make a transport and are not answered yet, by their ids.
    pending: HashMap<u32, Key>,
    keys: RandomState,
}

impl Seats {
    /// None yet, in that room.
    pub fn new(room: Box<dyn Room>) -> Self {
        Self {
            room,
            taken: HashMap::new(),
            pending: HashMap::new(),
            keys: RandomState::new(),
        }
    }

    /// Takes a request of the application that was checked, with its prefix. The answer to one that may
    /// not reach the worker.
    ///
    /// # Errors
    /// It is no message of the channel.
    pub fn on_request(&mut self, message: &[u8]) -> Result<Option<Bytes>, ViewError> {
        let Message::Request(request) = view(message)? else {
            return Ok(None);
        };
        if let Some(made) = made(&request)? {
            let key = self.key(made.id);
            // The worker has its own answer to an id that is there.
            if self.taken.contains_key(&key) {
                return Ok(None);
            }
            if let Err(full) = self.room.enter(made.transport) {
                return Ok(Some(refusal(request.id, &full)));
            }
            let seat = Seat {
                transport: made.transport,
                router: self.key(request.handler_id),
                server: made.server.map(|id| self.key(id)),
            };
            self.taken.insert(key, seat);
            self.pending.insert(request.id, key);
            return Ok(None);
        }
        if !closes(request.method) {
            return Ok(None);
        }
        let handler = self.key(request.handler_id);
        match request.body()? {
            Some(BodyRef::RouterCloseTransportRequest(body)) => {
                let key = self.key(body.transport_id()?);
                self.free(|at, seat| at == key && seat.router == handler);
            }
            Some(BodyRef::WorkerCloseRouterRequest(body)) => {
                let key = self.key(body.router_id()?);
                self.free(|_, seat| seat.router == key);
            }
            Some(BodyRef::WorkerCloseWebRtcServerRequest(body)) => {
                let key = self.key(body.web_rtc_server_id()?);
                self.free(|_, seat| seat.server == Some(key));
            }
            _ => {}
        }
        Ok(None)
    }

    /// Takes a message for the application, with its prefix: what was refused has no seat.
    pub fn on_response(&mut self, message: &[u8]) {
        if self.pending.is_empty() {
            return;
        }
        let Ok(Message::Response(response)) = view(message) else {
            return;
        };
        if let Some(key) = self.pending.remove(&response.id)
            && !response.accepted
        {
            self.free(|at, _| at == key);
        }
    }

    /// The application is gone.
    pub fn free_all(&mut self) {
        self.pending.clear();
        self.free(|_, _| true);
    }

    fn free(&mut self, which: impl Fn(Key, &Seat) -> bool) {
        let room = &self.room;
        self.taken.retain(|key, seat| {
            let goes = which(*key, seat);
            if goes {
                room.leave(seat.transport);
            }
            !goes
        });
    }

    fn key(&self, id: &str) -> Key {
        self.keys.hash_one(id)
    }
}

impl Drop for Seats {
    fn drop(&mut self) {
        self.free_all();
    }
}

/// A transport that a request makes.
struct Made<'a> {
    id: &'a str,
    transport: Transport,
    /// The WebRtcServer that it is on.
    server: Option<&'a str>,
}

/// The transport that the request makes, if it makes one.
fn made<'a>(request: &Request<'a>) -> Result<Option<Made<'a>>, ViewError> {
    if !makes(request.method) {
        return Ok(None);
    }
    let Some(body) = request.body()? else {
        return Ok(None);
    };
    let other = |id| Made {
        id,
        transport: Transport::Other,
        server: None,
    };
    Ok(Some(match body {
        BodyRef::RouterCreateWebRtcTransportRequest(body) => {
            let server = match body.options()?.listen()? {
                ListenRef::ListenServer(listen) => Some(listen.web_rtc_server_id()?),
                ListenRef::ListenIndividual(_) => None,
            };
            Made {
                id: body.transport_id()?,
                transport: Transport::WebRtc,
                server,
            }
        }
        BodyRef::RouterCreatePlainTransportRequest(body) => other(body.transport_id()?),
        BodyRef::RouterCreatePipeTransportRequest(body) => other(body.transport_id()?),
        BodyRef::RouterCreateDirectTransportRequest(body) => other(body.transport_id()?),
        _ => return Ok(None),
    }))
}

fn makes(method: Method) -> bool {
    matches!(
        method,
        Method::RouterCreateWebrtctransport
            | Method::RouterCreateWebrtctransportWithServer
            | Method::RouterCreatePlaintransport
            | Method::RouterCreatePipetransport
            | Method::RouterCreateDirecttransport
    )
}

fn closes(method: Method) -> bool {
    matches!(
        method,
        Method::RouterCloseTransport | Method::WorkerCloseRouter | Method::WorkerWebrtcserverClose
    )
}

fn refusal(id: u32, full: &Full) -> Bytes {
    encode_response(&OwnedResponse {
        id,
        accepted: false,
        body: None,
        error: Some("Error".to_owned()),
        reason: Some(full.to_string()),
    })
}
