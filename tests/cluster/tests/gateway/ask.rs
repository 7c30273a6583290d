//! Questions to the gateway, as anybody in the cluster may ask them.

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::upgrade::Upgraded;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use mafalda_operator::pod_api::Access;
use serde_json::Value;
use std::net::IpAddr;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

/// What the gateway answered. A connection that it took ends when this is dropped.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// The media pod that it led to.
    pub pod: Option<String>,
    pub body: Value,
    _taken: Option<Upgraded>,
}

impl Answer {
    /// The status, and the word of a refusal.
    pub fn refusal(&self) -> (u16, &str) {
        let code = self.body["error"]["code"].as_str();
        (self.status, code.unwrap_or_default())
    }
}

/// Who asks: what he trusts, and by which name he knows the gateway.
pub struct Asker<'a> {
    pub access: &'a Access,
    pub name: &'static str,
    pub port: u16,
}

impl Asker<'_> {
    /// Asks the gateway, or one replica of it, at that address. A worker is asked for as relays do it,
    /// up to the point where one would begin.
    ///
    /// # Errors
    /// There is no connection, or it broke.
    pub async fn ask(
        &self,
        at: IpAddr,
        (method, path): (Method, &str),
        token: Option<&str>,
    ) -> std::io::Result<Answer> {
        let tcp = TcpStream::connect((at, self.port)).await?;
        let name = ServerName::try_from(self.name).map_err(std::io::Error::other)?;
        let tls = TlsConnector::from(self.access.tls());
        let tls = tls.connect(name, tcp).await?;
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(tls)).await;
        let (mut sender, connection) = handshake.map_err(std::io::Error::other)?;
        tokio::spawn(connection.with_upgrades());
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", self.name);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if path.ends_with("/worker") {
            request = request
                .header("connection", "upgrade")
                .header("upgrade", "websocket")
                .header("sec-websocket-version", "13")
                .header("sec-websocket-key", "bWFmYWxkYSBtYWZhbGRhIQ==")
                .header("mafalda-mediasoup", "3.27.1")
                .header("mafalda-protocol", "1");
        }
        let request = request.body(Empty::<Bytes>::new());
        let request = request.map_err(std::io::Error::other)?;
        let response = sender.send_request(request).await;
        let response = response.map_err(std::io::Error::other)?;
        let pod = response.headers().get("mafalda-pod");
        let pod = pod.and_then(|pod| Some(pod.to_str().ok()?.to_owned()));
        let status = response.status().as_u16();
        let (body, taken) = match status {
            101 => {
                let taken = hyper::upgrade::on(response).await;
                (Bytes::new(), Some(taken.map_err(std::io::Error::other)?))
            }
            _ => {
                let body = response.into_body().collect().await;
                (body.map_err(std::io::Error::other)?.to_bytes(), None)
            }
        };
        Ok(Answer {
            status,
            pod,
            body: serde_json::from_slice(&body).unwrap_or_default(),
            _taken: taken,
        })
    }
}
