//! Who may do what: signed tokens (JWT, EdDSA). A pod holds the public key alone; the operator and
//! `mafalda token` sign.

mod key_file;
mod keys;
mod verifier;

pub use keys::{Keys, generate_keys};
pub use verifier::Verifier;

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde::{Deserialize, Serialize};
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
        assert!(!format!("{}{}", keys.private, keys.public).contains('\r'));
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

    /// Protects a change of keys: while it lasts, what either of them signed is good.
    #[test]
    fn each_of_several_keys_is_good() {
        let (one, two, others) = (
            generate_keys().unwrap(),
            generate_keys().unwrap(),
            generate_keys().unwrap(),
        );
        let both = [one.public.as_str(), two.public.as_str()].concat();
        let verifier = Verifier::new(both.as_bytes(), "here").unwrap();
        let token = |keys: &Keys| sign(keys.private.as_bytes(), &claims()).unwrap();
        for keys in [&one, &two] {
            assert_eq!(verifier.verify(Some(&token(keys))).unwrap(), claims());
        }
        assert!(verifier.verify(Some(&token(&others))).is_err());
        assert!(Verifier::new(b"", "here").is_err());
    }

    /// Protects who waits for a new key to be known: a pod that runs reads it, and what is not
    /// readable leaves the last.
    #[test]
    fn a_key_file_that_changes_is_read_again() {
        let (one, two) = (generate_keys().unwrap(), generate_keys().unwrap());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("public.pem");
        std::fs::write(&path, &one.public).unwrap();
        let verifier = Verifier::of_file(path.clone(), "here").unwrap();
        let is_good = |keys: &Keys| {
            let token = sign(keys.private.as_bytes(), &claims()).unwrap();
            verifier.verify(Some(&token)).is_ok()
        };
        assert!(is_good(&one) && !is_good(&two));
        std::fs::write(&path, &two.public).unwrap();
        let begun = std::time::Instant::now();
        while !is_good(&two) {
            assert!(begun.elapsed() < Duration::from_secs(30));
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(!is_good(&one));
        std::fs::remove_file(&path).unwrap();
        let gone = std::time::Instant::now();
        while gone.elapsed() < Duration::from_secs(2) {
            assert!(is_good(&two));
            std::thread::sleep(Duration::from_millis(20));
        }
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
