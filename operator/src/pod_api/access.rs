//! How the operator proves who it is to a cluster's pods, and they to it.

use crate::names::SERVER_NAME;
use mafalda_token::{Claims, KeyError, Limits, Role, Verifier, expiry, sign};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

/// How long a token is good that pods show each other.
pub const LENDING_LIFE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// How long a token of the operator is good.
const TOKEN_LIFE: Duration = Duration::from_secs(3600);

/// Why there is no access.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The key of the cluster's Secret signs nothing.
    #[error("token key: {0}")]
    Key(#[from] KeyError),
    /// The certificates of the cluster's authority are none.
    #[error("certificate authority: {0}")]
    Authority(String),
    /// The key of the cluster's Secret is none of those that pods know.
    #[error(
        "token key: private.pem belongs to no key of public.pem, and media pods would let nobody in"
    )]
    OtherKey,
}

/// What a client of a cluster's pods needs.
pub struct Access {
    cluster: String,
    private_key: String,
    tls: Arc<ClientConfig>,
    token: Mutex<Option<(String, Instant)>>,
    lending: Mutex<Option<(String, Instant)>>,
}

impl Access {
    /// For the pods of a cluster: signs with the private key (PKCS#8 in PEM), trusts `authority`
    /// (certificates in PEM).
    ///
    /// # Errors
    /// When one of them is none.
    pub fn new(cluster: &str, private_key: &str, authority: &str) -> Result<Self, Error> {
        let wrong = |error: &dyn std::fmt::Display| Error::Authority(error.to_string());
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(authority.as_bytes()) {
            let certificate = certificate.map_err(|error| wrong(&error))?;
            roots.add(certificate).map_err(|error| wrong(&error))?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| wrong(&error))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let access = Self {
            cluster: cluster.to_owned(),
            private_key: private_key.to_owned(),
            tls: Arc::new(tls),
            token: Mutex::default(),
            lending: Mutex::default(),
        };
        access.bearer()?;
        Ok(access)
    }

    /// Sees that pods that know these public keys (SPKI in PEM) let its bearer in.
    ///
    /// # Errors
    /// When they are none, or would not.
    pub fn is_good_for(&self, public_keys: &str) -> Result<(), Error> {
        let verifier = Verifier::new(public_keys.as_bytes(), &self.cluster)?;
        let token = self.sign(Role::Operator, "*", TOKEN_LIFE)?;
        let verified = verifier.verify(Some(&token));
        verified.map(drop).map_err(|_| Error::OtherKey)
    }

    /// The value of the header `authorization`.
    ///
    /// # Errors
    /// When the key signs nothing.
    pub fn bearer(&self) -> Result<String, Error> {
        let token = self.kept(&self.token, Role::Operator, TOKEN_LIFE)?;
        Ok(format!("Bearer {token}"))
    }

    /// The token that pods show to those that lend them workers: one for all, as a pod has one
    /// connection to another, and good for two thirds of its time at the least.
    ///
    /// # Errors
    /// When the key signs nothing.
    pub fn lending(&self) -> Result<String, Error> {
        self.kept(&self.lending, Role::Pod, LENDING_LIFE)
    }

    /// A token that is made anew after a third of its life.
    fn kept(
        &self,
        kept: &Mutex<Option<(String, Instant)>>,
        role: Role,
        life: Duration,
    ) -> Result<String, Error> {
        let mut token = kept.lock().unwrap_or_else(PoisonError::into_inner);
        match &*token {
            Some((token, made)) if made.elapsed() < life / 3 => Ok(token.clone()),
            Some(_) | None => {
                let made = self.sign(role, "*", life)?;
                *token = Some((made.clone(), Instant::now()));
                Ok(made)
            }
        }
    }

    /// A token for somebody else.
    ///
    /// # Errors
    /// When the key signs nothing.
    pub fn sign(&self, role: Role, session: &str, life: Duration) -> Result<String, Error> {
        let claims = Claims {
            aud: self.cluster.clone(),
            sub: None,
            role,
            session: session.to_owned(),
            limits: Limits::default(),
            exp: expiry(life),
        };
        Ok(sign(self.private_key.as_bytes(), &claims)?)
    }

    /// Settings of TLS that trust the cluster's authority alone.
    pub fn tls(&self) -> Arc<ClientConfig> {
        self.tls.clone()
    }
}

/// The name that every pod's certificate has.
pub fn server_name() -> ServerName<'static> {
    ServerName::try_from(SERVER_NAME).expect("it is a DNS name")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::certificates;
    use mafalda_token::generate_keys;

    /// Protects who brings keys of their own from pods that let nobody in, the operator least of all.
    #[test]
    fn a_key_that_pods_do_not_know_is_told_at_once() {
        let now = Duration::from_secs(1_800_000_000);
        let authority = certificates::authority("talk", now).unwrap().certificate;
        let (keys, others) = (generate_keys().unwrap(), generate_keys().unwrap());
        let access = Access::new("talk", &keys.private, &authority).unwrap();
        let both = [others.public.as_str(), &keys.public].concat();
        for (public, is_good) in [(&keys.public, true), (&both, true), (&others.public, false)] {
            assert_eq!(access.is_good_for(public).is_ok(), is_good);
        }
        let wrong = access.is_good_for(&others.public).unwrap_err();
        assert!(wrong.to_string().contains("public.pem"), "{wrong}");
        assert!(access.is_good_for("no key").is_err());
    }
}
