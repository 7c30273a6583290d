//! Another id for a request or a response, without decoding the rest.

use crate::frame::PREFIX;
use crate::view::{Message, ViewError, view};
use bytes::{Bytes, BytesMut};
use mediasoup_sys::fbs;

/// Slot of `data` in the schema's `Message`: behind the union's type.
const DATA: usize = 1;

/// Slot of `id` in the schema's `Request` and `Response`.
const ID: usize = 0;

/// A copy of the message with this id; a message that has none is returned as it is.
///
/// For messages of a worker. In one made with evil intent the id's bytes may be another field's too:
/// decode such a message and encode it again.
///
/// # Errors
/// The bytes are not one whole message of the schema.
pub fn with_id(message: &Bytes, id: u32) -> Result<Bytes, ViewError> {
    let before = match view(message)? {
        Message::Request(request) => request.id,
        Message::Response(response) => response.id,
        Message::Notification(_) | Message::Log(_) => return Ok(message.clone()),
    };
    if before == id {
        return Ok(message.clone());
    }
    if let Some(place) = id_place(message) {
        let mut copy = BytesMut::from(&message[..]);
        copy[place..place + 4].copy_from_slice(&id.to_le_bytes());
        return Ok(copy.freeze());
    }
    // An id of 0 need not be written down: there is no place to put another.
    if let Ok(mut request) = crate::request(message) {
        request.id = id;
        return Ok(crate::encode_request(&request));
    }
    let mut response: fbs::response::Response = crate::response(message)?;
    response.id = id;
    Ok(crate::encode_response(&response))
}

/// Where the four bytes of the id lie.
fn id_place(message: &[u8]) -> Option<usize> {
    let root = PREFIX + u32_at(message, PREFIX)?;
    let data = field(message, root, DATA)?;
    let table = data + u32_at(message, data)?;
    let place = field(message, table, ID)?;
    (place + 4 <= message.len()).then_some(place)
}

/// Where a table has its field `slot`, `None` if it has not (FlatBuffers' format: a table begins with
/// its distance from its vtable, which has two sizes and then an offset a field).
fn field(message: &[u8], table: usize, slot: usize) -> Option<usize> {
    let distance = i32::from_le_bytes(message.get(table..table + 4)?.try_into().ok()?);
    let vtable = usize::try_from(i64::try_from(table).ok()? - i64::from(distance)).ok()?;
    let entry = 4 + 2 * slot;
    if usize::from(u16_at(message, vtable)?) < entry + 2 {
        return None;
    }
    match u16_at(message, vtable + entry)? {
        0 => None,
        offset => Some(table + usize::from(offset)),
    }
}

fn u16_at(message: &[u8], place: usize) -> Option<u16> {
    let bytes = message.get(place..place.checked_add(2)?)?;
    Some(u16::from_le_bytes(bytes.try_into().ok()?))
}

fn u32_at(message: &[u8], place: usize) -> Option<usize> {
    let bytes = message.get(place..place.checked_add(4)?)?;
    usize::try_from(u32::from_le_bytes(bytes.try_into().ok()?)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use fbs::request::{Method, Request};
    use fbs::response::Response;

    fn request(id: u32) -> Bytes {
        crate::encode_request(&Request {
            id,
            method: Method::TransportDump,
            handler_id: "transport".to_owned(),
            body: None,
        })
    }

    #[test]
    fn a_request_gets_another_id_and_keeps_the_rest() {
        for (before, after) in [(1, 2), (7, 0), (0, 9), (u32::MAX, 1 << 31), (3, 3)] {
            let renumbered = with_id(&request(before), after).unwrap();
            assert_eq!(
                crate::request(&renumbered).unwrap(),
                crate::request(&request(after)).unwrap(),
                "{before} -> {after}"
            );
        }
    }

    #[test]
    fn so_does_a_response() {
        let response = |id| Response {
            id,
            accepted: false,
            body: None,
            error: Some("Error".to_owned()),
            reason: Some("why".to_owned()),
        };
        for (before, after) in [(5, 6), (0, 8)] {
            let renumbered = with_id(&crate::encode_response(&response(before)), after).unwrap();
            assert_eq!(crate::response(&renumbered).unwrap(), response(after));
        }
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let whole = request(5);
        for length in 0..whole.len() {
            assert!(with_id(&whole.slice(..length), 1).is_err());
        }
        for place in 0..whole.len() {
            for bit in 0..8 {
                let mut changed = whole.to_vec();
                changed[place] ^= 1 << bit;
                let _ = with_id(&changed.into(), 1);
            }
        }
    }
}
