//! Where a pod listens.

use rustix::io::Errno;
use rustix::net::sockopt::set_ipv6_v6only;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use tokio::net::{TcpListener, TcpSocket};

/// Connections that wait to be accepted, at most.
const WAITING: u32 = 1024;

/// Listens on an address. `[::]` is all of IPv6 and of IPv4, whatever the system makes of it by itself,
/// and all of IPv4 where there is no IPv6. To be called within a runtime.
///
/// # Errors
/// The address is taken, or not one of this host.
pub fn listen(at: SocketAddr) -> io::Result<TcpListener> {
    let is_all = at.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    match bind(at, is_all) {
        Err(error) if is_all && has_no_ipv6(&error) => {
            bind((Ipv4Addr::UNSPECIFIED, at.port()).into(), false)
        }
        other => other,
    }
}

fn bind(at: SocketAddr, both: bool) -> io::Result<TcpListener> {
    let socket = match at {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    if both {
        set_ipv6_v6only(&socket, false)?;
    }
    socket.bind(at)?;
    socket.listen(WAITING)
}

fn has_no_ipv6(error: &io::Error) -> bool {
    let errors = [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL];
    let is_it = |of: Errno| error.raw_os_error() == Some(of.raw_os_error());
    errors.into_iter().any(is_it)
}

/// The address of who has connected: one of IPv4 is written as one of IPv6 where both come to one
/// socket, and is none for whoever compares or counts.
pub fn plain(peer: SocketAddr) -> SocketAddr {
    SocketAddr::new(peer.ip().to_canonical(), peer.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpStream;

    /// Protects pods of clusters with IPv4, with IPv6 and with both: one address is for all of them.
    #[tokio::test]
    async fn all_addresses_are_those_of_both_families() {
        let listener = listen((Ipv6Addr::UNSPECIFIED, 0).into()).unwrap();
        let port = listener.local_addr().unwrap().port();
        let connected = TcpStream::connect((Ipv4Addr::LOCALHOST, port));
        let (client, accepted) = tokio::join!(connected, listener.accept());
        let (_server, peer) = accepted.unwrap();
        assert_eq!(plain(peer), client.unwrap().local_addr().unwrap());
        assert!(plain(peer).ip().is_loopback());
        // Not every machine has it.
        if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).await.is_ok() {
            let connected = TcpStream::connect((Ipv6Addr::LOCALHOST, port));
            let (client, accepted) = tokio::join!(connected, listener.accept());
            assert!(client.is_ok() && accepted.is_ok());
        }
    }

    #[tokio::test]
    async fn one_address_is_one() {
        let listener = listen((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let at = listener.local_addr().unwrap();
        assert!(at.ip().is_loopback());
        assert!(listen(at).is_err(), "it is taken");
    }
}
