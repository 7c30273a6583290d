//! Keys and certificates that are replaced while calls go on.

use crate::keys::{access, addresses, delete, find, lets_in, read, renew_now, shows};
use crate::world::{World, on_cluster, until};
use mafalda_e2e::{Calls, Event, Operator};
use mafalda_operator::pod_api::Access;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// Waits until a Secret has something else under that key, and says what.
async fn changed(world: &World, name: &str, key: &str, before: &str) -> String {
    let mut now = String::new();
    let took = until(&format!("another {key} in {name}"), async || {
        now = find(world, name, key).await.unwrap_or_default();
        !now.is_empty() && now != before
    })
    .await;
    println!("{name}: another {key} after {took:?}");
    now
}

/// Waits until all pods show the certificate that is in the Secret.
async fn all_show(world: &World, access: &Access) {
    let took = until("the pods show their new certificate", async || {
        let certificate = read(world, "talk-pod-tls", "tls.crt").await;
        let mut all = true;
        for pod in addresses(world).await {
            all &= shows(pod, access, &certificate).await;
        }
        all
    })
    .await;
    println!("all pods show it after {took:?}");
}

/// Waits until all pods let that token in, or none does.
async fn all_let_in(world: &World, access: &Arc<Access>, token: &str, wanted: bool) {
    let what = if wanted { "let in" } else { "refused" };
    let took = until(&format!("a token is {what}"), async || {
        let mut all = true;
        for pod in addresses(world).await {
            all &= lets_in(pod, access, token).await == wanted;
        }
        all
    })
    .await;
    println!("a token is {what} by all pods after {took:?}");
}

/// The operator reaches its pods: they take a session, and both serve.
async fn operator_works(world: &World, session: &str) {
    world.apply(session).await;
    let took = world.active(session, 1).await;
    assert_eq!(world.status(session).await.generation, Some(1));
    world.calm(2).await;
    println!("a new session is Active after {took:?}");
}

fn blocks(text: &str) -> usize {
    text.matches("-----END ").count()
}

/// The certificate is renewed: nobody notices.
async fn certificate(world: &World) {
    let access = access(world, "talk").await;
    let before = read(world, "talk-pod-tls", "tls.crt").await;
    renew_now(world, "talk-pod-tls").await;
    changed(world, "talk-pod-tls", "tls.crt", &before).await;
    all_show(world, &access).await;
    operator_works(world, "after-certificate").await;
}

/// The authority is replaced, step by step.
async fn authority(world: &World) {
    let old = read(world, "talk-ca", "ca.crt").await;
    let key = read(world, "talk-ca", "tls.key").await;
    renew_now(world, "talk-ca").await;
    let both = changed(world, "talk-ca", "ca.crt", &old).await;
    assert_eq!(blocks(&both), 2);
    assert_eq!(read(world, "talk-ca", "tls.key").await, key);
    // Applications are told to trust it before a pod shows what it signed.
    changed(world, "stage-access", "ca.crt", &old).await;
    operator_works(world, "authority-known").await;

    renew_now(world, "talk-ca").await;
    changed(world, "talk-ca", "tls.key", &key).await;
    all_show(world, &access(world, "talk").await).await;
    operator_works(world, "authority-signs").await;

    let both = read(world, "talk-ca", "ca.crt").await;
    renew_now(world, "talk-ca").await;
    let new = changed(world, "talk-ca", "ca.crt", &both).await;
    assert_eq!(blocks(&new), 1);
    all_show(world, &access(world, "talk").await).await;
    operator_works(world, "authority-alone").await;
}

/// The key of tokens is replaced, step by step: what the old one signed is good until it is forgotten.
async fn token_key(world: &World) {
    let access_before = Arc::new(access(world, "talk").await);
    let old = read(world, "stage-access", "token").await;
    let public = read(world, "talk-token-key", "public.pem").await;
    let private = read(world, "talk-token-key", "private.pem").await;
    renew_now(world, "talk-token-key").await;
    let both = changed(world, "talk-token-key", "public.pem", &public).await;
    assert_eq!(blocks(&both), 2);
    let next = read(world, "talk-token-key", "next.pem").await;
    let with_next = Access::new("talk", &next, &read(world, "talk-ca", "ca.crt").await).unwrap();
    let early = with_next.bearer().unwrap();
    let early = early.strip_prefix("Bearer ").unwrap();
    all_let_in(world, &access_before, early, true).await;

    renew_now(world, "talk-token-key").await;
    changed(world, "talk-token-key", "private.pem", &private).await;
    assert!(find(world, "talk-token-key", "next.pem").await.is_none());
    let new = changed(world, "stage-access", "token", &old).await;
    all_let_in(world, &access_before, &new, true).await;
    all_let_in(world, &access_before, &old, true).await;
    operator_works(world, "key-signs").await;

    let both = read(world, "talk-token-key", "public.pem").await;
    renew_now(world, "talk-token-key").await;
    changed(world, "talk-token-key", "public.pem", &both).await;
    all_let_in(world, &access_before, &old, false).await;
    all_let_in(world, &access_before, &new, true).await;
    operator_works(world, "key-alone").await;
}

/// A key that is deleted, as it is known to somebody who should not have it, is good for nothing from
/// now on.
async fn deleted(world: &World) {
    let access_before = Arc::new(access(world, "talk").await);
    let old = read(world, "stage-access", "token").await;
    delete(world, "talk-token-key").await;
    let new = changed(world, "stage-access", "token", &old).await;
    all_let_in(world, &access_before, &old, false).await;
    all_let_in(world, &access_before, &new, true).await;
    operator_works(world, "key-deleted").await;

    let authority = read(world, "talk-ca", "ca.crt").await;
    delete(world, "talk-ca").await;
    changed(world, "talk-ca", "ca.crt", &authority).await;
    all_show(world, &access(world, "talk").await).await;
    operator_works(world, "authority-deleted").await;
}

/// Protects calls from the age of keys: each of a cluster's Secrets is replaced under a call, which
/// goes on where it is, without a packet lost; what is replaced is good for nothing afterwards.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn keys_and_certificates_are_replaced_under_a_call() {
    let spec = json!({
        "workersPerPod": 1,
        "exposure": {"type": "Internal"},
        "pool": {"min": 2, "max": 2, "spare": 0},
    });
    on_cluster("rotation", spec, async |world| {
        let quick = ["--secrets-seconds", "1"];
        let operator = Operator::start_with(world.cluster, "rotation", 8080, &quick);
        let _operator = operator.unwrap();
        world.serving(2).await;
        world.apply("stage").await;
        let calls = Calls::start(&world.client, &world.namespace, "stage", 1).await;
        until("media flows", async || calls.flow()).await;
        let before = calls.lines().len();

        certificate(world).await;
        authority(world).await;
        token_key(world).await;
        deleted(world).await;

        let lines = calls.lines().len();
        until("the call goes on", async || calls.lines().len() > lines + 1).await;
        assert_eq!(calls.count(Event::Died), 0);
        assert_eq!(world.status("stage").await.generation, Some(1));
        let gap = calls.longest_gap(before);
        let last = calls.stop().await;
        println!(
            "{} packets, {} lost, longest gap {gap:?}",
            last.sent, last.lost
        );
        assert_eq!(last.lost, 0);
        assert!(gap < Duration::from_secs(1), "{gap:?}");
    });
}
