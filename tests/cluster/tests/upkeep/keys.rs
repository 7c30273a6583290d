//! A cluster's Secrets, and questions to a media pod with any token.

use crate::world::World;
use hyper::Method;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use mafalda_e2e::pod::connect;
use mafalda_operator::names::RENEW_AT;
use mafalda_operator::pod_api::Access;
use serde_json::{Value, json};
use std::net::IpAddr;
use std::sync::Arc;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

fn secrets(world: &World) -> Api<Secret> {
    Api::namespaced(world.client.clone(), &world.namespace)
}

/// What a Secret has under that key, if it is there.
pub async fn find(world: &World, name: &str, key: &str) -> Option<String> {
    let secret = secrets(world).get_opt(name).await.unwrap()?;
    let bytes = secret.data?.remove(key)?;
    Some(String::from_utf8(bytes.0).unwrap())
}

/// What a Secret that is there has under that key.
pub async fn read(world: &World, name: &str, key: &str) -> String {
    find(world, name, key).await.unwrap()
}

/// Says that the next step of a Secret is due now.
pub async fn renew_now(world: &World, name: &str) {
    let due = json!({"metadata": {"annotations": {RENEW_AT: "0"}}});
    secrets(world)
        .patch(name, &PatchParams::default(), &Patch::Merge(due))
        .await
        .unwrap();
}

pub async fn delete(world: &World, name: &str) {
    secrets(world)
        .delete(name, &Default::default())
        .await
        .unwrap();
}

/// What gets one to the pods of a cluster now.
pub async fn access(world: &World, cluster: &str) -> Access {
    let key = read(world, &format!("{cluster}-token-key"), "private.pem").await;
    let authorities = read(world, &format!("{cluster}-ca"), "ca.crt").await;
    Access::new(cluster, &key, &authorities).unwrap()
}

/// The addresses of the media pods of `talk`.
pub async fn addresses(world: &World) -> Vec<IpAddr> {
    let talk = ListParams::default().labels("mafalda.dev/cluster=talk");
    let pods = world.pods.list(&talk).await.unwrap();
    let address =
        |pod: &k8s_openapi::api::core::v1::Pod| pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok();
    pods.iter().filter_map(address).collect()
}

/// Whether a pod shows that certificate (PEM), to who trusts that cluster's authorities.
pub async fn shows(pod: IpAddr, access: &Access, certificate: &str) -> bool {
    let Ok(tls) = connect(pod, access).await else {
        return false;
    };
    let shown = tls.get_ref().1.peer_certificates();
    let wanted = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
    shown.is_some_and(|shown| shown.first() == Some(&wanted))
}

/// Asks a pod with that token: the status, and the word of a refusal.
///
/// # Errors
/// When there is no connection.
pub async fn ask(
    pod: IpAddr,
    access: &Arc<Access>,
    method: Method,
    path: &str,
    token: Option<&str>,
    body: Value,
) -> std::io::Result<(u16, String)> {
    let bearer = token.map(|token| format!("Bearer {token}"));
    let asked = mafalda_e2e::pod::ask(pod, access, method, path, bearer.as_deref(), body);
    let (status, body) = asked.await?;
    let code = body["error"]["code"].as_str().unwrap_or_default();
    Ok((status, code.to_owned()))
}

/// Whether a pod takes that token for one that its cluster signed. What it is good for is another matter: one
/// for a session reads no status of the pod (403).
pub async fn lets_in(pod: IpAddr, access: &Arc<Access>, token: &str) -> bool {
    let asked = ask(
        pod,
        access,
        Method::GET,
        "/v1/status",
        Some(token),
        json!(null),
    );
    matches!(asked.await, Ok((200 | 403, _)))
}
