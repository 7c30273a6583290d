//! A virtual worker over the workers of several pods, in a process that is no pod: the relay of an
//! application that names more than one.

use crate::connection::{are_common, serve_local, virtual_config};
use crate::lending::{Borrows, Grant, Peer, keep_borrowing};
use crate::members::User;
use crate::pod::{Mode, Pod};
use crate::virtual_worker::Shell;
use crate::{Config, Identity, ListenInfos};
use mafalda_channel::MAX_MESSAGE;
use mafalda_link::{Exit, Frame, Source, Start};
use mafalda_virtual_worker::{BetweenPods, Locality, PipeSettings, Placement, between_pods};
use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};
use url::Url;

/// How long the pods may take to lend the first member.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long they may take to hear that it is over.
const END: Duration = Duration::from_secs(1);

/// How often what goes from pod to pod is written down for the application.
const REPORT: Duration = Duration::from_secs(60);

/// What the virtual worker is made with.
pub struct Horizontal {
    /// How the application started its worker.
    pub start: Start,
    /// The application's mediasoup version.
    pub mediasoup: String,
    /// A PEM file of authorities that the pods' certificates are checked with.
    pub ca: Option<PathBuf>,
    /// How members are chosen.
    pub placement: Placement,
    /// The share of a core above which nothing new is placed on a member while another has room.
    pub watermark: f32,
    /// How members are connected with each other.
    pub pipes: PipeSettings,
}

/// Why there is no virtual worker.
#[derive(Debug, thiserror::Error)]
pub enum HorizontalError {
    /// None of the pods lends.
    #[error("no pod lends its workers: {0}")]
    NoPod(String),
    /// The system gives no thread or descriptor.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The pods of these URLs, each called by its host and port.
pub fn peers(urls: &[Url]) -> Vec<Peer> {
    let name = |url: &Url| {
        let port = url.port_or_known_default().unwrap_or(4400);
        format!("{}:{port}", url.host_str().unwrap_or_default())
    };
    let peer = |url: &Url| Peer {
        name: name(url),
        url: url.to_string(),
        zone: String::new(),
        region: String::new(),
    };
    urls.iter().map(peer).collect()
}

/// What goes from pod to pod, a line each. A relay has no API that would show it.
fn report(between_pods: &[BetweenPods]) -> String {
    let line = |way: &BetweenPods| {
        format!(
            "mafalda: {} to {}: {} bytes/s, {} bytes over {} pipes, {} streams\n",
            way.source_pod,
            way.target_pod,
            way.bytes_per_second,
            way.bytes,
            way.pipes,
            way.producers
        )
    };
    between_pods.iter().map(line).collect()
}

/// Runs the virtual worker with the application's ends of the channel until it ends. `pods` says which
/// ones lend and what to show them, now and later; `stop` is what ends a worker in order; what is to be written for the
/// application goes to `output`.
///
/// # Errors
/// It could not begin.
pub async fn run(
    horizontal: Horizontal,
    mut pods: watch::Receiver<Grant>,
    ends: (UnixStream, UnixStream),
    stop: impl Future<Output = ()>,
    mut output: impl FnMut(Frame),
) -> Result<Exit, HorizontalError> {
    let pod = Pod::new(config(&horizontal));
    let group = pod.members().clone();
    let borrows = Borrows {
        locality: Locality::default(),
        token: None,
        ca: horizontal.ca,
        mediasoup: horizontal.mediasoup,
        start: horizontal.start.clone(),
    };
    group.peers().lend_to_all(pods.borrow_and_update().clone());
    tokio::spawn(keep_borrowing(group.clone(), borrows));
    let Ok(listen_infos) = timeout(PATIENCE, group.agreed()).await else {
        return Err(HorizontalError::NoPod(group.peers().problems()));
    };
    let shared = are_common(&horizontal.start.args, listen_infos);
    let id = pod.next_virtual_id();
    let pid = horizontal.start.pid;
    let config = virtual_config(&pod, listen_infos, id.name(), pid, shared);
    let mut from_virtual = serve_local(ends, |application| {
        let (pod, group) = (pod.clone(), group.clone());
        Arc::new(Shell::new(id, None, pod, group, config, application))
    })?;
    let shell = from_virtual.shell().clone();
    group.attach(User::VirtualWorker(shell.clone()));
    let mut stop = std::pin::pin!(stop);
    let mut stopped = false;
    let mut seconds = interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut reports = interval(REPORT);
    reports.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let exit = loop {
        tokio::select! {
            frame = from_virtual.next() => match frame? {
                Some(Frame::Exit(exit)) => break exit,
                Some(frame) => output(frame),
                None => break Exit::Code(0),
            },
            () = &mut stop, if !stopped => {
                stopped = true;
                shell.close();
            }
            Ok(()) = pods.changed() => {
                group.peers().lend_to_all(pods.borrow_and_update().clone());
            }
            _ = seconds.tick() => group.on_second(&HashMap::new()),
            _ = reports.tick() => {
                let text = report(&between_pods(&shell.topology().await.pipes));
                if !text.is_empty() {
                    output(Frame::Stdout(text.into()));
                }
            }
        }
    };
    group.return_all(END).await;
    Ok(exit)
}

/// Of a pod without workers of its own: nobody connects to it.
fn config(horizontal: &Horizontal) -> Config {
    Config {
        identity: Identity::default(),
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        tls: None,
        worker_program: PathBuf::new(),
        workers: 0,
        max_workers: 0,
        max_workers_per_client: 0,
        max_connections: 0,
        max_message: MAX_MESSAGE,
        window: 0,
        grace: Duration::ZERO,
        stop_after: Duration::ZERO,
        // What the pods say counts.
        listen_infos: ListenInfos::Pod,
        mode: Mode::Virtual,
        placement: horizontal.placement,
        watermark: horizontal.watermark,
        pipes: horizontal.pipes.clone(),
        rtc_ips: Vec::new(),
        announced: Vec::new(),
        pipe_addresses: Vec::new(),
        rtc_port: 0,
        rtc_port_range: 0..=0,
        verifier: None,
        peer_token: None,
        peer_ca: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_from_pod_to_pod_is_a_line_each() {
        let way = BetweenPods {
            source_pod: "a:4400".into(),
            target_pod: "b:4400".into(),
            pipes: 2,
            producers: 3,
            bytes: 5000,
            bytes_per_second: 40,
        };
        let line = "mafalda: a:4400 to b:4400: 40 bytes/s, 5000 bytes over 2 pipes, 3 streams\n";
        assert_eq!(report(&[way.clone(), way]), line.repeat(2));
        assert_eq!(report(&[]), "");
    }
}
