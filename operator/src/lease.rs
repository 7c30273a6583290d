//! Which of the operator's replicas works: the one that holds the Lease.

use crate::names::FIELD_MANAGER;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// How long a Lease that nobody renews is respected. With two times [`RETRY`] it is how long it takes
/// at most until another replica works: 8 s, so that a session whose pod dies together with the
/// operator is elsewhere within 10.
const LIFE: Duration = Duration::from_secs(6);
/// How long after it was renewed last the holder stops: before another may begin.
const GIVE_UP: Duration = Duration::from_secs(5);
/// How often it is renewed, and tried for.
const RETRY: Duration = Duration::from_secs(1);
/// How long an answer may take: then another connection is tried, as an API server that has lost its power
/// says nothing.
const ANSWER: Duration = Duration::from_secs(2);

/// A replica that wants the Lease.
pub struct Candidate {
    api: Api<Lease>,
    name: String,
    identity: String,
}

impl Candidate {
    /// For the Lease of that name; the identity is no other replica's.
    pub fn new(client: &Client, namespace: &str, name: &str, identity: &str) -> Self {
        Self {
            api: Api::namespaced(client.clone(), namespace),
            name: name.to_owned(),
            identity: identity.to_owned(),
        }
    }

    /// Returns when the Lease is held: it was free, given back, or not renewed for its life as seen
    /// by this replica's clock alone. Since when it is held for certain: the answer may have come late.
    pub async fn acquire(&self) -> Instant {
        let mut last: Option<(Lease, Instant)> = None;
        loop {
            let asked = Instant::now();
            match timeout(ANSWER, self.try_once(&mut last)).await {
                Ok(Ok(true)) => return asked,
                Ok(Ok(false)) => {}
                Ok(Err(error)) => tracing::debug!(%error, "the lease was not taken"),
                Err(_) => tracing::debug!("no answer about the lease"),
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn try_once(&self, last: &mut Option<(Lease, Instant)>) -> kube::Result<bool> {
        let Some(lease) = self.api.get_opt(&self.name).await? else {
            let lease = self.lease(None, true);
            return taken(self.api.create(&parameters(), &lease).await);
        };
        if last.as_ref().is_none_or(|(seen, _)| *seen != lease) {
            *last = Some((lease.clone(), Instant::now()));
        }
        let holder = lease
            .spec
            .as_ref()
            .and_then(|spec| spec.holder_identity.as_deref());
        let free = holder.is_none_or(str::is_empty) || holder == Some(&self.identity);
        let over = last
            .as_ref()
            .is_some_and(|(_, since)| since.elapsed() >= LIFE);
        if !free && !over {
            return Ok(false);
        }
        let ours = self.lease(Some(lease), true);
        taken(self.api.replace(&self.name, &parameters(), &ours).await)
    }

    /// Returns when the Lease, which is held since then, is lost: another has it, or it could not be
    /// renewed for so long that another may.
    pub async fn keep(&self, since: Instant) {
        let mut renewed = since;
        loop {
            let left = GIVE_UP.saturating_sub(renewed.elapsed());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(RETRY.min(left)).await;
            // Others count from when they see the write: not before it was asked for.
            let asked = Instant::now();
            let left = GIVE_UP.saturating_sub(renewed.elapsed());
            match timeout(ANSWER.min(left), self.renew()).await {
                Ok(Ok(true)) => renewed = asked,
                Ok(Ok(false)) => return,
                Ok(Err(error)) => tracing::warn!(%error, "the lease could not be renewed"),
                Err(_) => tracing::warn!("no answer about the lease"),
            }
        }
    }

    async fn renew(&self) -> kube::Result<bool> {
        loop {
            let lease = self.api.get(&self.name).await?;
            let holder = lease
                .spec
                .as_ref()
                .and_then(|spec| spec.holder_identity.as_deref());
            if holder != Some(&self.identity) {
                return Ok(false);
            }
            let ours = self.lease(Some(lease), false);
            if taken(self.api.replace(&self.name, &parameters(), &ours).await)? {
                return Ok(true);
            }
            // Somebody wrote something in it meanwhile: who holds it is to be read again.
        }
    }

    /// Gives the Lease back, so that another replica need not wait.
    ///
    /// # Errors
    /// When the API server says no, or nothing.
    pub async fn release(&self) -> kube::Result<()> {
        let mut lease = self.api.get(&self.name).await?;
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_deref() == Some(&self.identity) {
            spec.holder_identity = None;
            self.api.replace(&self.name, &parameters(), &lease).await?;
        }
        Ok(())
    }

    fn lease(&self, before: Option<Lease>, taken: bool) -> Lease {
        let now = MicroTime(Timestamp::now());
        let (metadata, spec) = match before {
            Some(lease) => (lease.metadata, lease.spec.unwrap_or_default()),
            None => (
                ObjectMeta {
                    name: Some(self.name.clone()),
                    ..ObjectMeta::default()
                },
                LeaseSpec::default(),
            ),
        };
        Lease {
            metadata,
            spec: Some(LeaseSpec {
                holder_identity: Some(self.identity.clone()),
                lease_duration_seconds: i32::try_from(LIFE.as_secs()).ok(),
                acquire_time: if taken {
                    Some(now.clone())
                } else {
                    spec.acquire_time
                },
                renew_time: Some(now),
                lease_transitions: Some(
                    spec.lease_transitions.unwrap_or_default() + i32::from(taken),
                ),
                ..LeaseSpec::default()
            }),
        }
    }
}

fn parameters() -> PostParams {
    PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    }
}

/// Whether the write went through; another's came before it where not.
fn taken(result: kube::Result<Lease>) -> kube::Result<bool> {
    match result {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.is_conflict() || status.is_already_exists() => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}
