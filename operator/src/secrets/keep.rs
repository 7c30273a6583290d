//! The Secrets of a cluster: made when they are absent, renewed before they end.

use super::certificates::{self, Pair};
use crate::crd::MafaldaCluster;
use crate::media_pod::manifest::token_secret;
use crate::names::{CLUSTER, FIELD_MANAGER, RENEW_AT, authority_secret, certificate_secret};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource, ResourceExt};
use mafalda_token::{KeyError, generate_keys};
use serde_json::{Value, json};
use std::time::Duration;

/// Why a cluster has not what it needs.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server said no, or nothing.
    #[error("Secret {name}: {error}")]
    Api {
        /// The Secret's.
        name: String,
        /// What the API server said.
        error: kube::Error,
    },
    /// A Secret is there and lacks something.
    #[error("Secret {name} has no {key}: add it, or delete the Secret and one is made")]
    Lacks {
        /// The Secret's.
        name: String,
        /// What it lacks.
        key: &'static str,
    },
    /// No key can be made.
    #[error("token key: {0}")]
    Key(#[from] KeyError),
    /// No certificate can be made.
    #[error("certificate: {0}")]
    Certificate(#[from] rcgen::Error),
}

/// What the operator reads from a cluster's Secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Signs tokens (PKCS#8 in PEM).
    pub token_key: String,
    /// Certificates to trust (PEM): the authority's, and the one before while it may be in use.
    pub authorities: String,
}

/// Sees to it that a cluster has its Secrets.
///
/// # Errors
/// When one can be neither read nor made.
pub async fn keep(client: &Client, cluster: &MafaldaCluster, now: Duration) -> Result<Kept, Error> {
    let keeper = Keeper {
        api: Api::namespaced(client.clone(), &cluster.namespace().unwrap_or_default()),
        cluster,
        now,
    };
    let token_key = keeper.token_key().await?;
    let authority = keeper.authority().await?;
    keeper.certificate(&authority).await?;
    Ok(Kept {
        token_key,
        authorities: authority.trusted,
    })
}

struct Keeper<'a> {
    api: Api<Secret>,
    cluster: &'a MafaldaCluster,
    now: Duration,
}

struct Authority {
    key: String,
    trusted: String,
}

impl Keeper<'_> {
    async fn token_key(&self) -> Result<String, Error> {
        const PRIVATE: &str = "private.pem";
        const PUBLIC: &str = "public.pem";
        let name = token_secret(self.cluster);
        if let Some(secret) = self.read(&name).await? {
            // The pods need it too: they would wait for it without a word.
            text(&secret, &name, PUBLIC)?;
            return text(&secret, &name, PRIVATE);
        }
        let keys = generate_keys()?;
        let data = json!({PRIVATE: keys.private, PUBLIC: keys.public});
        let secret = self.manifest(&name, "Opaque", &data, None);
        let secret: Secret = serde_json::from_value(secret).expect("it is a Secret's manifest");
        let parameters = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        // Made, not applied: nobody's key is overwritten.
        match self.api.create(&parameters, &secret).await {
            Ok(_) => Ok(keys.private),
            Err(error) => Err(Error::Api { name, error }),
        }
    }

    async fn authority(&self) -> Result<Authority, Error> {
        let name = authority_secret(&self.cluster.name_any());
        let before = self.read(&name).await?;
        let mut older = String::new();
        if let Some(secret) = &before {
            let authority = Authority {
                key: text(secret, &name, "tls.key")?,
                trusted: text(secret, &name, "ca.crt")?,
            };
            if !self.is_due(secret) {
                return Ok(authority);
            }
            older = text(secret, &name, "tls.crt")?;
        }
        let pair = certificates::authority(&self.cluster.name_any(), self.now)?;
        // Pods show certificates of the old one until they have read the new.
        let trusted = format!("{}{older}", pair.certificate);
        self.write(&name, &pair, &trusted).await?;
        Ok(Authority {
            key: pair.key,
            trusted,
        })
    }

    async fn certificate(&self, authority: &Authority) -> Result<(), Error> {
        let name = certificate_secret(&self.cluster.name_any());
        if let Some(secret) = self.read(&name).await?
            && !self.is_due(&secret)
            && text(&secret, &name, "ca.crt")? == authority.trusted
        {
            return Ok(());
        }
        let pair = certificates::of_pods(&self.cluster.name_any(), &authority.key, self.now)?;
        self.write(&name, &pair, &authority.trusted).await
    }

    async fn read(&self, name: &str) -> Result<Option<Secret>, Error> {
        self.api.get_opt(name).await.map_err(|error| Error::Api {
            name: name.to_owned(),
            error,
        })
    }

    async fn write(&self, name: &str, pair: &Pair, trusted: &str) -> Result<(), Error> {
        let data = json!({
            "tls.crt": pair.certificate,
            "tls.key": pair.key,
            "ca.crt": trusted,
        });
        let secret = self.manifest(name, "kubernetes.io/tls", &data, Some(pair.renew_at));
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        let applied = self
            .api
            .patch(name, &parameters, &Patch::Apply(secret))
            .await;
        applied.map(drop).map_err(|error| Error::Api {
            name: name.to_owned(),
            error,
        })
    }

    fn manifest(&self, name: &str, kind: &str, data: &Value, renew: Option<Duration>) -> Value {
        let mut annotations = json!({});
        if let Some(renew) = renew {
            annotations[RENEW_AT] = renew.as_secs().to_string().into();
        }
        json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": name,
                "namespace": self.cluster.namespace(),
                "labels": {
                    "app.kubernetes.io/managed-by": "mafalda-operator",
                    CLUSTER: self.cluster.name_any(),
                },
                "annotations": annotations,
                "ownerReferences": [self.cluster.controller_owner_ref(&())],
            },
            "type": kind,
            "stringData": data,
        })
    }

    fn is_due(&self, secret: &Secret) -> bool {
        let written = secret.annotations().get(RENEW_AT);
        let renew_at = written.and_then(|seconds| seconds.parse().ok());
        renew_at.is_none_or(|seconds| Duration::from_secs(seconds) <= self.now)
    }
}

fn text(secret: &Secret, name: &str, key: &'static str) -> Result<String, Error> {
    let bytes = secret.data.as_ref().and_then(|data| data.get(key));
    let text = bytes.and_then(|bytes| String::from_utf8(bytes.0.clone()).ok());
    text.ok_or_else(|| Error::Lacks {
        name: name.to_owned(),
        key,
    })
}
