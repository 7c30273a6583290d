//! The API server's own speed: the writes that a Session takes, made by a program that does nothing
//! else. What the operator does in the same time is to be held against it.

use crate::usage;
use futures_util::{StreamExt, stream};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use mafalda_e2e::Cluster;
use mafalda_operator::book::Seat;
use mafalda_operator::crd::Session;
use mafalda_operator::names::{FIELD_MANAGER, access_secret};
use mafalda_operator::pod_api::Access;
use mafalda_operator::secrets::certificates::authority;
use mafalda_operator::session::{access, status};
use mafalda_plan::{Generation, Home, SessionPhase};
use mafalda_token::{Role, generate_keys};
use serde_json::json;
use std::time::{Duration, Instant};

/// Makes so many Sessions with their Secrets and statuses, as many at the same time as the operator
/// does: how many a second.
pub async fn rate(client: &Client, cluster: &Cluster, namespace: &str, count: usize) -> f64 {
    let keys = generate_keys().unwrap();
    let now = Duration::from_secs(1_800_000_000);
    let authority = authority("talk", now).unwrap().certificate;
    let access = Access::new("talk", &keys.private, &authority).unwrap();
    let bare = Bare {
        sessions: Api::namespaced(client.clone(), namespace),
        secrets: Api::namespaced(client.clone(), namespace),
        access,
        authority,
        now,
    };
    let (before, begun) = (usage::control_plane(cluster), Instant::now());
    stream::iter(0..count)
        .map(|index| bare.session(index))
        .buffer_unordered(crate::AT_ONCE)
        .for_each(async |()| {})
        .await;
    let rate = count as f64 / begun.elapsed().as_secs_f64();
    let after = usage::control_plane(cluster);
    println!(
        "bare writes: {rate:.0} Sessions/s; CPU for each: {}",
        usage::since(&before, &after, count)
    );
    rate
}

struct Bare {
    sessions: Api<Session>,
    secrets: Api<Secret>,
    access: Access,
    authority: String,
    now: Duration,
}

impl Bare {
    async fn session(&self, index: usize) {
        let name = format!("s{index}");
        let made = crate::session(&name);
        let made = self
            .sessions
            .create(&PostParams::default(), &made)
            .await
            .unwrap();
        let pod = [127, 1, 0, 1].into();
        let url = status::endpoint(pod, &name);
        let token = self
            .access
            .sign(Role::App, &name, access::TOKEN_LIFE)
            .unwrap();
        let secret = access::secret(&made, &url, &token, &self.authority);
        let apply = PatchParams::apply(FIELD_MANAGER).force();
        let secret_name = access_secret(&name);
        self.secrets
            .patch(&secret_name, &apply, &Patch::Apply(secret))
            .await
            .unwrap();
        let status = status::status(
            &made,
            &self.seat(),
            Some(pod),
            Some(0),
            Some("0123456789"),
            self.now,
        );
        let patch =
            json!({"apiVersion": "mafalda.dev/v1alpha1", "kind": "Session", "status": status});
        self.sessions
            .patch_status(&name, &apply, &Patch::Apply(patch))
            .await
            .unwrap();
    }

    fn seat(&self) -> Seat {
        Seat {
            uid: String::new(),
            phase: SessionPhase::Active,
            generation: Generation(1),
            home: Some(Home {
                pod: "talk-0".into(),
                since: self.now,
            }),
            lenders: Vec::new(),
            lent_at: None,
            mediasoup: Some("3.27.1".to_owned()),
            waiting: None,
            why: ("Placed".to_owned(), "placed on talk-0".to_owned()),
            untold: false,
            decided: 1,
            settled: 0,
            settled_spec: None,
            met: self.now,
            settled_at: self.now,
            token_since: self.now,
            refusals: 0,
            refused_until: None,
        }
    }
}
