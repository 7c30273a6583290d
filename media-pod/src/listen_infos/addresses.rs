//! The pod's own addresses, and listen infos made of them.

use mafalda_channel::fbs::transport::{
    ListenInfo, ListenInfoRef, PortRange, Protocol, SocketFlags,
};
use mafalda_channel::planus;
use std::net::{IpAddr, Ipv6Addr};
use std::ops::RangeInclusive;

/// Where the media of one worker may be received.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Addresses {
    /// The addresses of the pod, IPv4 and IPv6, the preferred one first.
    pub listen: Vec<Address>,
    /// UDP and TCP port that is this worker's alone.
    pub rtc_port: u16,
    /// Ports for everything that cannot share `rtc_port`. The workers of a pod share the range: who
    /// finds a port taken takes the next. Its start is above 0.
    pub range: RangeInclusive<u16>,
}

/// One address of the pod.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Address {
    /// Address to bind.
    pub bind: IpAddr,
    /// Address or host name by which it is reached, if that is another than `bind`.
    pub announced: Option<String>,
    /// Address by which other workers and pods reach it, if that is another than `announced`.
    pub pipe: Option<String>,
}

/// What an application asked for in one protocol.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Socket {
    pub protocol: Protocol,
    /// Bytes, 0 for the system's default.
    pub send_buffer_size: u32,
    /// Bytes, 0 for the system's default.
    pub recv_buffer_size: u32,
}

/// Where the ports of listen infos come from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Ports {
    /// The worker's own.
    Own,
    /// A free one of the range.
    Range,
}

/// Who connects to a transport with one socket.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Peer {
    /// Anybody: a plain transport.
    Outside,
    /// Another worker: a pipe transport.
    Worker,
}

impl Addresses {
    /// A listen info for each of the sockets on each address of the pod: sockets in the order of
    /// the application's preference, addresses in the pod's.
    pub(super) fn everywhere(&self, sockets: &[Socket], ports: Ports) -> Vec<ListenInfo> {
        // Two sockets may share a port only if the one of IPv6 leaves IPv4 alone.
        let ipv6_only = self.listen.iter().any(|address| address.bind.is_ipv4());
        sockets
            .iter()
            .flat_map(|socket| {
                self.listen.iter().map(move |address| {
                    let announced = address.announced.clone();
                    self.listen_info(address, announced, *socket, ports, ipv6_only)
                })
            })
            .collect()
    }

    /// A listen info in place of the application's, on the pod's address of the same family, or on
    /// its first one if it has none of that family. The port is of the range.
    pub(super) fn one(
        &self,
        wanted: ListenInfoRef<'_>,
        peer: Peer,
    ) -> Result<ListenInfo, ListenInfoError> {
        let (socket, is_ipv6) = read(wanted)?;
        let address = self
            .listen
            .iter()
            .find(|address| address.bind.is_ipv6() == is_ipv6)
            .or(self.listen.first())
            .ok_or(ListenInfoError::NoAddress)?;
        let announced = match (&address.pipe, peer) {
            (Some(pipe), Peer::Worker) => Some(pipe.clone()),
            _ => address.announced.clone(),
        };
        let ipv6_only = wanted.flags()?.ipv6_only()?;
        Ok(self.listen_info(address, announced, socket, Ports::Range, ipv6_only))
    }

    fn listen_info(
        &self,
        address: &Address,
        announced: Option<String>,
        socket: Socket,
        ports: Ports,
        ipv6_only: bool,
    ) -> ListenInfo {
        let (port, min, max) = match ports {
            Ports::Own => (self.rtc_port, 0, 0),
            Ports::Range => (0, *self.range.start(), *self.range.end()),
        };
        ListenInfo {
            protocol: socket.protocol,
            ip: address.bind.to_string(),
            announced_address: announced,
            // The pod's inner address is of no use to a client, nor its business.
            expose_internal_ip: false,
            port,
            port_range: Box::new(PortRange { min, max }),
            flags: Box::new(SocketFlags {
                ipv6_only: ipv6_only && address.bind.is_ipv6(),
                // Two workers that find the same port of the range free must not both get it.
                udp_reuse_port: false,
            }),
            send_buffer_size: socket.send_buffer_size,
            recv_buffer_size: socket.recv_buffer_size,
        }
    }
}

/// Why a listen info of the application is refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum ListenInfoError {
    /// As mediasoup's worker words it.
    #[error("invalid IP '{0}'")]
    InvalidIp(String),
    #[error("wrong listenInfos (more than {MAX_LISTEN_INFOS})")]
    TooMany,
    #[error("the media pod has no address")]
    NoAddress,
    #[error("malformed request: {0}")]
    Malformed(#[from] planus::Error),
}

/// More than any application names; it bounds the work that one message can make.
const MAX_LISTEN_INFOS: usize = 64;

/// The protocols of an application's listen infos in the order of their first appearance, each with
/// the largest buffers that were asked for.
pub(super) fn sockets<'a>(
    listen_infos: impl ExactSizeIterator<Item = planus::Result<ListenInfoRef<'a>>>,
) -> Result<Vec<Socket>, ListenInfoError> {
    if listen_infos.len() > MAX_LISTEN_INFOS {
        return Err(ListenInfoError::TooMany);
    }
    let mut sockets: Vec<Socket> = Vec::new();
    for listen_info in listen_infos {
        let (socket, _) = read(listen_info?)?;
        match sockets
            .iter_mut()
            .find(|known| known.protocol == socket.protocol)
        {
            Some(known) => {
                known.send_buffer_size = known.send_buffer_size.max(socket.send_buffer_size);
                known.recv_buffer_size = known.recv_buffer_size.max(socket.recv_buffer_size);
            }
            None => sockets.push(socket),
        }
    }
    Ok(sockets)
}

/// What a listen info asks for, and whether its address is of IPv6.
fn read(listen_info: ListenInfoRef<'_>) -> Result<(Socket, bool), ListenInfoError> {
    let ip = listen_info.ip()?;
    let is_ipv6 = is_ipv6(ip)
        .ok_or_else(|| ListenInfoError::InvalidIp(ip.chars().take(LONGEST_IP).collect()))?;
    let socket = Socket {
        protocol: listen_info.protocol()?,
        send_buffer_size: listen_info.send_buffer_size()?,
        recv_buffer_size: listen_info.recv_buffer_size()?,
    };
    Ok((socket, is_ipv6))
}

/// Bytes of the longest textual address (`INET6_ADDRSTRLEN` without its zero).
const LONGEST_IP: usize = 45;

/// As `Utils::IP::GetFamily()` of mediasoup's worker, `None` if it is no address: a host name is
/// none, an IPv6 address may name its zone.
fn is_ipv6(ip: &str) -> Option<bool> {
    if ip.len() > LONGEST_IP {
        return None;
    }
    if let Ok(ip) = ip.parse::<IpAddr>() {
        return Some(ip.is_ipv6());
    }
    let (ip, _zone) = ip.split_once('%')?;
    ip.parse::<Ipv6Addr>().is_ok().then_some(true)
}
