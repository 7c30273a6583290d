//! What the replica that holds the Lease does: one task for each MafaldaCluster.

use crate::cluster::actor::{self, Shared};
use crate::cluster::perform::write_session_status;
use crate::conditions::{Says, condition};
use crate::crd::{Phase, Session, SessionStatus};
use kube::ResourceExt;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};

/// Clusters are looked for this often at least.
const TURN: Duration = Duration::from_secs(1);
/// How long the API server may take for a status.
const ANSWER: Duration = Duration::from_secs(10);
/// How long a Session's cluster may come after it, as in one file.
const LATER: Duration = Duration::from_secs(2);

/// Works until it is dropped.
pub async fn lead(shared: Shared) {
    shared.index.ready().await;
    let mut changes = shared.index.changes();
    let mut tasks = JoinSet::new();
    let mut actors: HashMap<(String, String), AbortHandle> = HashMap::new();
    let mut orphans: HashMap<String, Instant> = HashMap::new();
    let mut orphans_told = Instant::now();
    let mut has_changed = true;
    loop {
        let begun = Instant::now();
        actors.retain(|_, actor| !actor.is_finished());
        for cluster in shared.index.clusters() {
            let key = (cluster.namespace().unwrap_or_default(), cluster.name_any());
            if cluster.metadata.deletion_timestamp.is_none() && !actors.contains_key(&key) {
                let (namespace, name) = key.clone();
                actors.insert(
                    key,
                    tasks.spawn(actor::run(shared.clone(), namespace, name)),
                );
            }
        }
        while tasks.try_join_next().is_some() {}
        // All Sessions are looked at for it, and there are many changes.
        let may_be_some = has_changed || !orphans.is_empty();
        if may_be_some && orphans_told.elapsed() >= TURN {
            orphans_told = Instant::now();
            has_changed = false;
            tell_orphans(&shared, &mut orphans).await;
        }
        tokio::select! {
            _ = changes.changed() => {
                has_changed = true;
                sleep_until(begun + TURN / 20).await;
            }
            () = sleep_until(begun + TURN) => {}
        }
    }
}

/// Tells Sessions whose cluster does not exist. `orphans` knows since when each is one.
async fn tell_orphans(shared: &Shared, orphans: &mut HashMap<String, Instant>) {
    let clusters = shared.index.clusters();
    let names: HashSet<(Option<&str>, &str)> = clusters
        .iter()
        .filter_map(|c| Some((c.metadata.namespace.as_deref(), c.metadata.name.as_deref()?)))
        .collect();
    let is_orphan = |session: &Arc<Session>| {
        let namespace = session.metadata.namespace.as_deref();
        !names.contains(&(namespace, session.spec.cluster_ref.name.as_str()))
    };
    let found: Vec<_> = shared
        .index
        .sessions()
        .into_iter()
        .filter(is_orphan)
        .collect();
    let uids: HashSet<String> = found.iter().filter_map(|session| session.uid()).collect();
    orphans.retain(|uid, _| uids.contains(uid));
    for session in found {
        let since = orphans
            .entry(session.uid().unwrap_or_default())
            .or_insert_with(Instant::now);
        let made = orphan_status(&session, shared.clock.now());
        if since.elapsed() >= LATER && session.status.as_ref() != Some(&made) {
            let written = write_session_status(&shared.client, &session, &made);
            let session = session.name_any();
            match timeout(ANSWER, written).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(session, %error, "no status was written"),
                Err(_) => tracing::warn!(session, "no answer: no status was written"),
            }
            // Its echo takes a moment.
            *since = Instant::now();
        }
    }
}

/// The status of a Session whose cluster does not exist.
fn orphan_status(session: &Session, now: Duration) -> SessionStatus {
    let before = session.status.clone().unwrap_or_default();
    let cluster = &session.spec.cluster_ref.name;
    let message = format!("there is no MafaldaCluster {cluster} in this namespace");
    let of = |of| {
        let says = Says {
            of,
            holds: Some(false),
            reason: "ClusterNotFound",
            message: &message,
        };
        condition(&says, &before.conditions, session.metadata.generation, now)
    };
    SessionStatus {
        phase: Some(Phase::Pending),
        generation: before.generation,
        last_reason: Some("ClusterNotFound".to_owned()),
        mediasoup_version: before.mediasoup_version.clone(),
        conditions: vec![of("Ready"), of("Placed")],
        observed_generation: session.metadata.generation,
        ..SessionStatus::default()
    }
}
