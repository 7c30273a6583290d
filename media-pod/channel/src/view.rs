//! Looking into a message without copying it.

use crate::frame::{FrameError, PREFIX, whole_size};
use mediasoup_sys::fbs;
use planus::ReadAsRoot;
use std::fmt::{self, Debug, Formatter};
use thiserror::Error;

/// Why a message cannot be understood.
#[derive(Clone, Copy, Debug, Error)]
pub enum ViewError {
    /// It is not one message behind its size.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// It is no FlatBuffer of the schema, or of another version of it.
    #[error("not a message of this mediasoup version's channel: {0}")]
    Malformed(planus::Error),
    /// It is a message of another kind than was asked for.
    #[error("expected a {expected}, got a {got}")]
    Kind {
        expected: &'static str,
        got: &'static str,
    },
    /// It has no body or another than requests of this method have.
    #[error("the body does not belong to a {0:?} request")]
    RequestBody(fbs::request::Method),
    /// It has no body or another than notifications of this event have.
    #[error("the body does not belong to a {0:?} notification")]
    NotificationBody(fbs::notification::Event),
    /// To decode it would take memory out of proportion to its size.
    #[error("the message's parts add up to more than its size")]
    Amplified,
}

impl From<planus::Error> for ViewError {
    fn from(error: planus::Error) -> Self {
        Self::Malformed(error)
    }
}

/// What a message is.
#[derive(Clone, Copy, Debug)]
pub enum Message<'a> {
    Request(Request<'a>),
    Response(Response<'a>),
    Notification(Notification<'a>),
    /// A line of the worker's log; its first letter is the level (D, W, E, or X for a dump).
    Log(&'a str),
}

/// A request of the library to its worker.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    pub id: u32,
    pub method: fbs::request::Method,
    /// The router, transport, producer … that the request is for; empty for the worker itself.
    pub handler_id: &'a str,
    table: fbs::request::RequestRef<'a>,
}

impl<'a> Request<'a> {
    /// What the request carries. Its fields are checked as they are read.
    pub fn body(&self) -> Result<Option<fbs::request::BodyRef<'a>>, ViewError> {
        Ok(self.table.body()?)
    }
}

/// A worker's answer to a request.
#[derive(Clone, Copy)]
pub struct Response<'a> {
    /// The request's id.
    pub id: u32,
    pub accepted: bool,
    /// Class of the error: `Error`, `TypeError` or `NotFoundError`.
    pub error: Option<&'a str>,
    pub reason: Option<&'a str>,
    table: fbs::response::ResponseRef<'a>,
}

impl<'a> Response<'a> {
    /// What the response carries. Its fields are checked as they are read.
    pub fn body(&self) -> Result<Option<fbs::response::BodyRef<'a>>, ViewError> {
        Ok(self.table.body()?)
    }
}

/// An event, from the worker or to it.
#[derive(Clone, Copy)]
pub struct Notification<'a> {
    /// What the event is about; the worker's process id for the worker itself.
    pub handler_id: &'a str,
    pub event: fbs::notification::Event,
    table: fbs::notification::NotificationRef<'a>,
}

impl<'a> Notification<'a> {
    /// What the notification carries. Its fields are checked as they are read.
    pub fn body(&self) -> Result<Option<fbs::notification::BodyRef<'a>>, ViewError> {
        Ok(self.table.body()?)
    }
}

// Without the body: a message may refer to one part many times, and its text would be far larger
// than itself.
impl Debug for Request<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("id", &self.id)
            .field("method", &self.method)
            .field("handler_id", &self.handler_id)
            .finish_non_exhaustive()
    }
}

impl Debug for Response<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("id", &self.id)
            .field("accepted", &self.accepted)
            .field("error", &self.error)
            .field("reason", &self.reason)
            .finish_non_exhaustive()
    }
}

impl Debug for Notification<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notification")
            .field("handler_id", &self.handler_id)
            .field("event", &self.event)
            .finish_non_exhaustive()
    }
}

/// Looks into one message, given with its prefix. Nothing is copied, and only the outer fields are
/// checked: those of the body when they are read.
///
/// # Errors
/// The bytes are not one whole message of the schema.
pub fn view(message: &[u8]) -> Result<Message<'_>, ViewError> {
    use fbs::message::BodyRef;
    Ok(match root(message)? {
        BodyRef::Request(table) => Message::Request(Request {
            id: table.id()?,
            method: table.method()?,
            handler_id: table.handler_id()?,
            table,
        }),
        BodyRef::Response(table) => Message::Response(Response {
            id: table.id()?,
            accepted: table.accepted()?,
            error: table.error()?,
            reason: table.reason()?,
            table,
        }),
        BodyRef::Notification(table) => Message::Notification(Notification {
            handler_id: table.handler_id()?,
            event: table.event()?,
            table,
        }),
        BodyRef::Log(table) => Message::Log(table.data()?),
    })
}

pub(crate) fn root(message: &[u8]) -> Result<fbs::message::BodyRef<'_>, ViewError> {
    let size = whole_size(message)?;
    if size < message.len() {
        return Err(FrameError::Trailing {
            extra: message.len() - size,
        }
        .into());
    }
    Ok(fbs::message::MessageRef::read_as_root(&message[PREFIX..])?.data()?)
}
