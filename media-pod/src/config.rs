//! The pod's settings, checked.

pub(crate) mod announced;

use crate::auth::Verifier;
use crate::lending::Borrows;
use crate::pod::Mode;
use mafalda_link::{MEDIASOUP_NPM, Start};
use mafalda_virtual_worker::{Locality, PipeSettings, Placement};
use serde::Serialize;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

/// Whose listen infos a worker gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ListenInfos {
    /// The pod's own addresses and ports, whatever the application writes.
    Pod,
    /// What the application writes: pod and application share a host.
    Application,
}

impl ListenInfos {
    /// The setting's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pod => "pod",
            Self::Application => "application",
        }
    }

    /// The setting of a word.
    pub fn from_word(word: &str) -> Option<Self> {
        let all = [Self::Pod, Self::Application];
        all.into_iter().find(|setting| setting.as_str() == word)
    }
}

/// PEM files for TLS.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The certificate chain.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// What a pod is called, for whoever reads its status.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Identity {
    /// Its own name.
    pub name: String,
    /// The cluster that it is of.
    pub cluster: String,
    /// Where it is, if somebody said so.
    pub region: String,
    /// Where in the region.
    pub zone: String,
}

impl Identity {
    /// Where its workers are.
    pub fn locality(&self) -> Locality {
        Locality {
            pod: self.name.as_str().into(),
            zone: self.zone.as_str().into(),
            region: self.region.as_str().into(),
            cluster: self.cluster.as_str().into(),
        }
    }
}

/// The settings of a pod.
#[derive(Clone, Debug)]
pub struct Config {
    /// What it is called.
    pub identity: Identity,
    /// Where the HTTP API listens.
    pub listen: SocketAddr,
    /// TLS for the HTTP API.
    pub tls: Option<Tls>,
    /// The program `mafalda-media-worker`.
    pub worker_program: PathBuf,
    /// Worker processes kept running.
    pub workers: usize,
    /// Worker processes at most, those started on demand included.
    pub max_workers: usize,
    /// Workers a client (a token's subject, else an address) may have at once.
    pub max_workers_per_client: usize,
    /// HTTP connections at once, listeners of events included; workers' connections are not counted.
    pub max_connections: usize,
    /// The largest channel message, in bytes with its prefix.
    pub max_message: usize,
    /// What may be unacknowledged on a connection, in bytes, in each direction.
    pub window: usize,
    /// How long a connection without a socket is kept.
    pub grace: Duration,
    /// How long running calls may go on after the first request to stop.
    pub stop_after: Duration,
    /// Whose listen infos a worker gets.
    pub listen_infos: ListenInfos,
    /// What an application gets that asks for no kind of worker.
    pub mode: Mode,
    /// How members of virtual workers are chosen.
    pub placement: Placement,
    /// Share of one core above which nothing new is placed on a member, above 0 and up to 1.
    pub watermark: f32,
    /// Pipes between members; the address is the pod's business.
    pub pipes: PipeSettings,
    /// Media addresses to bind, at most one a family.
    pub rtc_ips: Vec<IpAddr>,
    /// Media addresses to advertise instead, an address or a host name.
    pub announced: Vec<String>,
    /// Addresses at which other workers reach this pod's pipes.
    pub pipe_addresses: Vec<IpAddr>,
    /// The UDP and TCP port of the first worker; the next ones follow.
    pub rtc_port: u16,
    /// Ports for plain and pipe transports.
    pub rtc_port_range: RangeInclusive<u16>,
    /// Who may ask; without it everybody on this host.
    pub verifier: Option<Verifier>,
    /// What this pod shows to pods that lend it workers, if nobody says otherwise.
    pub peer_token: Option<String>,
    /// A PEM file of authorities that those pods' certificates are checked with.
    pub peer_ca: Option<PathBuf>,
}

/// A setting that cannot be.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Others than this host could use the pod.
    #[error(
        "--listen {0} is open to other hosts, and without --token-key anybody there could run \
         media on this one: make a key with `mafalda keygen` and give --token-key mafalda.pub, or \
         listen on 127.0.0.1"
    )]
    OpenWithoutKey(SocketAddr),
    /// Two flags contradict each other, or one is out of range.
    #[error("{flag}: {reason}")]
    Flag {
        /// The flag.
        flag: &'static str,
        /// What is wrong and what is allowed.
        reason: String,
    },
}

fn wrong(flag: &'static str, reason: impl Into<String>) -> ConfigError {
    ConfigError::Flag {
        flag,
        reason: reason.into(),
    }
}

/// Checks that a pod's ports exist and do not overlap: one a worker from `rtc_port` on, and the range of
/// plain and pipe transports.
///
/// # Errors
/// The flag that does not fit the others, and why.
pub fn check_ports(
    workers: usize,
    max_workers: usize,
    rtc_port: u16,
    range: &RangeInclusive<u16>,
) -> Result<(), ConfigError> {
    if workers == 0 {
        return Err(wrong("--workers", "at least 1"));
    }
    if max_workers < workers {
        return Err(wrong(
            "--max-workers",
            format!("at least --workers, which is {workers}"),
        ));
    }
    let last = usize::from(rtc_port) + max_workers - 1;
    if rtc_port == 0 || last > usize::from(u16::MAX) {
        return Err(wrong(
            "--rtc-port",
            format!(
                "{max_workers} workers use the ports {rtc_port} to {last}: 1 to 65535 are possible"
            ),
        ));
    }
    let (first_plain, last_plain) = (*range.start(), *range.end());
    if first_plain == 0 || first_plain > last_plain {
        return Err(wrong(
            "--rtc-port-range",
            "FIRST-LAST, FIRST at least 1 and at most LAST",
        ));
    }
    if usize::from(first_plain) <= last && last_plain >= rtc_port {
        return Err(wrong(
            "--rtc-port-range",
            format!(
                "{first_plain}-{last_plain} overlaps the workers' own ports {rtc_port} to {last} \
                 (--rtc-port, --max-workers)"
            ),
        ));
    }
    Ok(())
}

impl Config {
    /// Checks what one flag alone does not tell.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.verifier.is_none() && !self.listen.ip().is_loopback() {
            return Err(ConfigError::OpenWithoutKey(self.listen));
        }
        check_ports(
            self.workers,
            self.max_workers,
            self.rtc_port,
            &self.rtc_port_range,
        )?;
        if self.max_connections == 0 {
            return Err(wrong("--max-connections", "at least 1"));
        }
        if self.max_workers_per_client == 0 {
            return Err(wrong("--max-workers-per-client", "at least 1"));
        }
        // A frame may hold one message more than the window.
        if self.window < 64 * 1024 {
            return Err(wrong("--buffer-bytes", "at least 65536"));
        }
        for v6 in [false, true] {
            if self.rtc_ips.iter().filter(|ip| ip.is_ipv6() == v6).count() > 1 {
                return Err(wrong(
                    "--rtc-ip",
                    "one address of each family (IPv4, IPv6) at most",
                ));
            }
        }
        announced::check(&self.announced, &self.media_ips())
            .map_err(|reason| wrong("--announced-address", reason))
    }

    /// Checks what the settings name on this host: TLS files and the addresses for media.
    ///
    /// # Errors
    /// A file cannot be used, or an address is not one of this host.
    pub fn check_files_and_addresses(&self) -> Result<(), ConfigError> {
        if let Some(tls) = &self.tls {
            crate::tls::tls_acceptor(tls)?;
        }
        for ip in &self.rtc_ips {
            UdpSocket::bind((*ip, 0))
                .map_err(|error| wrong("--rtc-ip", format!("{ip}: {error}")))?;
        }
        Ok(())
    }

    /// What this pod shows to those that lend it workers.
    pub fn borrows(&self) -> Borrows {
        Borrows {
            locality: self.identity.locality(),
            token: self.peer_token.clone(),
            ca: self.peer_ca.clone(),
            mediasoup: MEDIASOUP_NPM.to_owned(),
            start: Start {
                pid: std::process::id(),
                args: Vec::new(),
                files: Default::default(),
                hand_over: false,
            },
        }
    }

    /// The addresses to bind media to: as told, else the wildcard of each announced family, else
    /// loopback.
    pub fn media_ips(&self) -> Vec<IpAddr> {
        if !self.rtc_ips.is_empty() {
            return self.rtc_ips.clone();
        }
        if self.announced.is_empty() {
            return vec![Ipv4Addr::LOCALHOST.into()];
        }
        let mut ips: Vec<IpAddr> = Vec::new();
        for address in &self.announced {
            // A host name is announced for IPv4.
            let ip = match address.parse() {
                Ok(IpAddr::V6(_)) => Ipv6Addr::UNSPECIFIED.into(),
                _ => Ipv4Addr::UNSPECIFIED.into(),
            };
            if !ips.contains(&ip) {
                ips.push(ip);
            }
        }
        ips
    }
}

#[cfg(test)]
pub(crate) mod tests;
