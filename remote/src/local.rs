//! The channel of a worker whose pod is on this host: through two pairs of sockets, past the
//! connection, which carries the worker's output and end.

use crate::application::{FromApplication, Outbox, whole};
use bytes::BytesMut;
use mafalda_link::client::hand_over;
use mafalda_link::hand_over::Ends;
use mafalda_link::{BoxError, Frame, Socket, Welcome, frame};
use std::future::pending;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// How much is read at once, in bytes, at most.
const READ: usize = 64 * 1024;

/// Our ends of the channel; the pod has the others.
pub struct Local {
    requests: UnixStream,
    responses: Responses,
}

/// What the pod writes, and where it goes.
struct Responses {
    socket: UnixStream,
    buffer: BytesMut,
    outbox: Outbox,
}

impl Local {
    /// Gives the pod the other ends, if it asks for them, and the stream that closes with the pod.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn offered(
        socket: &mut Box<dyn Socket>,
        welcome: &Welcome,
        outbox: Outbox,
    ) -> Result<Option<(Self, StdUnixStream)>, BoxError> {
        let (requests, far_requests) = pair()?;
        let (responses, far_responses) = pair()?;
        let ends = Ends {
            requests: far_requests.as_fd(),
            responses: far_responses.as_fd(),
        };
        let Some(pod) = hand_over(socket, welcome, ends).await? else {
            return Ok(None);
        };
        let responses = Responses {
            socket: responses,
            buffer: BytesMut::new(),
            outbox,
        };
        let local = Self {
            requests,
            responses,
        };
        Ok(Some((local, pod)))
    }

    /// Carries messages both ways until the program ends or the pod's bytes are no messages: it
    /// returns only errors, as the connection says when the worker has ended.
    pub async fn carry(&mut self, mut source: FromApplication) -> io::Error {
        tokio::select! {
            error = send(&mut self.requests, &mut source) => error,
            error = self.responses.receive() => error,
        }
    }

    /// Puts what is still there of a worker that has ended into the outbox.
    pub fn finish(mut self) -> io::Result<()> {
        self.responses.rest()
    }
}

impl Responses {
    /// Waits for the outbox to be empty before it reads more.
    async fn receive(&mut self) -> io::Error {
        loop {
            self.make_room();
            match self.socket.read_buf(&mut self.buffer).await {
                Ok(1..) => {}
                // The worker is gone.
                Ok(0) | Err(_) => return pending().await,
            }
            if let Err(error) = self.put_whole() {
                return error;
            }
            self.outbox.emptied().await;
        }
    }

    /// What is there already.
    fn rest(&mut self) -> io::Result<()> {
        self.make_room();
        while let Ok(1..) = self.socket.try_read_buf(&mut self.buffer) {
            self.put_whole()?;
            self.make_room();
        }
        Ok(())
    }

    /// The memory follows the bytes that come, never the size that a prefix claims.
    fn make_room(&mut self) {
        if self.buffer.capacity() - self.buffer.len() < READ / 16 {
            self.buffer.reserve(READ);
        }
    }

    /// Puts what is whole into the outbox.
    fn put_whole(&mut self) -> io::Result<()> {
        let whole = whole(&self.buffer);
        if whole > 0 {
            let messages = self.buffer.split_to(whole).freeze();
            self.outbox.put(Frame::Channel(messages));
        }
        check_size(&self.buffer)
    }
}

/// Whether the bytes may become a message.
fn check_size(bytes: &[u8]) -> io::Result<()> {
    match bytes.first_chunk().map(|size| u32::from_le_bytes(*size)) {
        None | Some(1..=frame::MAX_CHANNEL_SIZE) => Ok(()),
        Some(size) => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("the pod writes a message of {size} bytes"),
        )),
    }
}

fn pair() -> io::Result<(UnixStream, StdUnixStream)> {
    let (near, far) = StdUnixStream::pair()?;
    near.set_nonblocking(true)?;
    Ok((UnixStream::from_std(near)?, far))
}

async fn send(socket: &mut UnixStream, source: &mut FromApplication) -> io::Error {
    loop {
        let batch = match source.batch().await {
            Ok(batch) => batch,
            Err(error) => return error,
        };
        if socket.write_all(&batch).await.is_err() {
            // The worker is gone.
            return pending().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use tokio::runtime::Builder;

    /// What the outbox holds after the pod wrote this, piece by piece.
    fn put(pieces: &[&[u8]]) -> io::Result<Vec<Frame>> {
        let runtime = Builder::new_current_thread().enable_io().build()?;
        runtime.block_on(async {
            let (socket, mut far) = pair()?;
            let outbox = Outbox::default();
            let mut responses = Responses {
                socket,
                buffer: BytesMut::new(),
                outbox: outbox.clone(),
            };
            for piece in pieces {
                far.write_all(piece)?;
                responses.socket.readable().await?;
                responses.rest()?;
            }
            Ok(std::iter::from_fn(|| outbox.take()).collect())
        })
    }

    #[test]
    fn messages_are_put_when_they_are_whole() {
        let frames = put(&[&[1, 0], &[0, 0, 7, 2, 0, 0, 0, 8], &[9]]).unwrap();
        let expected = [&[1, 0, 0, 0, 7][..], &[2, 0, 0, 0, 8, 9]];
        let expected = expected.map(|message| Frame::Channel(message.to_vec().into()));
        assert_eq!(frames, expected);
    }

    #[test]
    fn sizes_that_no_message_has_are_an_error() {
        for size in [0, frame::MAX_CHANNEL_SIZE + 1, u32::MAX] {
            assert!(put(&[&size.to_le_bytes()]).is_err(), "{size}");
        }
    }
}
