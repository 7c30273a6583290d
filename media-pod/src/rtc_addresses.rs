//! Where the media of each worker can be received.

use crate::Config;
use crate::config::announced;
use crate::listen_infos::{Address, Addresses};
use std::net::{IpAddr, TcpListener, UdpSocket};

/// Whether the worker's own port can be had: on Linux also an outgoing connection may have it.
pub fn rtc_port_is_free(addresses: &Addresses) -> bool {
    addresses.listen.iter().all(|address| {
        let at = (address.bind, addresses.rtc_port);
        match UdpSocket::bind(at).and_then(|_| TcpListener::bind(at)) {
            Ok(_) => true,
            Err(error) => {
                let (ip, port) = at;
                tracing::warn!(%ip, port, %error, "a worker's port is taken: it uses the range");
                false
            }
        }
    })
}

/// The addresses of worker `index`.
pub fn addresses(config: &Config, index: usize) -> Addresses {
    let family = |ip: &IpAddr, v6| ip.is_ipv6() == v6;
    let all = config.media_ips();
    let listen = all.iter().map(|bind| {
        let (bind, v6) = (*bind, bind.is_ipv6());
        let announced = announced::find(&config.announced, bind, &all);
        let pipe = config.pipe_addresses.iter().find(|ip| family(ip, v6));
        Address {
            bind,
            announced: announced.cloned(),
            pipe: pipe.map(IpAddr::to_string),
        }
    });
    Addresses {
        listen: listen.collect(),
        // `Config::check` has made sure that it exists.
        rtc_port: config.rtc_port.saturating_add(index as u16),
        range: config.rtc_port_range.clone(),
    }
}
