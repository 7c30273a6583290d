//! Doing what is due: requests to the API server and to pods.

use super::jobs::{Job, Settle};
use crate::clock::Clock;
use crate::crd::{MafaldaCluster, MafaldaClusterStatus, Phase, Session};
use crate::media_pod::manifest::{self, Place};
use crate::metrics::Metrics;
use crate::names::{FIELD_MANAGER, SECRETS};
use crate::pod_api::access::Error as AccessError;
use crate::pod_api::client::Error as PodError;
use crate::pod_api::{Client as Pods, access::Access};
use crate::session::{access, status};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, Client, ResourceExt};
use mafalda_plan::SessionPhase;
use mafalda_token::Role;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// What a pod that the plan deletes may still take, in seconds: its sessions have left.
const DELETE_GRACE: u32 = 30;

/// How long a job may take.
const ANSWER: Duration = Duration::from_secs(10);

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server said no, or nothing.
    #[error("{0}")]
    Api(#[from] kube::Error),
    /// The pod said no, or nothing.
    #[error("{0}")]
    Pod(#[from] PodError),
    /// There is no key to sign with.
    #[error("{0}")]
    Access(#[from] AccessError),
    /// The cluster's Secrets could not be read yet.
    #[error("there are no keys and certificates yet")]
    NoKeys,
    /// The home pod of an Active session has no address yet.
    #[error("the home pod has no address")]
    NoAddress,
    /// Nobody answered in time.
    #[error("no answer in time")]
    Silent,
}

/// Does the jobs of one cluster.
#[derive(Clone)]
pub struct Performer {
    pub client: Client,
    pub pods: Pods,
    /// Certificates that clients of the pods trust, in PEM.
    pub authorities: Arc<str>,
    /// What applications' Secrets are made from: [`crate::secrets::Kept::access_digest`].
    pub access_from: Arc<str>,
    pub default_image: Arc<str>,
    pub metrics: Metrics,
    pub clock: Clock,
}

impl Performer {
    /// Does one job, or gives it up: who is asked may have lost its power, and the next try finds another
    /// connection.
    ///
    /// # Errors
    /// Why it was not done. It is due again then.
    pub async fn perform(&self, cluster: &MafaldaCluster, job: &Job) -> Result<(), Error> {
        let done = timeout(ANSWER, self.carry_out(cluster, job)).await;
        done.unwrap_or(Err(Error::Silent))
    }

    async fn carry_out(&self, cluster: &MafaldaCluster, job: &Job) -> Result<(), Error> {
        let namespace = cluster.namespace().unwrap_or_default();
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &namespace);
        match job {
            Job::CreatePod {
                name,
                rtc_port,
                workers,
                secrets,
            } => {
                let place = place(name, *rtc_port, *workers);
                let mut pod = manifest::pod(cluster, &self.default_image, &place);
                pod["metadata"]["annotations"][SECRETS] = secrets.as_str().into();
                apply(&pods, name, pod).await?;
            }
            Job::ExposePod {
                name,
                uid,
                rtc_port,
                workers,
            } => {
                let place = place(name, *rtc_port, *workers);
                if let Some(service) = manifest::service(cluster, &place, uid) {
                    let services: Api<Service> = Api::namespaced(self.client.clone(), &namespace);
                    apply(&services, name, service).await?;
                }
            }
            Job::TellAddress {
                pod,
                uid,
                addresses,
            } => {
                let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), &namespace);
                let map = manifest::address(cluster, pod, uid, addresses);
                apply(&maps, &crate::names::address_config(pod), map).await?;
            }
            Job::MarkPod { pod, patch } => {
                let parameters = PatchParams {
                    field_manager: Some(FIELD_MANAGER.to_owned()),
                    ..PatchParams::default()
                };
                pods.patch_metadata(pod, &parameters, &Patch::Merge(patch))
                    .await?;
            }
            Job::DrainPod {
                ip,
                phase,
                deadline,
                ..
            } => self.pods.drain(*ip, *phase, *deadline).await?,
            Job::DeletePod { pod, uid } => {
                let mut parameters = DeleteParams::default().grace_period(DELETE_GRACE);
                parameters.preconditions = Some(Preconditions {
                    uid: Some(uid.clone()),
                    resource_version: None,
                });
                match pods.delete(pod, &parameters).await {
                    Err(kube::Error::Api(status)) if status.is_not_found() => {}
                    other => drop(other?),
                }
            }
            Job::Fence {
                ip,
                session,
                generation,
                ..
            } => self.pods.delete_session(*ip, session, *generation).await?,
            Job::Tell {
                session,
                home,
                generation,
                max_participants,
                ..
            } => {
                let pods = &self.pods;
                let put = pods.put_session(home, session, *generation, *max_participants, &[]);
                put.await?;
            }
            Job::Lend {
                session,
                home,
                generation,
                max_participants,
                lenders,
                ..
            } => {
                let pods = &self.pods;
                let put = pods.put_session(home, session, *generation, *max_participants, lenders);
                put.await?;
            }
            Job::Settle(settle) => self.settle(settle).await?,
            Job::Status(status) => write_cluster_status(&self.client, cluster, status).await?,
        }
        Ok(())
    }

    /// The Secret first, if it is due, then the status that names it.
    async fn settle(&self, settle: &Settle) -> Result<(), Error> {
        let (session, seat) = (&*settle.session, &settle.seat);
        let (name, namespace) = (session.name_any(), session.namespace().unwrap_or_default());
        let pod = match seat.phase {
            SessionPhase::Active => Some(settle.pod.ok_or(Error::NoAddress)?),
            SessionPhase::Pending | SessionPhase::Ended => None,
        };
        if let Some(pod) = pod.filter(|_| settle.access) {
            let url = status::endpoint(pod, &name);
            let token = self.token(&name)?;
            let secret = access::secret(session, &url, &token, &self.authorities);
            let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &namespace);
            let secret_name = crate::names::access_secret(&name);
            apply(&secrets, &secret_name, secret).await?;
        }
        let now = self.clock.now();
        let written = session.status.as_ref();
        let access_from = match settle.access {
            true => Some(&*self.access_from),
            false => written.and_then(|status| status.access_from.as_deref()),
        };
        let made = status::status(
            session,
            seat,
            settle.pod,
            settle.participants,
            access_from,
            now,
        );
        if session.status.as_ref() == Some(&made) {
            return Ok(());
        }
        let sessions: Api<Session> = Api::namespaced(self.client.clone(), &namespace);
        let patch = status_patch("Session", &json!(made));
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        sessions
            .patch_status(&name, &parameters, &Patch::Apply(patch))
            .await?;
        // Not when a figure is written, nor a token.
        let is_new = session.status.as_ref().and_then(|s| s.phase) != Some(Phase::Active);
        if is_new && seat.phase == SessionPhase::Active && seat.generation.0 == 1 {
            self.metrics.session_active(now.saturating_sub(seat.met));
        }
        Ok(())
    }

    fn token(&self, session: &str) -> Result<String, AccessError> {
        let access: &Arc<Access> = self.pods.access();
        access.sign(Role::App, session, access::TOKEN_LIFE)
    }
}

/// Applies what a cluster has besides its pods.
///
/// # Errors
/// When the API server says no, or nothing.
pub async fn apply_disruption_budget(
    client: &Client,
    cluster: &MafaldaCluster,
) -> kube::Result<()> {
    let namespace = cluster.namespace().unwrap_or_default();
    let budgets: Api<PodDisruptionBudget> = Api::namespaced(client.clone(), &namespace);
    apply(
        &budgets,
        &cluster.name_any(),
        manifest::disruption_budget(cluster),
    )
    .await
}

/// Writes a cluster's status: what does not need keys or pods.
///
/// # Errors
/// When the API server says no, or nothing.
pub async fn write_cluster_status(
    client: &Client,
    cluster: &MafaldaCluster,
    status: &MafaldaClusterStatus,
) -> kube::Result<()> {
    let namespace = cluster.namespace().unwrap_or_default();
    let clusters: Api<MafaldaCluster> = Api::namespaced(client.clone(), &namespace);
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    let patch = Patch::Apply(status_patch("MafaldaCluster", &json!(status)));
    clusters
        .patch_status(&cluster.name_any(), &parameters, &patch)
        .await
        .map(drop)
}

/// Writes the status of a Session whose cluster does not exist.
///
/// # Errors
/// When the API server says no, or nothing.
pub async fn write_session_status(
    client: &Client,
    session: &Session,
    status: &crate::crd::SessionStatus,
) -> kube::Result<()> {
    let namespace = session.namespace().unwrap_or_default();
    let sessions: Api<Session> = Api::namespaced(client.clone(), &namespace);
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    let patch = Patch::Apply(status_patch("Session", &json!(status)));
    sessions
        .patch_status(&session.name_any(), &parameters, &patch)
        .await
        .map(drop)
}

fn place(name: &str, rtc_port: u16, workers: u16) -> Place<'_> {
    Place {
        name,
        rtc_port,
        workers,
    }
}

fn status_patch(kind: &str, status: &Value) -> Value {
    json!({"apiVersion": "mafalda.dev/v1alpha1", "kind": kind, "status": status})
}

async fn apply<K>(api: &Api<K>, name: &str, object: Value) -> kube::Result<()>
where
    K: Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    api.patch(name, &parameters, &Patch::Apply(object))
        .await
        .map(drop)
}
