//! Finding whole messages in a stream of bytes.

use bytes::{Buf, Bytes, BytesMut};
use thiserror::Error;

/// Bytes in front of each message: the size of what follows, little endian.
pub const PREFIX: usize = 4;

/// The largest message of mediasoup 3.27.1, in bytes with its prefix: `MESSAGE_MAX_LEN` in its
/// `Channel.ts`, `MessageMaxLen` in its `ChannelSocket.cpp`.
pub const MAX_MESSAGE: usize = 8_388_608;

/// Room that [`Decoder::buffer_mut`] offers at least, in bytes.
const LEAST_ROOM: usize = 4 * 1024;

/// Room that it makes when there is less, in bytes.
const READ_ROOM: usize = 64 * 1024;

/// Why a stream cannot be cut into messages. It cannot be read any further: where the next message
/// begins is unknown.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum FrameError {
    #[error("a message of {size} bytes is larger than the limit of {max} bytes")]
    TooLarge { size: usize, max: usize },
    #[error("a message of no bytes")]
    Empty,
    #[error("the bytes end within a message: {missing} bytes are missing")]
    Truncated { missing: usize },
    #[error("{extra} bytes follow where one message was expected")]
    Trailing { extra: usize },
}

/// Cuts a stream of bytes into messages.
#[derive(Debug)]
pub struct Decoder {
    buffer: BytesMut,
    max_message: usize,
}

impl Decoder {
    /// A decoder that refuses messages of more than `max_message` bytes, prefix included.
    pub fn new(max_message: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            max_message,
        }
    }

    /// Takes the next bytes of the stream, by a copy. See [`Decoder::buffer_mut`] to do without.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The buffer to read the stream into, with room for 4 KiB or more at its end. Only append
    /// to it. Memory follows the bytes that came, never the size that a prefix claims.
    ///
    /// Messages taken off it keep the 64 KiB alive that they lie in, so one such piece serves many.
    pub fn buffer_mut(&mut self) -> &mut BytesMut {
        if self.buffer.capacity() - self.buffer.len() < LEAST_ROOM {
            self.buffer.reserve(READ_ROOM);
        }
        &mut self.buffer
    }

    /// Bytes held that were not yielded yet.
    pub fn pending(&self) -> usize {
        self.buffer.len()
    }

    /// The next whole message with its prefix, `None` if more bytes are needed.
    ///
    /// # Errors
    /// A size that is zero or above the limit, again at each further call.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Bytes>, FrameError> {
        Ok(first(&self.buffer, self.max_message)?.map(|size| self.take(size)))
    }

    /// As many whole messages as are there and fit into `limit` bytes, contiguous, each with its
    /// prefix; at least one, however large it is. `None` if more bytes are needed.
    ///
    /// # Errors
    /// As [`Decoder::next`], after the messages in front of the wrong one were yielded.
    pub fn next_batch(&mut self, limit: usize) -> Result<Option<Bytes>, FrameError> {
        let Some(mut end) = first(&self.buffer, self.max_message)? else {
            return Ok(None);
        };
        while let Ok(Some(size)) = first(&self.buffer[end..], self.max_message) {
            if end + size > limit {
                break;
            }
            end += size;
        }
        Ok(Some(self.take(end)))
    }

    fn take(&mut self, size: usize) -> Bytes {
        self.buffer.split_to(size).freeze()
    }
}

/// Splits a batch into its messages, each with its prefix and none copied. What is not a whole
/// message is yielded as an error, once, and ends the iteration.
pub fn messages(batch: &Bytes) -> Messages {
    Messages {
        rest: batch.clone(),
    }
}

/// Iterator over the messages of a batch, made by [`messages`].
#[derive(Clone, Debug)]
pub struct Messages {
    rest: Bytes,
}

impl Iterator for Messages {
    type Item = Result<Bytes, FrameError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        match whole_size(&self.rest) {
            Ok(size) => Some(Ok(self.rest.split_to(size))),
            Err(error) => {
                self.rest.clear();
                Some(Err(error))
            }
        }
    }
}

/// Size with prefix of the message that `bytes` begin with, `None` if it is not whole yet.
fn first(bytes: &[u8], max: usize) -> Result<Option<usize>, FrameError> {
    let Some(size) = claimed_size(bytes)? else {
        return Ok(None);
    };
    if size > max {
        return Err(FrameError::TooLarge { size, max });
    }
    Ok((size <= bytes.len()).then_some(size))
}

/// Size with prefix of the message that `bytes` begin with; it must be whole.
pub(crate) fn whole_size(bytes: &[u8]) -> Result<usize, FrameError> {
    let size = claimed_size(bytes)?.ok_or(FrameError::Truncated {
        missing: PREFIX - bytes.len().min(PREFIX),
    })?;
    if size > bytes.len() {
        return Err(FrameError::Truncated {
            missing: size - bytes.len(),
        });
    }
    Ok(size)
}

fn claimed_size(mut bytes: &[u8]) -> Result<Option<usize>, FrameError> {
    if bytes.len() < PREFIX {
        return Ok(None);
    }
    match bytes.get_u32_le() as usize {
        0 => Err(FrameError::Empty),
        payload => Ok(Some(PREFIX + payload)),
    }
}
