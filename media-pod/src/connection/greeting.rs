//! The beginning of a connection: what the application said, and what it is told.

use super::StartError;
use super::hand_over::{ApplicationEnds, Offer};
use super::resume::Sockets;
use crate::Config;
use crate::inventory::Inventory;
use crate::pod::{Attendance, Connection, Place, Pod};
use mafalda_link::{Packet, SinkExt, Socket, Start, Welcome};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// An application that said hello.
pub struct Greeting {
    /// Its socket, past the hello.
    pub socket: Box<dyn Socket>,
    /// How to start the worker.
    pub start: Start,
    /// The application's mediasoup version.
    pub mediasoup: String,
    /// The application's address.
    pub peer: SocketAddr,
}

impl Greeting {
    /// Tells the application of an error and closes its socket for good.
    pub(super) async fn or_refuse<T, E: Into<StartError>>(
        &mut self,
        result: Result<T, E>,
    ) -> Result<T, StartError> {
        match result {
            Ok(value) => Ok(value),
            Err(error) => {
                let error = error.into();
                refuse(&mut self.socket, &error.to_string()).await;
                Err(error)
            }
        }
    }

    /// Says welcome, and on one host takes the channel's ends over if the relay will.
    pub(super) async fn greet(
        &mut self,
        config: &Config,
    ) -> Result<(Welcome, Option<ApplicationEnds>), StartError> {
        let mut welcome = Welcome {
            connection: random_hex::<6>()?,
            key: random_hex::<16>()?,
            grace_seconds: config.grace.as_secs(),
            window: config.window,
            max_frame: config.max_message,
            received: 0,
            hand_over: None,
        };
        let is_local = self.start.hand_over && self.peer.ip().is_loopback();
        // Without a socket for it there is no offer, and frames carry the channel.
        let offer = is_local
            .then(|| Offer::open(&welcome.connection).ok())
            .flatten();
        welcome.hand_over = offer.as_ref().map(|offer| offer.name().to_owned());
        greet(&mut self.socket, &welcome).await?;
        let ends = match offer {
            Some(offer) => offer.answer(&mut self.socket, &welcome).await?,
            None => None,
        };
        welcome.hand_over = None;
        Ok((welcome, ends))
    }

    /// Makes the connection known to the pod. Returns its socket, and where the next ones come from.
    ///
    /// # Errors
    /// The session has ended since the application was let in; it is told.
    pub(super) async fn register(
        mut self,
        pod: &Pod,
        welcome: Welcome,
        place: Place,
        handed_over: bool,
        inventory: Arc<Mutex<Inventory>>,
        session: Option<Arc<Attendance>>,
    ) -> Result<(Box<dyn Socket>, Sockets), StartError> {
        let (sockets, receiver) = mpsc::channel(1);
        let connection = Connection {
            key: welcome.key.clone(),
            sockets,
            place,
            peer: self.peer.to_string(),
            application_pid: self.start.pid,
            mediasoup: self.mediasoup.clone(),
            connected: true,
            handed_over,
            since: SystemTime::now(),
            inventory,
            session,
            ended: false,
        };
        let added = pod.add_connection(&welcome.connection, connection);
        self.or_refuse(added.map_err(|_| StartError::SessionEnded))
            .await?;
        let sockets = Sockets::new(pod.clone(), welcome, receiver);
        Ok((self.socket, sockets))
    }
}

/// Sends the welcome, at first and with each further socket.
pub(super) async fn greet(
    socket: &mut Box<dyn Socket>,
    welcome: &Welcome,
) -> Result<(), StartError> {
    let text = serde_json::to_string(welcome).map_err(std::io::Error::from)?;
    socket
        .send(Packet::Text(text))
        .await
        .map_err(StartError::Socket)
}

/// Closes a socket for good, saying why.
pub async fn refuse(socket: &mut Box<dyn Socket>, reason: &str) {
    let close = socket.send(Packet::close_final(reason));
    let _ = timeout(Duration::from_secs(1), close).await;
}

fn random_hex<const BYTES: usize>() -> Result<String, StartError> {
    let mut bytes = [0; BYTES];
    let random = ring::rand::SystemRandom::new();
    ring::rand::SecureRandom::fill(&random, &mut bytes).map_err(|_| StartError::Randomness)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
