//! Whether a message may go to a worker.

use crate::bodies::{notification_fits, request_fits};
use crate::owned;
use crate::view::{Message, Notification, Request, ViewError, view};
use mediasoup_sys::fbs::{notification, request};

/// Checks every part of a message of an application. mediasoup's worker trusts what it reads: it
/// follows any offset, and takes it for granted that a request has the body of its method. The
/// message is not changed, and media in it is not copied.
///
/// # Errors
/// The bytes are not one whole message, it is neither a request nor a notification, something in
/// it is not as the schema says, its body is not that of its method or event, or it refers to the
/// same bytes out of proportion.
pub fn check(message: &[u8]) -> Result<(), ViewError> {
    let got = match view(message)? {
        Message::Request(request) => return check_request(message, &request),
        Message::Notification(notification) => return check_notification(message, &notification),
        Message::Response(_) => "response",
        Message::Log(_) => "log line",
    };
    Err(ViewError::Kind {
        expected: "request or notification",
        got,
    })
}

fn check_request(message: &[u8], request: &Request<'_>) -> Result<(), ViewError> {
    let body = request.body()?;
    if !request_fits(request.method, body)? {
        return Err(ViewError::RequestBody(request.method));
    }
    match body {
        None => Ok(()),
        // One vector of bytes, often a large one.
        Some(request::BodyRef::DataConsumerSendRequest(send)) => {
            send.ppid()?;
            send.data()?;
            Ok(())
        }
        Some(_) => owned::request(message).map(drop),
    }
}

fn check_notification(message: &[u8], notification: &Notification<'_>) -> Result<(), ViewError> {
    use notification::BodyRef as Body;

    let body = notification.body()?;
    if !notification_fits(notification.event, body) {
        return Err(ViewError::NotificationBody(notification.event));
    }
    match body {
        None => Ok(()),
        // Media of direct transports: vectors of bytes and numbers.
        Some(Body::ProducerSendNotification(send)) => Ok(send.data().map(drop)?),
        Some(Body::TransportSendRtcpNotification(send)) => Ok(send.data().map(drop)?),
        Some(Body::DataProducerSendNotification(send)) => {
            send.ppid()?;
            send.data()?;
            send.subchannels()?;
            send.required_subchannel()?;
            send.ignored_subchannel()?;
            Ok(())
        }
        Some(_) => owned::notification(message).map(drop),
    }
}
