//! How sockets of connections are set up, the pod's and the gateway's.

use rustix::net::sockopt;
use std::time::Duration;
use tokio::net::TcpStream;

/// What was sent and is not acknowledged after this many milliseconds says that the peer is gone, or that
/// it never reads.
const USER_TIMEOUT: u32 = 30_000;

/// A connection that is silent for this long is asked whether it is there.
const KEEP_IDLE: Duration = Duration::from_secs(15);

/// How long after that it is asked again.
const KEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Sets a connection up for small messages, and for a peer that is gone without a word.
pub fn tune(stream: &TcpStream) {
    // A connection works without these too.
    let _ = stream.set_nodelay(true);
    let _ = sockopt::set_tcp_user_timeout(stream, USER_TIMEOUT);
    let _ = sockopt::set_socket_keepalive(stream, true);
    let _ = sockopt::set_tcp_keepidle(stream, KEEP_IDLE);
    let _ = sockopt::set_tcp_keepintvl(stream, KEEP_INTERVAL);
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn a_peer_that_is_gone_is_found_out() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await;
        let (stream, _) = listener.accept().await.unwrap();
        tune(&stream);
        assert!(stream.nodelay().unwrap());
        assert!(sockopt::socket_keepalive(&stream).unwrap());
        assert_eq!(sockopt::tcp_user_timeout(&stream).unwrap(), USER_TIMEOUT);
        assert_eq!(sockopt::tcp_keepidle(&stream).unwrap(), KEEP_IDLE);
    }
}
