//! Nodes from DNS: all addresses of a name.

use crate::gateway::Gateway;
use crate::nodes::{Address, AddressError};
use std::time::Duration;
use tokio::net::lookup_host;
use tokio::time::{sleep, timeout};

/// How often it is looked up.
const OFTEN: Duration = Duration::from_secs(5);

/// A name with a port, `host:port` or with a scheme before it.
#[derive(Clone, Debug)]
pub struct Names(Address);

impl Names {
    /// Reads it.
    ///
    /// # Errors
    /// It is something else.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        match text.contains("://") {
            true => Address::parse(text).map(Self),
            false => Address::parse(&format!("ws://{text}")).map(Self),
        }
    }
}

/// Looks the name up again and again. One that is not found leaves the last list.
pub async fn dns(gateway: Gateway, Names(name): Names) {
    let (mut last, mut told) = (None, String::new());
    loop {
        let lookup = lookup_host((name.host.as_str(), name.port));
        let found = match timeout(OFTEN, lookup).await {
            Ok(Ok(addresses)) => Ok(addresses),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no answer in {} s", OFTEN.as_secs())),
        };
        match found {
            Ok(addresses) => {
                let mut nodes: Vec<Address> = addresses
                    .map(|address| Address {
                        tls: name.tls,
                        host: address.ip().to_string(),
                        port: address.port(),
                    })
                    .collect();
                nodes.sort();
                nodes.dedup();
                if last.as_ref() != Some(&nodes) {
                    gateway.list(nodes.iter().cloned().map(Into::into).collect());
                    last = Some(nodes);
                }
                told.clear();
            }
            Err(reason) => {
                if reason != told {
                    tracing::warn!(
                        name = name.authority(),
                        reason,
                        "the nodes stay as they are"
                    );
                    told = reason;
                }
            }
        }
        sleep(OFTEN).await;
    }
}
