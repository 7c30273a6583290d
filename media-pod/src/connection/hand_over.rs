//! Takes the channel's ends over from a relay on the same host, if it will.

use crate::pod::same_secret;
use futures_util::stream::FuturesUnordered;
use mafalda_link::hand_over::{address, take};
use mafalda_link::{HandedOver, Packet, Socket, StreamExt, Welcome};
use std::io;
use std::os::unix::net::UnixListener as StdUnixListener;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::time::Duration;
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

/// How long the relay may take to answer the offer.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many may try at once.
const STRANGERS: usize = 16;

/// The application's ends of a channel.
pub struct ApplicationEnds {
    /// Where requests are read.
    pub requests: StdUnixStream,
    /// Where responses and notifications are written.
    pub responses: StdUnixStream,
    /// Open as long as the pod has the ends: the relay sees by it whether the pod is there.
    pub alive: UnixStream,
}

/// An offer that is open: a socket of its own, in the network namespace of the pod.
pub struct Offer {
    listener: UnixListener,
    name: String,
}

impl Offer {
    /// Makes the offer for one connection.
    pub fn open(connection: &str) -> io::Result<Self> {
        let name = format!("mafalda-{}-{connection}", std::process::id());
        let listener = StdUnixListener::bind_addr(&address(&name)?)?;
        listener.set_nonblocking(true)?;
        Ok(Self {
            listener: UnixListener::from_std(listener)?,
            name,
        })
    }

    /// What [`Welcome::hand_over`] says.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Waits for the relay's answer; `None` if it keeps the channel.
    pub async fn answer(
        self,
        socket: &mut Box<dyn Socket>,
        welcome: &Welcome,
    ) -> io::Result<Option<ApplicationEnds>> {
        let mut ends = None;
        // Somebody else on this host may try it too, and keep us waiting: the secret tells.
        let mut strangers = FuturesUnordered::new();
        let answered = async {
            loop {
                tokio::select! {
                    accepted = self.listener.accept(), if strangers.len() < STRANGERS => {
                        strangers.push(accept(accepted?.0, welcome));
                    }
                    Some(accepted) = strangers.next() => match accepted {
                        Ok(accepted) => ends = Some(accepted),
                        Err(error) => tracing::warn!(%error, "no hand-over"),
                    },
                    packet = socket.next() => match packet {
                        Some(Ok(Packet::Text(text))) => {
                            let answer: HandedOver = serde_json::from_str(&text)?;
                            return Ok(answer.handed_over);
                        }
                        Some(Ok(Packet::Ping | Packet::Pong)) => {}
                        Some(Err(error)) => return Err(io::Error::other(error)),
                        Some(Ok(_)) | None => {
                            return Err(io::Error::other("no answer to the offer of a hand-over"));
                        }
                    },
                }
            }
        };
        match timeout(PATIENCE, answered).await {
            Ok(Ok(true)) if ends.is_none() => Err(io::Error::other("a hand-over of nothing")),
            Ok(Ok(handed_over)) => Ok(ends.filter(|_| handed_over)),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

async fn accept(mut stream: UnixStream, welcome: &Welcome) -> io::Result<ApplicationEnds> {
    let taking = async {
        loop {
            stream.readable().await?;
            match stream.try_io(Interest::READABLE, || take(&stream)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                taken => return taken,
            }
        }
    };
    let (claim, ends) = timeout(PATIENCE, taking)
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    if claim.connection != welcome.connection || !same_secret(&claim.key, &welcome.key) {
        return Err(io::Error::other("a stranger offers a channel"));
    }
    stream.write_all(&[1]).await?;
    Ok(ApplicationEnds {
        requests: ends.requests.into(),
        responses: ends.responses.into(),
        alive: stream,
    })
}
