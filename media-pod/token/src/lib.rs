//! Who may do what: signed tokens (JWT, EdDSA). A pod holds the public key alone; the operator and
//! `mafalda token` sign.

mod keys;

pub use keys::{Keys, generate_keys};

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::{Duration, SystemTime};

/// What a token's holder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Takes part in a session.
    Participant,
    /// Runs workers: an application server.
    App,
    /// Reads status and topology.
    Monitor,
    /// Borrows workers for its own sessions: a media pod of the cluster.
    Pod,
    /// Everything, for the cluster's operator.
    Operator,
}

/// What the holder may have at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Limits {
    /// Workers at once; the pod's own limit when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workers: Option<usize>,
}

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The cluster it is for.
    pub aud: String,
    /// Whose it is: limits count by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sub: Option<String>,
    /// What the holder is.
    pub role: Role,
    /// The session it is for, `*` for all.
    pub session: String,
    /// What the holder may have.
    #[serde(default)]
    pub limits: Limits,
    /// When it ends, in seconds since 1970.
    pub exp: u64,
}

/// Why a token is no good, for the pod's own log: a client is not told.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// None was shown.
    #[error("no token")]
    Absent,
    /// It is not signed by our key, or is too old, or for another cluster.
    #[error("{0}")]
    Invalid(#[from] jsonwebtoken::errors::Error),
}

/// A key that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("not an Ed25519 key in PEM: {0}")]
pub struct KeyError(String);

/// Checks tokens of one cluster.
#[derive(Clone)]
pub struct Verifier {
    key: DecodingKey,
    validation: Validation,
    /// As `validation`, whatever the token's end.
    once: Validation,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Verifier").finish_non_exhaustive()
    }
}

impl Verifier {
    /// Takes the public key (SPKI in PEM, as `mafalda keygen` writes it) of `cluster`'s tokens.
    pub fn new(public_key: &[u8], cluster: &str) -> Result<Self, KeyError> {
        let key =
            DecodingKey::from_ed_pem(public_key).map_err(|error| KeyError(error.to_string()))?;
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_audience(&[cluster]);
        validation.set_required_spec_claims(&["exp", "aud"]);
        validation.leeway = 5;
        let mut once = validation.clone();
        once.validate_exp = false;
        Ok(Self {
            key,
            validation,
            once,
        })
    }

    /// What the token says, if it is a good one.
    pub fn verify(&self, token: Option<&str>) -> Result<Claims, TokenError> {
        let token = token.ok_or(TokenError::Absent)?;
        Ok(decode(token, &self.key, &self.validation)?.claims)
    }

    /// What the token says, if it is or once was a good one.
    pub fn verify_once(&self, token: Option<&str>) -> Result<Claims, TokenError> {
        let token = token.ok_or(TokenError::Absent)?;
        Ok(decode(token, &self.key, &self.once)?.claims)
    }
}

/// Signs a token with a private key (PKCS#8 in PEM).
pub fn sign(private_key: &[u8], claims: &Claims) -> Result<String, KeyError> {
    let wrong = |error: jsonwebtoken::errors::Error| KeyError(error.to_string());
    let key = EncodingKey::from_ed_pem(private_key).map_err(wrong)?;
    encode(&Header::new(Algorithm::EdDSA), claims, &key).map_err(wrong)
}

/// The moment `ttl` from now as a token has it, in seconds since 1970.
pub fn expiry(ttl: Duration) -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.unwrap_or_default().saturating_add(ttl).as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims() -> Claims {
        Claims {
            aud: "here".into(),
            sub: None,
            role: Role::App,
            session: "*".into(),
            limits: Limits { workers: Some(3) },
            exp: expiry(Duration::from_secs(60)),
        }
    }

    #[test]
    fn a_token_says_what_was_signed() {
        let keys = generate_keys().unwrap();
        let token = sign(keys.private.as_bytes(), &claims()).unwrap();
        let verifier = Verifier::new(keys.public.as_bytes(), "here").unwrap();
        assert_eq!(verifier.verify(Some(&token)).unwrap(), claims());
    }

    #[test]
    fn other_keys_clusters_and_times_are_refused() {
        let (keys, others) = (generate_keys().unwrap(), generate_keys().unwrap());
        let verifier = Verifier::new(keys.public.as_bytes(), "here").unwrap();
        let old = Claims {
            exp: expiry(Duration::ZERO) - 60,
            ..claims()
        };
        let elsewhere = Claims {
            aud: "there".into(),
            ..claims()
        };
        for (key, claims) in [(&others, claims()), (&keys, old), (&keys, elsewhere)] {
            let token = sign(key.private.as_bytes(), &claims).unwrap();
            assert!(verifier.verify(Some(&token)).is_err(), "{claims:?}");
        }
        assert!(verifier.verify(None).is_err());
        assert!(verifier.verify(Some("garbage")).is_err());
    }

    #[test]
    fn an_old_token_once_was_a_good_one_and_others_were_not() {
        let (keys, others) = (generate_keys().unwrap(), generate_keys().unwrap());
        let verifier = Verifier::new(keys.public.as_bytes(), "here").unwrap();
        let old = Claims {
            exp: expiry(Duration::ZERO) - 60,
            ..claims()
        };
        let elsewhere = Claims {
            aud: "there".into(),
            ..old.clone()
        };
        let once = |key: &Keys, claims: &Claims| {
            let token = sign(key.private.as_bytes(), claims).unwrap();
            verifier.verify_once(Some(&token)).is_ok()
        };
        assert!(once(&keys, &old));
        assert!(!once(&others, &old));
        assert!(!once(&keys, &elsewhere));
        assert!(verifier.verify_once(None).is_err());
    }

    #[test]
    fn a_token_signed_with_the_public_key_as_a_password_is_refused() {
        let keys = generate_keys().unwrap();
        let verifier = Verifier::new(keys.public.as_bytes(), "here").unwrap();
        let secret = EncodingKey::from_secret(keys.public.as_bytes());
        let token = encode(&Header::new(Algorithm::HS256), &claims(), &secret).unwrap();
        assert!(verifier.verify(Some(&token)).is_err());
    }
}
