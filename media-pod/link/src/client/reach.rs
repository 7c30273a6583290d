//! Opening a socket to an endpoint, whose name may have several addresses: one after the other is tried.

use super::{ConnectError, Resumed, Target, explain};
use crate::handshake::header;
use crate::socket::{Socket, adapt, counted, websocket_config};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_tungstenite::client_async_tls_with_config;
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::http::HeaderMap;

/// How long one of several addresses may take before the next is tried.
const ADDRESS: Duration = Duration::from_secs(2);

/// Codes of refusals that another address of the same name may not have.
const MAY_DIFFER: [&str; 6] = [
    "draining",
    "noNode",
    "tooManyConnections",
    "tooManyWorkers",
    "unknownSession",
    "unreachable",
];

/// Addresses of an endpoint that did not do, the last one last: they come after the others.
#[derive(Clone, Debug, Default)]
pub(super) struct Failed(Arc<Mutex<Vec<IpAddr>>>);

impl Failed {
    fn add(&self, address: IpAddr) {
        self.remove(address);
        self.lock().push(address);
    }

    fn remove(&self, address: IpAddr) {
        self.lock().retain(|known| *known != address);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<IpAddr>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// In which order addresses are tried: `home`, where the connection was made, first if it is still one of
/// them; those that failed last, the one that did so most recently at the end.
fn in_turn(found: Vec<SocketAddr>, failed: &[IpAddr], home: Option<IpAddr>) -> Vec<SocketAddr> {
    let mut found = found;
    let when = |address: &SocketAddr| failed.iter().position(|known| *known == address.ip());
    // Stable, and `None` comes first: the others stay in the order of DNS.
    found.sort_by_key(|address| (Some(address.ip()) != home, when(address)));
    let mut order: Vec<SocketAddr> = Vec::new();
    for address in found {
        if !order.contains(&address) {
            order.push(address);
        }
    }
    order
}

/// A socket, and what the answer to its request says.
pub(super) struct Opened {
    pub socket: Box<dyn Socket>,
    /// The pod that it leads to, when a gateway says so.
    pub pod: Option<String>,
    /// The session's generation, if it is one's.
    pub generation: Option<u64>,
    /// Where it leads.
    pub address: IpAddr,
}

impl Target {
    /// Opens a socket.
    pub(super) async fn open(&self, resumed: Option<&Resumed>) -> Result<Opened, ConnectError> {
        // A host was checked for; the scheme's port is known.
        let host = self.url.host_str().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = self.url.port_or_known_default().unwrap_or(4400);
        let found = lookup_host((host, port)).await;
        let found: Vec<_> = found.map_err(|error| self.unreachable(error))?.collect();
        // Behind a gateway all addresses are as good; without one the pod alone has the connection.
        let home = resumed.and_then(|resumed| match resumed.pod {
            Some(_) => None,
            None => Some(resumed.address),
        });
        let order = in_turn(found, &self.failed.lock(), home);
        let several = order.len() > 1;
        let mut error = None;
        for address in order {
            let opened = self.open_at(address, resumed);
            let result = match several {
                false => opened.await,
                true => match timeout(ADDRESS, opened).await {
                    Ok(result) => result,
                    Err(_) => Err(self.unreachable(format!("no answer of {address}"))),
                },
            };
            match result {
                Ok(opened) => {
                    self.failed.remove(address.ip());
                    return Ok(opened);
                }
                Err(next) if several && may_differ(&next, address.ip(), home) => {
                    self.failed.add(address.ip());
                    error = Some(match error {
                        // What the connection's own pod says counts, else a word rather than silence.
                        Some(first) if home.is_some() || !is_word(&next) => first,
                        _ => next,
                    });
                }
                Err(next) => return Err(next),
            }
        }
        Err(error.unwrap_or_else(|| self.unreachable("the name has no address")))
    }

    async fn open_at(
        &self,
        address: SocketAddr,
        resumed: Option<&Resumed>,
    ) -> Result<Opened, ConnectError> {
        let (request, connector) = (self.request(resumed)?, self.connector()?);
        let stream = TcpStream::connect(address).await;
        let stream = stream.map_err(|error| match error.kind() {
            io::ErrorKind::ConnectionRefused => ConnectError::NobodyThere {
                url: self.url.to_string(),
                reason: error.to_string(),
            },
            _ => self.unreachable(error),
        })?;
        stream
            .set_nodelay(true)
            .map_err(|error| self.unreachable(error))?;
        let (stream, came) = counted(stream);
        // What may be under way is bounded by the window.
        let config = websocket_config(None);
        let opened =
            client_async_tls_with_config(request, stream, Some(config), Some(connector)).await;
        match opened {
            Ok((socket, response)) => Ok(Opened {
                pod: word(response.headers(), header::POD),
                generation: word(response.headers(), header::GENERATION),
                socket: Box::new(adapt(socket, came)),
                address: address.ip(),
            }),
            Err(tungstenite::Error::Http(response)) => Err(self.refusal(&response, resumed)),
            Err(error) => Err(self.unreachable(explain(error))),
        }
    }
}

/// What a header says, if it is there and can be read so.
pub(super) fn word<T: FromStr>(headers: &HeaderMap, name: &str) -> Option<T> {
    headers.get(name)?.to_str().ok()?.parse().ok()
}

/// Whether somebody answered.
fn is_word(error: &ConnectError) -> bool {
    matches!(error, ConnectError::Refused { .. })
}

/// Whether another address may do what this one did not.
fn may_differ(error: &ConnectError, address: IpAddr, home: Option<IpAddr>) -> bool {
    match error {
        ConnectError::Unreachable { .. } | ConnectError::NobodyThere { .. } => true,
        // A pod that never had the connection says nothing about it.
        ConnectError::Refused { code, .. } if code == "unknownConnection" => {
            home.is_some_and(|home| home != address)
        }
        ConnectError::Refused { code, .. } => MAY_DIFFER.contains(&code.as_str()),
        ConnectError::Moved { .. } | ConnectError::Setting(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    #[test]
    fn addresses_take_turns() {
        let order = |found: &[u8], failed: &[u8], home: Option<u8>| {
            let found = found.iter().map(|last| (ip(*last), 1).into()).collect();
            let failed: Vec<_> = failed.iter().copied().map(ip).collect();
            let order = in_turn(found, &failed, home.map(ip));
            let last = |address: SocketAddr| match address.ip() {
                IpAddr::V4(ip) => ip.octets()[3],
                IpAddr::V6(_) => 0,
            };
            order.into_iter().map(last).collect::<Vec<_>>()
        };
        for (found, failed, home, expected) in [
            (&[2, 1, 3][..], &[][..], None, &[2, 1, 3][..]),
            (&[1, 2, 3], &[1], None, &[2, 3, 1]),
            (&[1, 2, 3], &[2, 1], None, &[3, 2, 1]),
            (&[1, 2, 3], &[3], Some(3), &[3, 1, 2]),
            // Its address has changed.
            (&[1, 2], &[], Some(9), &[1, 2]),
            (&[1, 1, 2], &[], None, &[1, 2]),
            (&[], &[1], Some(1), &[]),
        ] {
            assert_eq!(order(found, failed, home), expected, "{failed:?} {home:?}");
        }
    }

    #[test]
    fn the_one_that_failed_last_is_the_last() {
        let failed = Failed::default();
        for last in [1, 2, 1] {
            failed.add(ip(last));
        }
        assert_eq!(*failed.lock(), [ip(2), ip(1)]);
        failed.clone().remove(ip(2));
        assert_eq!(*failed.lock(), [ip(1)], "they are shared");
    }

    /// Protects calls from a pod that has the same name and never heard of them.
    #[test]
    fn only_what_may_differ_is_asked_elsewhere() {
        let refused = |code: &str| ConnectError::Refused {
            url: "wss://gateway:4500".to_owned(),
            code: code.to_owned(),
            message: "why".to_owned(),
        };
        for (code, home, expected) in [
            ("unreachable", None, true),
            ("noNode", None, true),
            ("unauthorized", None, false),
            ("forbidden", None, false),
            ("versionMismatch", None, false),
            ("unknownConnection", None, false),
            ("unknownConnection", Some(ip(1)), false),
            ("unknownConnection", Some(ip(2)), true),
        ] {
            assert_eq!(may_differ(&refused(code), ip(1), home), expected, "{code}");
        }
        assert!(!may_differ(
            &ConnectError::Setting("x".to_owned()),
            ip(1),
            None
        ));
    }
}
