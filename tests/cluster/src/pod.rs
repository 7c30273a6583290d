//! Questions to a media pod with any token, by who trusts its cluster.

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use mafalda_operator::names::API_PORT;
use mafalda_operator::pod_api::Access;
use mafalda_operator::pod_api::access::server_name;
use serde_json::Value;
use std::net::IpAddr;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A connection to a pod's HTTP API.
///
/// # Errors
/// When there is none, or the pod shows a certificate of somebody else.
pub async fn connect(pod: IpAddr, access: &Access) -> std::io::Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect((pod, API_PORT)).await?;
    let tls = TlsConnector::from(access.tls());
    tls.connect(server_name(), tcp).await
}

/// Asks a pod, with that value of the header `authorization`: the status and what it said, which is
/// null where that is no JSON.
///
/// # Errors
/// When there is no connection, or it breaks.
pub async fn ask(
    pod: IpAddr,
    access: &Access,
    method: Method,
    path: &str,
    authorization: Option<&str>,
    body: Value,
) -> std::io::Result<(u16, Value)> {
    let tls = connect(pod, access).await?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(tls)).await;
    let (mut sender, connection) = handshake.map_err(std::io::Error::other)?;
    tokio::spawn(connection);
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "pod.mafalda")
        .header("content-type", "application/json");
    if let Some(authorization) = authorization {
        request = request.header("authorization", authorization);
    }
    let request = request.body(Full::<Bytes>::from(body.to_string()));
    let request = request.map_err(std::io::Error::other)?;
    let response = sender.send_request(request).await;
    let response = response.map_err(std::io::Error::other)?;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await;
    let body = body.map_err(std::io::Error::other)?.to_bytes();
    Ok((status, serde_json::from_slice(&body).unwrap_or_default()))
}
