//! Messages that Mafalda makes or changes itself.

use crate::frame::PREFIX;
use crate::view::{ViewError, root};
use bytes::{BufMut, Bytes, BytesMut};
use mediasoup_sys::fbs;
use mediasoup_sys::fbs::message::{Body, BodyRef};

/// Decodes a request whole.
pub fn request(message: &[u8]) -> Result<fbs::request::Request, ViewError> {
    match root(message)? {
        BodyRef::Request(table) => Ok(table.try_into()?),
        other => Err(kind("request", &other)),
    }
}

/// Decodes a response whole.
pub fn response(message: &[u8]) -> Result<fbs::response::Response, ViewError> {
    match root(message)? {
        BodyRef::Response(table) => Ok(table.try_into()?),
        other => Err(kind("response", &other)),
    }
}

/// Decodes a notification whole.
pub fn notification(message: &[u8]) -> Result<fbs::notification::Notification, ViewError> {
    match root(message)? {
        BodyRef::Notification(table) => Ok(table.try_into()?),
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

fn kind(expected: &'static str, got: &BodyRef<'_>) -> ViewError {
    let got = match got {
        BodyRef::Request(_) => "request",
        BodyRef::Response(_) => "response",
        BodyRef::Notification(_) => "notification",
        BodyRef::Log(_) => "log line",
    };
    ViewError::Kind { expected, got }
}
