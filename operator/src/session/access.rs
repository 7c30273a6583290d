//! The Secret that lets a session's application in.

use crate::crd::Session;
use crate::names::{CLUSTER, SESSION, access_secret};
use kube::{Resource, ResourceExt};
use serde_json::{Value, json};
use std::time::Duration;

/// How long a token is good.
pub const TOKEN_LIFE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Whether a token that was written then should be written again.
pub fn is_due(written: Duration, now: Duration) -> bool {
    now.saturating_sub(written) >= TOKEN_LIFE / 2
}

/// The Secret: it belongs to the Session and goes with it.
pub fn secret(session: &Session, url: &str, token: &str, authority: &str) -> Value {
    let name = session.name_any();
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": access_secret(&name),
            "namespace": session.namespace(),
            "labels": {
                "app.kubernetes.io/managed-by": "mafalda-operator",
                CLUSTER: session.spec.cluster_ref.name,
                SESSION: name,
            },
            "ownerReferences": [session.controller_owner_ref(&())],
        },
        "type": "Opaque",
        "stringData": {"url": url, "token": token, "ca.crt": authority},
    })
}
