//! Keeps connections to the pods that lend.

use super::kept::{Step, Wanted, due};
use super::lender::Lender;
use super::peers::{ConnectionState, Peer};
use crate::members::Members;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use mafalda_link::client::{ConnectError, Reconnect, Target};
use mafalda_link::{
    Attachment, Dial, DialError, Exit, Frame, LinkError, Sink, Socket, Source, Start, Timing, drive,
};
use mafalda_virtual_worker::Locality;
use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::{interval, sleep, timeout};

/// The pause before a pod is tried again, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// How long a lender without a connection is waited for: its members' media most likely stands still.
const GRACE: Duration = Duration::from_secs(10);

/// How long an orderly end may take.
const END: Duration = Duration::from_secs(2);

/// Who borrows.
#[derive(Clone, Debug)]
pub struct Borrows {
    /// Where this process is.
    pub locality: Locality,
    /// The token to show where no grant has one.
    pub token: Option<String>,
    /// A PEM file of authorities to trust.
    pub ca: Option<PathBuf>,
    /// The mediasoup version to ask for.
    pub mediasoup: String,
    /// How members of one's own are started, where it matters.
    pub start: Start,
}

/// Connects to the pods that lend as [`Members::peers`] says, and lets go of those that do not any
/// more, for ever.
pub async fn keep_borrowing(group: Arc<Members>, borrows: Borrows) {
    let mut changes = group.peers().changes();
    let mut kept: HashMap<String, Keeper> = HashMap::new();
    // One that ends may have been wanted again in that moment.
    let ended = Arc::new(Notify::new());
    loop {
        changes.mark_unchanged();
        let wanted = group.peers().wanted(&borrows.locality.pod);
        kept.retain(|_, keeper| !keeper.0.is_closed());
        let told = kept.iter();
        let told = told.map(|(name, keeper)| (name.clone(), keeper.0.borrow().clone()));
        for (name, step) in due(&told.collect(), &wanted) {
            let wanted = match step {
                Step::Keep(wanted) | Step::Tell(wanted) => Some(wanted),
                Step::LetGo => None,
            };
            if let Some(keeper) = kept.get(&name) {
                keeper.0.send_replace(wanted);
                continue;
            }
            let keeper = watch::Sender::new(wanted);
            let keeping = keep(group.clone(), borrows.clone(), keeper.subscribe());
            kept.insert(name, Keeper(keeper));
            let ended = ended.clone();
            tokio::spawn(async move {
                keeping.await;
                ended.notify_one();
            });
        }
        group.offer_all();
        tokio::select! {
            changed = changes.changed() => if changed.is_err() {
                return;
            },
            () = ended.notified() => {}
        }
    }
}

/// Who keeps the connection to one pod: what it is told. Dropped, that its pod is not wanted.
struct Keeper(watch::Sender<Option<Wanted>>);

impl Drop for Keeper {
    fn drop(&mut self) {
        self.0.send_replace(None);
    }
}

/// Keeps a connection to one pod until it is not wanted any more.
async fn keep(group: Arc<Members>, borrows: Borrows, mut told: watch::Receiver<Option<Wanted>>) {
    let mut pause = PAUSE.0;
    let mut logged = String::new();
    let mut name = None;
    loop {
        let Some(wanted) = told.borrow_and_update().clone() else {
            break;
        };
        let peer = &wanted.peer;
        name = Some(peer.name.clone());
        match borrow(&group, &borrows, &wanted, &told).await {
            Ok(()) => pause = PAUSE.0,
            Err(error) => {
                let state = ConnectionState {
                    connected: false,
                    problem: Some(error.clone()),
                };
                group.peers().connection(&peer.name, state);
                if error != logged {
                    tracing::warn!(
                        pod = peer.name,
                        url = peer.url,
                        error,
                        "no pod to borrow from"
                    );
                    logged = error;
                }
            }
        }
        tokio::select! {
            () = sleep(pause) => pause = (pause * 2).min(PAUSE.1),
            // Another token may be a good one.
            _ = told.changed() => pause = PAUSE.0,
        }
    }
    if let Some(name) = name {
        group.peers().no_connection(&name);
    }
}

/// One connection, from its beginning to its end.
async fn borrow(
    group: &Arc<Members>,
    borrows: &Borrows,
    wanted: &Wanted,
    told: &watch::Receiver<Option<Wanted>>,
) -> Result<(), String> {
    let peer = &wanted.peer;
    let target = target(borrows, wanted).map_err(|error| error.to_string())?;
    let connected = target.connect(borrows.start.clone()).await;
    let (socket, welcome, reconnect) = connected.map_err(|error| error.to_string())?;
    let lender = Arc::new(Lender::new(locality(borrows, peer), group.clone()));
    group.add_lender(&lender);
    let attached = Arc::new(AtomicBool::new(true));
    let mut dial = Dialling {
        reconnect,
        attached: attached.clone(),
    };
    let (mut source, mut sink) = (
        ToLender(lender.clone()),
        FromLender {
            lender: lender.clone(),
            end: None,
        },
    );
    tracing::info!(pod = peer.name, url = peer.url, "borrowing its workers");
    let connected = ConnectionState {
        connected: true,
        problem: None,
    };
    group.peers().connection(&peer.name, connected);
    let timing = Timing::with_grace(GRACE.min(Duration::from_secs(welcome.grace_seconds)));
    let connection = drive(
        &mut source,
        &mut sink,
        &mut dial,
        socket,
        welcome.window,
        timing,
    );
    let mut connection = std::pin::pin!(connection);
    let result = tokio::select! {
        result = &mut connection => Some(result),
        () = no_use(&lender, told, &attached) => {
            // Wanted again in this moment, it is connected to anew.
            lender.retire();
            timeout(END, connection).await.ok()
        }
    };
    group.remove_lender(&lender);
    lender.end();
    let problem = match &result {
        Some(Err(error)) => Some(error.to_string()),
        Some(Ok(_)) | None => None,
    };
    let connected = false;
    let state = ConnectionState { connected, problem };
    group.peers().connection(&peer.name, state);
    match result {
        Some(Err(error @ (LinkError::Lost { .. } | LinkError::Refused(_)))) => {
            tracing::warn!(pod = peer.name, %error, "a pod that lent workers is gone");
        }
        Some(Err(error)) => {
            tracing::warn!(pod = peer.name, %error, "a pod lends no workers any more");
        }
        Some(Ok(_)) | None => tracing::info!(pod = peer.name, "gave its workers back"),
    }
    Ok(())
}

fn target(borrows: &Borrows, wanted: &Wanted) -> Result<Target, ConnectError> {
    let mut target = Target::new(&wanted.peer.url, borrows.mediasoup.clone())?;
    target.url.set_path("/v1/members");
    target.token = wanted.token.clone().or_else(|| borrows.token.clone());
    target.ca = borrows.ca.clone();
    Ok(target)
}

/// Where a lender is, as far as others say: of the borrower's own cluster.
fn locality(borrows: &Borrows, peer: &Peer) -> Locality {
    Locality {
        pod: peer.name.as_str().into(),
        zone: peer.zone.as_str().into(),
        region: peer.region.as_str().into(),
        cluster: borrows.locality.cluster.clone(),
    }
}

/// Resolves when the lender, or nobody here, has use for the connection any more.
async fn no_use(lender: &Lender, told: &watch::Receiver<Option<Wanted>>, attached: &AtomicBool) {
    let mut ticks = interval(Duration::from_secs(1));
    loop {
        ticks.tick().await;
        let wanted = told.borrow().is_some();
        // One that is not wanted and has no connection is gone: nothing there can be finished.
        let lost = !wanted && !attached.load(Ordering::Relaxed);
        if lost || (!wanted || lender.is_cordoned()) && lender.is_unused() {
            return;
        }
    }
}

/// Opens the next socket, and knows whether there is one.
struct Dialling {
    reconnect: Reconnect,
    attached: Arc<AtomicBool>,
}

impl Dial for Dialling {
    type Candidate = Box<dyn Socket>;

    fn dial(
        &mut self,
        connected: bool,
    ) -> Option<BoxFuture<'static, Result<Self::Candidate, DialError>>> {
        let dial = self.reconnect.dial(connected)?;
        let dial = async {
            match dial.await {
                // A pod that lives listens: its workers went with it.
                Err(DialError::NobodyThere(reason)) => Err(DialError::Refused(reason)),
                result => result,
            }
        };
        Some(Box::pin(dial))
    }

    fn attach(
        &mut self,
        candidate: Self::Candidate,
        received: u64,
    ) -> BoxFuture<'_, Result<Attachment, DialError>> {
        self.reconnect.attach(candidate, received)
    }

    fn attached(&mut self) {
        self.attached.store(true, Ordering::Relaxed);
        self.reconnect.attached();
    }

    fn detached(&mut self, reason: &str) {
        self.attached.store(false, Ordering::Relaxed);
        self.reconnect.detached(reason);
    }
}

/// What is for the lender.
struct ToLender(Arc<Lender>);

impl Source for ToLender {
    async fn next(&mut self) -> io::Result<Option<Frame>> {
        Ok(Some(self.0.queue().next().await))
    }
}

/// What the lender says.
struct FromLender {
    lender: Arc<Lender>,
    end: Option<Exit>,
}

impl FromLender {
    fn take(&self, frame: Frame) -> Result<(), String> {
        match frame {
            Frame::Channel(batch) => self.lender.on_messages(batch),
            Frame::Lending(note) => self.lender.on_note(&note),
            Frame::Stdout(text) | Frame::Stderr(text) => {
                log(self.lender.pod(), &text);
                Ok(())
            }
            Frame::Exit(_) | Frame::Signal(_) | Frame::RequestsEnd => Ok(()),
        }
    }
}

fn log(pod: &str, text: &Bytes) {
    for line in String::from_utf8_lossy(text).lines() {
        tracing::warn!(pod, "{line}");
    }
}

impl Sink for FromLender {
    fn accept(&mut self, frame: Frame) -> io::Result<()> {
        if let Frame::Exit(exit) = frame {
            self.end = Some(exit);
        }
        self.take(frame)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    async fn flush(&mut self) -> io::Result<Option<Exit>> {
        Ok(self.end)
    }
}
