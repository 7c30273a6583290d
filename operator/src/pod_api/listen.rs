//! Listening to one media pod, for as long as it is there: its event stream, and a question whenever
//! that is silent.

use super::access::server_name;
use super::client::{Client, Error, MAX_ANSWER, UNAUTHORIZED};
use super::hearing::Hearing;
use super::report::Event;
use crate::clock::Clock;
use crate::names::{API_PORT, SERVER_NAME};
use futures_util::{SinkExt, StreamExt};
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

/// How often a silent pod is asked for a sign of life.
const POLL: Duration = Duration::from_secs(1);
/// What a pod that is well takes at most to let the stream begin.
const CONNECT: Duration = Duration::from_secs(2);

/// What a stream reads and writes at once, in bytes. Most messages are signs of life, there is a stream
/// for each of a thousand pods, and the library's own size is 128 KiB, cleared at each read.
const BUFFER: usize = 4 << 10;

/// A pod that said nothing for so long is asked: it gives a sign of life each second by itself.
const LATE: Duration = Duration::from_millis(1250);

/// What pods say in such a time is read at once.
const TOGETHER: Duration = Duration::from_millis(10);

/// Pings without an answer until the status is asked for: on a new connection, which costs a host that
/// is only late more than it has.
const ASK_AFTER: u32 = 1;

type Stream = WebSocketStream<TlsStream<TcpStream>>;

/// A thread of its own for [`listen`]: it wakes up for many signs of life, not for each of a thousand a
/// second, and a plan that takes long keeps none from being heard.
///
/// # Errors
/// When the system gives none.
pub fn thread() -> std::io::Result<Handle> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .on_thread_park(|| std::thread::sleep(TOGETHER))
        .build()?;
    let handle = runtime.handle().clone();
    std::thread::Builder::new()
        .name("listen".to_owned())
        .spawn(move || runtime.block_on(std::future::pending::<()>()))?;
    Ok(handle)
}

/// Notes what the pod says, until the task is dropped. While the stream is open the pod gives a sign of
/// life each second; when that is late a ping asks for one, then, as while there is no stream, the
/// status.
pub async fn listen(client: Client, uid: String, pod: IpAddr, hearing: Hearing, clock: Clock) {
    let listener = Listener {
        client,
        uid,
        pod,
        hearing,
        clock,
    };
    loop {
        let begun = Instant::now();
        if let Some(stream) = listener.connect().await {
            listener.follow(stream).await;
        } else {
            listener.poll().await;
        }
        sleep_until(begun + POLL).await;
    }
}

fn buffers() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(BUFFER)
        .write_buffer_size(BUFFER)
        .max_message_size(Some(MAX_ANSWER))
        .max_frame_size(Some(MAX_ANSWER))
}

struct Listener {
    client: Client,
    uid: String,
    pod: IpAddr,
    hearing: Hearing,
    clock: Clock,
}

impl Listener {
    async fn connect(&self) -> Option<Stream> {
        let open = async {
            let address = SocketAddr::new(self.pod, API_PORT);
            let tcp = match TcpStream::connect(address).await {
                Ok(tcp) => tcp,
                Err(error) => {
                    self.failed(&error);
                    return None;
                }
            };
            tcp.set_nodelay(true).ok()?;
            let access = self.client.access();
            let tls = TlsConnector::from(access.tls());
            let tls = tls.connect(server_name(), tcp).await.ok()?;
            let url = format!("wss://{SERVER_NAME}/v1/events");
            let mut request = url.into_client_request().ok()?;
            let bearer = access.bearer().ok()?.parse().ok()?;
            request.headers_mut().insert("authorization", bearer);
            let buffers = Some(buffers());
            let opened = tokio_tungstenite::client_async_with_config(request, tls, buffers).await;
            Some(opened.ok()?.0)
        };
        timeout(CONNECT, open).await.ok().flatten()
    }

    /// Who refuses to connect is not cut off: the process is dead, and nobody waits for three polls.
    fn failed(&self, error: &std::io::Error) {
        if error.kind() == ErrorKind::ConnectionRefused {
            self.hearing.refuses(&self.uid);
        }
    }

    /// Returns when the stream ends.
    async fn follow(&self, mut stream: Stream) {
        let mut unanswered = 0;
        let mut asks = Instant::now() + LATE;
        loop {
            tokio::select! {
                message = stream.next() => match message {
                    Some(Ok(message)) => {
                        unanswered = 0;
                        asks = Instant::now() + LATE;
                        self.take(&message);
                    }
                    Some(Err(_)) | None => return,
                },
                () = sleep_until(asks) => {
                    asks = Instant::now() + POLL;
                    if unanswered >= ASK_AFTER && !self.poll().await {
                        return;
                    }
                    unanswered += 1;
                    let ping = timeout(POLL, stream.send(Message::Ping(Default::default())));
                    if !matches!(ping.await, Ok(Ok(()))) {
                        return;
                    }
                }
            }
        }
    }

    fn take(&self, message: &Message) {
        let now = self.clock.now();
        match message {
            Message::Text(text) => match serde_json::from_str(text) {
                Ok(Event::Status { status }) => self.hearing.report(&self.uid, *status, now),
                Ok(Event::Other) => self.hearing.alive(&self.uid, now),
                Err(error) => tracing::warn!(pod = %self.pod, %error, "an event is not understood"),
            },
            Message::Ping(_) | Message::Pong(_) | Message::Binary(_) => {
                self.hearing.alive(&self.uid, now);
            }
            Message::Close(_) | Message::Frame(_) => {}
        }
    }

    /// Asks for the status. Whether there was an answer.
    async fn poll(&self) -> bool {
        match self.client.status(self.pod).await {
            Ok(report) => {
                self.hearing.report(&self.uid, report, self.clock.now());
                true
            }
            Err(Error::Refused { code, .. }) if code == UNAUTHORIZED => {
                // It lives, and goes on with what it runs.
                self.hearing.alive(&self.uid, self.clock.now());
                true
            }
            Err(error) => {
                tracing::debug!(pod = %self.pod, %error, "no status");
                false
            }
        }
    }
}
