//! Messages that Mafalda makes or changes itself.

use crate::frame::PREFIX;
use crate::view::{ViewError, root};
use bytes::{BufMut, Bytes, BytesMut};
use mediasoup_sys::fbs;
use mediasoup_sys::fbs::message::{Body, BodyRef};
use std::fmt::{self, Debug, Write};

/// Decodes a request whole.
///
/// # Errors
/// The message is not a request, not sound in every part, or its parts refer to the same bytes so
/// often that decoding them would take memory out of proportion ([`ViewError::Amplified`]).
pub fn request(message: &[u8]) -> Result<fbs::request::Request, ViewError> {
    match root(message)? {
        BodyRef::Request(table) => {
            check_proportion(message, &table)?;
            Ok(table.try_into()?)
        }
        other => Err(kind("request", &other)),
    }
}

/// Decodes a response whole.
///
/// # Errors
/// As [`request`].
pub fn response(message: &[u8]) -> Result<fbs::response::Response, ViewError> {
    match root(message)? {
        BodyRef::Response(table) => {
            check_proportion(message, &table)?;
            Ok(table.try_into()?)
        }
        other => Err(kind("response", &other)),
    }
}

/// Decodes a notification whole.
///
/// # Errors
/// As [`request`].
pub fn notification(message: &[u8]) -> Result<fbs::notification::Notification, ViewError> {
    match root(message)? {
        BodyRef::Notification(table) => {
            check_proportion(message, &table)?;
            Ok(table.try_into()?)
        }
        other => Err(kind("notification", &other)),
    }
}

/// The request as a message with its prefix.
pub fn encode_request(request: &fbs::request::Request) -> Bytes {
    encode(|builder| Body::create_request(builder, request))
}

/// The response as a message with its prefix.
pub fn encode_response(response: &fbs::response::Response) -> Bytes {
    encode(|builder| Body::create_response(builder, response))
}

/// The notification as a message with its prefix.
pub fn encode_notification(notification: &fbs::notification::Notification) -> Bytes {
    encode(|builder| Body::create_notification(builder, notification))
}

fn encode(body: impl FnOnce(&mut planus::Builder) -> planus::UnionOffset<Body>) -> Bytes {
    let mut builder = planus::Builder::with_capacity(1024);
    let body = body(&mut builder);
    let message = fbs::message::Message::create(&mut builder, body);
    let payload = builder.finish(message, None);
    let mut bytes = BytesMut::with_capacity(PREFIX + payload.len());
    bytes.put_u32_le(payload.len() as u32);
    bytes.put_slice(payload);
    bytes.freeze()
}

/// A FlatBuffer may refer to one part from many places, vectors in vectors: a few kilobytes can
/// describe terabytes. The schema's own `Debug` visits all that decoding would copy, so it is run
/// into a writer that gives up past a bound (an honest message prints 3 to 10 times its size).
fn check_proportion(message: &[u8], table: &impl Debug) -> Result<(), ViewError> {
    struct Budget(usize);

    impl fmt::Write for Budget {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0 = self.0.checked_sub(text.len()).ok_or(fmt::Error)?;
            Ok(())
        }
    }

    write!(Budget(16 * message.len() + 4096), "{table:?}").map_err(|_| ViewError::Amplified)
}

fn kind(expected: &'static str, got: &BodyRef<'_>) -> ViewError {
    let got = match got {
        BodyRef::Request(_) => "request",
        BodyRef::Response(_) => "response",
        BodyRef::Notification(_) => "notification",
        BodyRef::Log(_) => "log line",
    };
    ViewError::Kind { expected, got }
}
