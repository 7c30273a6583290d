//! Who is not let in.

use crate::keys::{access, addresses, ask, read};
use crate::world::{World, until, with_operator};
use hyper::Method;
use kube::api::PostParams;
use mafalda_operator::pod_api::client::Error;
use mafalda_operator::pod_api::{Access, Client as Pods};
use mafalda_token::{Claims, Limits, Role, expiry, generate_keys, sign};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

fn claims(role: Role) -> Claims {
    Claims {
        aud: "talk".to_owned(),
        sub: None,
        role,
        session: "*".to_owned(),
        limits: Limits::default(),
        exp: expiry(Duration::from_secs(60)),
    }
}

/// Makes a MafaldaCluster without pods, with keys and an authority of its own.
async fn another_cluster(world: &World) {
    let other = json!({
        "apiVersion": "mafalda.dev/v1alpha1",
        "kind": "MafaldaCluster",
        "metadata": {"name": "other"},
        "spec": {"pool": {"min": 0, "max": 1, "spare": 0}, "exposure": {"type": "Internal"}},
    });
    let other = serde_json::from_value(other).unwrap();
    world
        .clusters
        .create(&PostParams::default(), &other)
        .await
        .unwrap();
    until("the other cluster has its Secrets", async || {
        crate::keys::find(world, "other-pod-tls", "tls.crt")
            .await
            .is_some()
    })
    .await;
}

/// Protects the calls of one cluster from everybody else: tokens that are wrong, old, of another
/// cluster or for less; an operator of another cluster; an operator that is behind.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn who_may_not_is_refused() {
    let spec = json!({
        "workersPerPod": 1,
        "exposure": {"type": "Internal"},
        "pool": {"min": 1, "max": 1, "spare": 0},
    });
    with_operator("refused", spec, async |world| {
        world.serving(1).await;
        another_cluster(world).await;
        let pod = addresses(world).await[0];
        let ours = Arc::new(access(world, "talk").await);
        let key = read(world, "talk-token-key", "private.pem").await;
        let others = read(world, "other-token-key", "private.pem").await;
        let sign = |key: &str, claims: &Claims| sign(key.as_bytes(), claims).unwrap();

        let good = sign(&key, &claims(Role::App));
        let expired = Claims {
            exp: expiry(Duration::ZERO) - 60,
            ..claims(Role::App)
        };
        let elsewhere = Claims {
            aud: "other".to_owned(),
            ..claims(Role::App)
        };
        let forged = generate_keys().unwrap().private;
        let status = async |token: Option<String>| {
            let token = token.as_deref();
            let asked = ask(pod, &ours, Method::GET, "/v1/status", token, json!(null));
            asked.await.unwrap()
        };
        assert_eq!(status(Some(good)).await.0, 200);
        for (what, token) in [
            ("none", None),
            ("garbage", Some("garbage".to_owned())),
            ("expired", Some(sign(&key, &expired))),
            ("for another cluster", Some(sign(&key, &elsewhere))),
            (
                "of another cluster's key",
                Some(sign(&others, &claims(Role::App))),
            ),
            (
                "of a key of nobody",
                Some(sign(&forged, &claims(Role::Operator))),
            ),
        ] {
            let (status, code) = status(token).await;
            assert_eq!((status, code.as_str()), (401, "unauthorized"), "{what}");
        }

        // An application, and a participant, may less than the operator.
        let put = async |token: &str, generation: u64| {
            let body = json!({"generation": generation});
            let path = "/v1/sessions/stage";
            let asked = ask(pod, &ours, Method::PUT, path, Some(token), body);
            asked.await.unwrap()
        };
        for role in [Role::Participant, Role::App, Role::Monitor] {
            let token = sign(&key, &claims(role));
            let (status, code) = put(&token, 9).await;
            assert_eq!((status, code.as_str()), (403, "forbidden"), "{role:?}");
        }

        // A generation that is behind, whoever asks.
        let operator = sign(&key, &claims(Role::Operator));
        assert_eq!(put(&operator, 7).await.0, 201);
        let (status, code) = put(&operator, 6).await;
        assert_eq!((status, code.as_str()), (409, "olderGeneration"));

        // Another cluster's operator does not take this pod for one of its own, nor is it taken for ours.
        let theirs = Pods::new(Arc::new(access(world, "other").await));
        let Err(Error::Unreachable(why)) = theirs.status(pod).await else {
            panic!("the certificate of talk's pod is good for other's operator");
        };
        assert!(why.contains("certificate"), "{why}");
        let authority = read(world, "talk-ca", "ca.crt").await;
        let theirs = Pods::new(Arc::new(Access::new("other", &others, &authority).unwrap()));
        let refused = theirs.status(pod).await.unwrap_err();
        let is_refused = matches!(&refused, Error::Refused { code, .. } if code == "unauthorized");
        assert!(is_refused, "{refused:?}");
    });
}
