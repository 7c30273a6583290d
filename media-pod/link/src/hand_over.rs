//! Passing the ends of a channel from a relay to a pod on the same host, so that messages need not
//! go through the relay's process.

use rustix::net::sockopt::{socket_domain, socket_type};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketType, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};
use std::io::{self, IoSlice, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::time::Duration;

/// How long either side waits for the other.
const PATIENCE: Duration = Duration::from_secs(2);

/// The ends of a channel: requests and responses, as a worker has them on descriptors 3 and 4.
#[derive(Debug)]
pub struct Ends<Fd> {
    /// Where requests are read.
    pub requests: Fd,
    /// Where responses and notifications are written.
    pub responses: Fd,
}

/// Whose ends they are.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The connection's id.
    pub connection: String,
    /// The connection's secret.
    pub key: String,
}

/// The pod's address for hand-overs.
pub fn address(name: &str) -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(name)
}

/// Passes the ends to the pod that listens at `name`, and waits until it has them. The stream that
/// is returned closes with the pod.
///
/// # Errors
/// The pod is not there (it is on another host after all), or does not take them.
pub fn give(name: &str, claim: &Claim, ends: Ends<BorrowedFd<'_>>) -> io::Result<UnixStream> {
    let mut stream = UnixStream::connect_addr(&address(name)?)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let text = serde_json::to_vec(claim)?;
    let fds = [ends.requests, ends.responses];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !ancillary.push(SendAncillaryMessage::ScmRights(&fds)) {
        return Err(io::Error::other("no room for two descriptors"));
    }
    let flags = SendFlags::NOSIGNAL;
    let sent = sendmsg(&stream, &[IoSlice::new(&text)], &mut ancillary, flags)?;
    if sent != text.len() {
        return Err(io::Error::other("the hand-over was cut short"));
    }
    stream.read_exact(&mut [0])?;
    Ok(stream)
}

/// Takes what [`give`] sent off a readable socket; the caller answers with one byte once the ends
/// are where they belong, and keeps the socket open as long as it has them.
///
/// # Errors
/// `WouldBlock` as long as nothing came; anything else is no hand-over.
pub fn take(stream: impl AsFd) -> io::Result<(Claim, Ends<OwnedFd>)> {
    let mut text = [0; 512];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(
        stream,
        &mut [IoSliceMut::new(&mut text)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT,
    )?;
    let mut fds = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(fds) => Some(fds),
        _ => None,
    });
    let mut fds = fds.next().into_iter().flatten();
    let (Some(requests), Some(responses)) = (fds.next(), fds.next()) else {
        return Err(io::Error::other("a hand-over without two descriptors"));
    };
    for end in [&requests, &responses] {
        // Only a wait for these can be ended from here.
        if socket_domain(end)? != AddressFamily::UNIX || socket_type(end)? != SocketType::STREAM {
            return Err(io::Error::other(
                "an end of a channel that is no Unix stream",
            ));
        }
    }
    let claim = serde_json::from_slice(&text[..received.bytes])?;
    Ok((
        claim,
        Ends {
            requests,
            responses,
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::net::UnixListener;

    #[test]
    fn ends_arrive_open_and_in_order() {
        let name = format!("mafalda-test-{}", std::process::id());
        let listener = UnixListener::bind_addr(&address(&name).unwrap()).unwrap();
        let (requests, mut far_requests) = UnixStream::pair().unwrap();
        let (responses, mut far_responses) = UnixStream::pair().unwrap();
        let claim = || Claim {
            connection: "c".into(),
            key: "k".into(),
        };
        let pod = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let taken = loop {
                match take(&stream) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        std::thread::yield_now();
                    }
                    taken => break taken.unwrap(),
                }
            };
            stream.write_all(&[1]).unwrap();
            taken
        });
        let ends = Ends {
            requests: requests.as_fd(),
            responses: responses.as_fd(),
        };
        let _stream = give(&name, &claim(), ends).unwrap();
        let (taken_claim, taken) = pod.join().unwrap();
        assert_eq!(taken_claim, claim());
        far_requests.write_all(b"request").unwrap();
        let mut text = [0; 7];
        UnixStream::from(taken.requests)
            .read_exact(&mut text)
            .unwrap();
        assert_eq!(&text, b"request");
        UnixStream::from(taken.responses)
            .write_all(b"answer!")
            .unwrap();
        far_responses.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"answer!");
    }

    #[test]
    fn no_pod_is_an_error_at_once() {
        let (end, _far) = UnixStream::pair().unwrap();
        let claim = Claim {
            connection: String::new(),
            key: String::new(),
        };
        let ends = Ends {
            requests: end.as_fd(),
            responses: end.as_fd(),
        };
        assert!(give("mafalda-test-nobody", &claim, ends).is_err());
    }

    #[test]
    fn ends_of_another_kind_are_no_hand_over() {
        let name = format!("mafalda-test-kinds-{}", std::process::id());
        let listener = UnixListener::bind_addr(&address(&name).unwrap()).unwrap();
        let terminal = std::fs::File::open("/dev/null").unwrap();
        let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let (good, _far) = UnixStream::pair().unwrap();
        for bad in [terminal.as_fd(), udp.as_fd()] {
            let claim = Claim {
                connection: "c".into(),
                key: "k".into(),
            };
            let ends = Ends {
                requests: bad,
                responses: good.as_fd(),
            };
            std::thread::scope(|scope| {
                let relay = scope.spawn(|| give(&name, &claim, ends));
                let (stream, _) = listener.accept().unwrap();
                let taken = loop {
                    match take(&stream) {
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                            std::thread::yield_now();
                        }
                        taken => break taken,
                    }
                };
                assert!(taken.is_err());
                drop(stream);
                assert!(relay.join().unwrap().is_err());
            });
        }
    }

    #[test]
    fn garbage_is_no_hand_over() {
        let (mut near, far) = UnixStream::pair().unwrap();
        near.write_all(b"{}").unwrap();
        assert!(take(&far).is_err());
    }
}
