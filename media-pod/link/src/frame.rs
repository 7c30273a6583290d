//! What a frame carries.

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

/// The largest size prefix of a channel message, and so of the first four bytes of a frame that
/// carries the channel, in bytes (mediasoup's own limit is 4 MiB).
pub const MAX_CHANNEL_SIZE: u32 = 0x0fff_ffff;

const MARK: u32 = 0xffff_ff00;
const STDOUT: u32 = MARK | 1;
const STDERR: u32 = MARK | 2;
const SIGNAL: u32 = MARK | 3;
const REQUESTS_END: u32 = MARK | 4;
const EXIT: u32 = MARK | 5;
const LENDING: u32 = MARK | 6;

/// How a worker's process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Exit {
    /// It returned this status.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
}

/// One numbered message of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// One or more whole channel messages, each with its size prefix.
    Channel(Bytes),
    /// Pod to application: what the worker wrote to its standard output.
    Stdout(Bytes),
    /// Pod to application: what the worker wrote to its standard error.
    Stderr(Bytes),
    /// Application to pod: a signal for the worker.
    Signal(u8),
    /// Application to pod: the application closed the worker's request descriptor.
    RequestsEnd,
    /// Pod to application, its last frame: the worker has ended.
    Exit(Exit),
    /// Between pods that lend each other workers: what is said of them, in JSON.
    Lending(Bytes),
}

/// A frame that is none of the known ones.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {length} bytes that begins with {mark:#010x} is not one of protocol 1")]
pub struct UnknownFrame {
    /// Its first four bytes, little-endian; 0 when there are fewer.
    pub mark: u32,
    /// Its length in bytes.
    pub length: usize,
}

fn marked(mark: u32, body: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(4 + body.len());
    bytes.put_u32_le(mark);
    bytes.put_slice(body);
    bytes.freeze()
}

impl Frame {
    /// Whether an application that says this wants its worker's end.
    pub(crate) fn is_leave(&self) -> bool {
        matches!(self, Self::Signal(_) | Self::RequestsEnd)
    }

    /// The frame as it goes over the wire. A channel frame is not copied.
    pub fn encode(self) -> Bytes {
        match self {
            Self::Channel(messages) => messages,
            Self::Stdout(text) => marked(STDOUT, &text),
            Self::Stderr(text) => marked(STDERR, &text),
            Self::Signal(number) => marked(SIGNAL, &[number]),
            Self::RequestsEnd => marked(REQUESTS_END, &[]),
            Self::Lending(note) => marked(LENDING, &note),
            Self::Exit(Exit::Code(code)) => {
                marked(EXIT, &[&[0][..], &code.to_le_bytes()[..]].concat())
            }
            Self::Exit(Exit::Signal(number)) => {
                marked(EXIT, &[&[1][..], &number.to_le_bytes()[..]].concat())
            }
        }
    }

    /// Reads a frame off the wire. The channel's messages are not copied, nor looked into.
    pub fn decode(bytes: Bytes) -> Result<Self, UnknownFrame> {
        let length = bytes.len();
        let unknown = |mark| UnknownFrame { mark, length };
        let Some(first) = bytes.first_chunk::<4>() else {
            return Err(unknown(0));
        };
        let mark = u32::from_le_bytes(*first);
        if mark <= MAX_CHANNEL_SIZE {
            return Ok(Self::Channel(bytes));
        }
        let body = bytes.slice(4..);
        match (mark, &body[..]) {
            (STDOUT, _) => Ok(Self::Stdout(body)),
            (STDERR, _) => Ok(Self::Stderr(body)),
            (SIGNAL, &[number]) => Ok(Self::Signal(number)),
            (REQUESTS_END, []) => Ok(Self::RequestsEnd),
            (LENDING, _) => Ok(Self::Lending(body)),
            (EXIT, &[kind @ (0 | 1), a, b, c, d]) => {
                let number = i32::from_le_bytes([a, b, c, d]);
                Ok(Self::Exit(if kind == 0 {
                    Exit::Code(number)
                } else {
                    Exit::Signal(number)
                }))
            }
            _ => Err(unknown(mark)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_frame_survives_the_wire() {
        let text = Bytes::from_static(b"\xffnot utf-8");
        for frame in [
            Frame::Channel(Bytes::from_static(&[2, 0, 0, 0, 7, 8])),
            Frame::Stdout(text.clone()),
            Frame::Stderr(text.clone()),
            Frame::Lending(text),
            Frame::Signal(15),
            Frame::RequestsEnd,
            Frame::Exit(Exit::Code(-1)),
            Frame::Exit(Exit::Signal(9)),
        ] {
            assert_eq!(Frame::decode(frame.clone().encode()), Ok(frame));
        }
    }

    #[test]
    fn the_channel_is_not_copied() {
        let messages = Bytes::from(vec![2, 0, 0, 0, 7, 8]);
        let encoded = Frame::Channel(messages.clone()).encode();
        assert_eq!(encoded.as_ptr(), messages.as_ptr());
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_frame_or_an_error(bytes: Vec<u8>, mark in 0xffff_ff00u32..) {
            let _ = Frame::decode(bytes.clone().into());
            let marked = [&mark.to_le_bytes()[..], &bytes[..]].concat();
            let _ = Frame::decode(marked.into());
        }
    }
}
