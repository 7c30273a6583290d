//! The Secrets of a cluster: made when they are absent, renewed before they end.

use super::certificates;
use super::gateway;
use super::rotation::{self, Fresh, Keys, Pace, blocks};
use crate::crd::MafaldaCluster;
use crate::media_pod::manifest::token_secret;
use crate::names::{
    CLUSTER, FIELD_MANAGER, MADE_FROM, RENEW_AT, SERVER_NAME, authority_secret, certificate_secret,
    gateway_secret,
};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource, ResourceExt};
use mafalda_token::{KeyError, generate_keys};
use serde_json::{Value, json};
use std::collections::BTreeMap;
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
    /// The keys whose tokens are good (SPKI in PEM).
    pub token_keys: String,
    /// Certificates to trust (PEM): of all authorities that are in use.
    pub authorities: String,
    /// What pods show (PEM).
    pub certificate: String,
}

impl Kept {
    /// What pods read of it, as a word: another one when that has changed.
    pub fn digest(&self) -> String {
        digest(&[&self.token_keys, &self.certificate])
    }

    /// What applications' Secrets are made from, as a word: another one when that has changed. Forty bits
    /// of a digest tell nothing of the key.
    pub fn access_digest(&self) -> String {
        digest(&[&self.token_key, &self.authorities])
    }

    /// Whether who has the other's token and authorities is as well off.
    pub fn lets_in_as(&self, other: &Self) -> bool {
        self.token_key == other.token_key && self.authorities == other.authorities
    }
}

/// Some texts as a word: another one when one of them has changed.
fn digest(texts: &[&str]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, texts.concat().as_bytes());
    let bytes = &digest.as_ref()[..5];
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Sees to it that a cluster has its Secrets, and takes the steps that are due. `gateway` is what its
/// gateway is called; without a name it has none.
///
/// # Errors
/// When one can be neither read nor made.
pub async fn keep(
    client: &Client,
    cluster: &MafaldaCluster,
    gateway: &[String],
    now: Duration,
) -> Result<Kept, Error> {
    let keeper = Keeper {
        api: Api::namespaced(client.clone(), &cluster.namespace().unwrap_or_default()),
        cluster,
        now,
    };
    let tokens = keeper.keys(&token_secret(cluster), &TOKEN_KEYS).await?;
    let name = authority_secret(&cluster.name_any());
    let authorities = keeper.keys(&name, &AUTHORITY_KEYS).await?;
    if !gateway.is_empty() {
        keeper.gateway(gateway, &tokens, &authorities).await?;
    }
    Ok(Kept {
        certificate: keeper.certificate(&authorities).await?,
        token_keys: tokens.trusted(),
        token_key: tokens.private,
        authorities: authorities.trusted(),
    })
}

/// How keys of one kind are written in their Secret.
struct Kind {
    of: &'static str,
    private: &'static str,
    public: &'static str,
    next: &'static str,
    /// Where the first public one is once more, alone.
    first: Option<&'static str>,
    pace: Pace,
    fresh: fn(&str, Duration) -> Result<Fresh, Error>,
}

const TOKEN_KEYS: Kind = Kind {
    of: "Opaque",
    private: "private.pem",
    public: "public.pem",
    next: "next.pem",
    first: None,
    pace: rotation::TOKENS,
    fresh: |_, _| {
        let keys = generate_keys()?;
        Ok(Fresh {
            private: keys.private,
            public: keys.public,
        })
    },
};

const AUTHORITY_KEYS: Kind = Kind {
    of: "kubernetes.io/tls",
    private: "tls.key",
    public: "ca.crt",
    next: "next.key",
    first: Some("tls.crt"),
    pace: rotation::AUTHORITIES,
    fresh: |cluster, now| {
        let pair = certificates::authority(cluster, now)?;
        Ok(Fresh {
            private: pair.key,
            public: pair.certificate,
        })
    },
};

struct Keeper<'a> {
    api: Api<Secret>,
    cluster: &'a MafaldaCluster,
    now: Duration,
}

impl Keeper<'_> {
    /// The keys of that Secret: made when it is absent, one step further when that is due. One without
    /// a time was written by somebody else and is left alone.
    async fn keys(&self, name: &str, kind: &Kind) -> Result<Keys, Error> {
        let fresh = || (kind.fresh)(&self.cluster.name_any(), self.now);
        let Some(secret) = self.read(name).await? else {
            let keys = Keys::new(fresh()?);
            let lasts = kind.pace.alone;
            self.create(name, kind.of, &data(kind, &keys), lasts)
                .await?;
            return Ok(keys);
        };
        let before = Keys {
            private: text(&secret, name, kind.private)?,
            public: blocks(&text(&secret, name, kind.public)?),
            next: text(&secret, name, kind.next).ok(),
        };
        if before.public.is_empty() {
            return Err(lacks(name, kind.public));
        }
        if renew_at(&secret).is_none_or(|renew_at| renew_at > self.now) {
            return Ok(before);
        }
        let (keys, lasts) = before.step(kind.pace, fresh)?;
        tracing::info!(secret = name, "its keys are one step further");
        self.replace(name, &secret, &data(kind, &keys), lasts)
            .await?;
        Ok(keys)
    }

    /// The certificate that pods show.
    async fn certificate(&self, authorities: &Keys) -> Result<String, Error> {
        let name = certificate_secret(&self.cluster.name_any());
        let trusted = authorities.trusted();
        if let Some(secret) = self.read(&name).await?
            && renew_at(&secret).is_some_and(|renew_at| renew_at > self.now)
            && text(&secret, &name, "ca.crt")? == trusted
        {
            return text(&secret, &name, "tls.crt");
        }
        let cluster = self.cluster.name_any();
        let names = [SERVER_NAME.to_owned()];
        let pair = certificates::server(&cluster, &authorities.private, &names, self.now)?;
        tracing::info!(secret = name, "a new certificate for the pods");
        let data = json!({
            "tls.crt": pair.certificate,
            "tls.key": pair.key,
            "ca.crt": trusted,
        });
        let secret = self.manifest(&name, "kubernetes.io/tls", &data, pair.renew_at);
        self.apply(&name, secret).await?;
        Ok(pair.certificate)
    }

    /// What the gateway has: never a key that signs for others.
    async fn gateway(
        &self,
        names: &[String],
        tokens: &Keys,
        authorities: &Keys,
    ) -> Result<(), Error> {
        let cluster = self.cluster.name_any();
        let name = gateway_secret(&cluster);
        let (keys, trusted) = (tokens.trusted(), authorities.trusted());
        let made_from = digest(&[&names.join(" "), &keys, &trusted]);
        if let Some(secret) = self.read(&name).await?
            && renew_at(&secret).is_some_and(|renew_at| renew_at > self.now)
            && secret.annotations().get(MADE_FROM) == Some(&made_from)
        {
            return Ok(());
        }
        let pair = certificates::server(&cluster, &authorities.private, names, self.now)?;
        let token = gateway::token(&cluster, &tokens.private, self.now)?;
        tracing::info!(secret = name, "a new token and certificate for the gateway");
        let data = json!({
            "token": token,
            "public.pem": keys,
            "ca.crt": trusted,
            "tls.crt": pair.certificate,
            "tls.key": pair.key,
        });
        let renew_at = pair.renew_at.min(self.now + gateway::TOKEN_LIFE / 2);
        let mut secret = self.manifest(&name, "Opaque", &data, renew_at);
        secret["metadata"]["annotations"][MADE_FROM] = made_from.into();
        self.apply(&name, secret).await
    }

    async fn read(&self, name: &str) -> Result<Option<Secret>, Error> {
        self.api
            .get_opt(name)
            .await
            .map_err(|error| api(name, error))
    }

    /// Made, not applied: nobody's key is overwritten.
    async fn create(
        &self,
        name: &str,
        kind: &str,
        data: &Data,
        lasts: Duration,
    ) -> Result<(), Error> {
        let data: BTreeMap<&str, &String> = data
            .iter()
            .filter_map(|(key, text)| Some((*key, text.as_ref()?)))
            .collect();
        let secret = self.manifest(name, kind, &json!(data), self.now + lasts);
        let secret: Secret = serde_json::from_value(secret).expect("it is a Secret's manifest");
        let parameters = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        let created = self.api.create(&parameters, &secret).await;
        created.map(drop).map_err(|error| api(name, error))
    }

    /// Changes a Secret that nobody else has changed since it was read.
    async fn replace(
        &self,
        name: &str,
        read: &Secret,
        data: &Data,
        lasts: Duration,
    ) -> Result<(), Error> {
        let bytes = |text: &String| ByteString(text.as_bytes().to_vec());
        let data: BTreeMap<&str, Option<ByteString>> = data
            .iter()
            .map(|(key, text)| (*key, text.as_ref().map(bytes)))
            .collect();
        let patch = json!({
            "metadata": {
                "resourceVersion": read.resource_version(),
                "annotations": {RENEW_AT: seconds(self.now + lasts)},
            },
            "data": data,
        });
        let parameters = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let patched = self
            .api
            .patch(name, &parameters, &Patch::Merge(patch))
            .await;
        patched.map(drop).map_err(|error| api(name, error))
    }

    async fn apply(&self, name: &str, secret: Value) -> Result<(), Error> {
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        let applied = self
            .api
            .patch(name, &parameters, &Patch::Apply(secret))
            .await;
        applied.map(drop).map_err(|error| api(name, error))
    }

    fn manifest(&self, name: &str, kind: &str, data: &Value, renew_at: Duration) -> Value {
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
                "annotations": {RENEW_AT: seconds(renew_at)},
                "ownerReferences": [self.cluster.controller_owner_ref(&())],
            },
            "type": kind,
            "stringData": data,
        })
    }
}

fn seconds(time: Duration) -> String {
    time.as_secs().to_string()
}

fn api(name: &str, error: kube::Error) -> Error {
    Error::Api {
        name: name.to_owned(),
        error,
    }
}

/// What a Secret has of keys, and what it has not.
type Data = BTreeMap<&'static str, Option<String>>;

fn data(kind: &Kind, keys: &Keys) -> Data {
    let first = kind.first.map(|key| (key, keys.public.first().cloned()));
    let all = [
        (kind.private, Some(keys.private.clone())),
        (kind.public, Some(keys.trusted())),
        (kind.next, keys.next.clone()),
    ];
    all.into_iter().chain(first).collect()
}

/// From when on a Secret is to be renewed, in time since 1970.
fn renew_at(secret: &Secret) -> Option<Duration> {
    let written = secret.annotations().get(RENEW_AT)?;
    written.parse().ok().map(Duration::from_secs)
}

fn text(secret: &Secret, name: &str, key: &'static str) -> Result<String, Error> {
    let bytes = secret.data.as_ref().and_then(|data| data.get(key));
    let text = bytes.and_then(|bytes| String::from_utf8(bytes.0.clone()).ok());
    text.ok_or_else(|| lacks(name, key))
}

fn lacks(name: &str, key: &'static str) -> Error {
    Error::Lacks {
        name: name.to_owned(),
        key,
    }
}
