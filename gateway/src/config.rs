//! The gateway's settings, checked.

use crate::nodes::Policy;
use mafalda_media_pod::Tls;
use mafalda_token::{Claims, KeyError, Limits, Role, Verifier, expiry, sign};
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// How long a token is good that the gateway signs for itself.
const TOKEN_LIFE: Duration = Duration::from_secs(3600);

/// The settings of a gateway.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it listens.
    pub listen: SocketAddr,
    /// TLS towards clients.
    pub tls: Option<Tls>,
    /// Who may ask; without it everybody on this host.
    pub verifier: Option<Verifier>,
    /// A PEM file of authorities to trust for nodes, instead of the system's.
    pub ca: Option<PathBuf>,
    /// What the gateway shows nodes when it asks for itself.
    pub own: OwnToken,
    /// Clients' connections at once, those that are passed on included.
    pub max_connections: usize,
    /// How something new is placed.
    pub policy: Policy,
    /// Kubernetes says where sessions are; otherwise the gateway places them.
    pub kubernetes: bool,
    /// How long connections are still passed on after the request to stop.
    pub stop_after: Duration,
}

/// A setting that cannot be.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Others than this host could use the cluster.
    #[error(
        "--listen {0} is open to other hosts, and without --token-key anybody there could run \
         media on the cluster: give --token-key mafalda.pub, or listen on 127.0.0.1"
    )]
    OpenWithoutKey(SocketAddr),
    /// A flag is out of range.
    #[error("{flag}: {reason}")]
    Flag {
        /// The flag.
        flag: &'static str,
        /// What is wrong.
        reason: String,
    },
}

/// What the gateway shows nodes.
#[derive(Clone)]
pub enum OwnToken {
    /// Nothing: nodes on this host want none.
    None,
    /// A token that somebody gave it.
    Given(String),
    /// Tokens that it signs for itself.
    Signed {
        /// The private key (PKCS#8 in PEM).
        key: String,
        /// The cluster that they are for.
        cluster: String,
        /// What they allow.
        role: Role,
    },
}

impl fmt::Debug for OwnToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::None => "None",
            Self::Given(_) => "Given",
            Self::Signed { .. } => "Signed",
        })
    }
}

impl OwnToken {
    /// The value of the header `authorization`, if there is one.
    ///
    /// # Errors
    /// The key signs nothing.
    pub fn bearer(&self) -> Result<Option<String>, KeyError> {
        match self {
            Self::None => Ok(None),
            Self::Given(token) => Ok(Some(format!("Bearer {token}"))),
            Self::Signed { key, cluster, role } => {
                let claims = Claims {
                    aud: cluster.clone(),
                    sub: Some("gateway".to_owned()),
                    role: *role,
                    session: "*".to_owned(),
                    limits: Limits::default(),
                    exp: expiry(TOKEN_LIFE),
                };
                Ok(Some(format!("Bearer {}", sign(key.as_bytes(), &claims)?)))
            }
        }
    }
}

impl Config {
    /// Checks what one flag alone does not tell.
    ///
    /// # Errors
    /// Names the flag.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.verifier.is_none() && !self.listen.ip().is_loopback() {
            return Err(ConfigError::OpenWithoutKey(self.listen));
        }
        if self.max_connections == 0 {
            return Err(ConfigError::Flag {
                flag: "--max-connections",
                reason: "at least 1".to_owned(),
            });
        }
        self.own
            .bearer()
            .map(drop)
            .map_err(|error| ConfigError::Flag {
                flag: "--signing-key",
                reason: error.to_string(),
            })
    }
}
