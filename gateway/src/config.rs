//! The gateway's settings, checked.

use crate::nodes::Policy;
use mafalda_media_pod::Tls;
use mafalda_token::{Claims, Limits, Role, Verifier, expiry, sign};
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// How long a token is good that the gateway signs for itself.
const TOKEN_LIFE: Duration = Duration::from_secs(3600);
/// How long it is used.
const TOKEN_USE: Duration = Duration::from_secs(1800);

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
    /// A file with a token that somebody writes anew before it ends.
    File(PathBuf),
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
            Self::File(_) => "File",
            Self::Signed { .. } => "Signed",
        })
    }
}

impl OwnToken {
    /// The value of the header `authorization`, if there is one.
    ///
    /// # Errors
    /// The key signs nothing, or the file cannot be read.
    pub fn bearer(&self) -> Result<Option<String>, ConfigError> {
        let token = match self {
            Self::None => return Ok(None),
            Self::Given(token) => token.clone(),
            Self::File(path) => {
                let text = std::fs::read_to_string(path).map_err(|error| ConfigError::Flag {
                    flag: "--token-file",
                    reason: format!("{}: {error}", path.display()),
                })?;
                text.trim().to_owned()
            }
            Self::Signed { key, cluster, role } => {
                let claims = Claims {
                    aud: cluster.clone(),
                    sub: Some("gateway".to_owned()),
                    role: *role,
                    session: "*".to_owned(),
                    limits: Limits::default(),
                    exp: expiry(TOKEN_LIFE),
                };
                sign(key.as_bytes(), &claims).map_err(|error| ConfigError::Flag {
                    flag: "--signing-key",
                    reason: error.to_string(),
                })?
            }
        };
        Ok(Some(format!("Bearer {token}")))
    }

    /// How long what [`OwnToken::bearer`] said may be used before it is asked again.
    pub(crate) fn lasts(&self) -> Duration {
        match self {
            // It may be another one at any time.
            Self::File(_) => Duration::ZERO,
            Self::None | Self::Given(_) | Self::Signed { .. } => TOKEN_USE,
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
        self.own.bearer().map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Protects a gateway from a token that has ended: it shows what the file has now.
    #[test]
    fn a_token_of_a_file_is_the_one_of_now() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let own = OwnToken::File(file.path().to_owned());
        for token in ["one", "two"] {
            std::fs::write(file.path(), format!("{token}\n")).unwrap();
            assert_eq!(own.bearer().unwrap(), Some(format!("Bearer {token}")));
        }
        assert_eq!(own.lasts(), Duration::ZERO);
        drop(file);
        let error = own.bearer().unwrap_err().to_string();
        assert!(error.contains("--token-file"), "{error}");
    }
}
