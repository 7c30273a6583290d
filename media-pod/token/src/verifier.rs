//! Checking tokens.

use crate::key_file::KeyFile;
use crate::{Claims, KeyError, TokenError};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// Checks tokens of one cluster.
#[derive(Clone)]
pub struct Verifier {
    keys: Keys,
    validation: Validation,
    /// As `validation`, whatever the token's end.
    once: Validation,
}

#[derive(Clone)]
enum Keys {
    Fixed(Arc<[DecodingKey]>),
    File(Arc<KeyFile>),
}

impl fmt::Debug for Verifier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Verifier").finish_non_exhaustive()
    }
}

impl Verifier {
    /// Takes the public keys (SPKI in PEM, as `mafalda keygen` writes one) of `cluster`'s tokens: what
    /// one of them signed is good.
    ///
    /// # Errors
    /// When there is none, or one that is not Ed25519.
    pub fn new(public_keys: &[u8], cluster: &str) -> Result<Self, KeyError> {
        Ok(Self::of(Keys::Fixed(read(public_keys)?), cluster))
    }

    /// As [`Verifier::new`], with the keys of a file that is read again when it changes.
    ///
    /// # Errors
    /// As [`Verifier::new`], and when the file cannot be read. Later, what cannot be read leaves the
    /// keys as they were.
    pub fn of_file(path: PathBuf, cluster: &str) -> Result<Self, KeyError> {
        Ok(Self::of(
            Keys::File(Arc::new(KeyFile::open(path)?)),
            cluster,
        ))
    }

    fn of(keys: Keys, cluster: &str) -> Self {
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_audience(&[cluster]);
        validation.set_required_spec_claims(&["exp", "aud"]);
        validation.leeway = 5;
        let mut once = validation.clone();
        once.validate_exp = false;
        Self {
            keys,
            validation,
            once,
        }
    }

    /// What the token says, if it is a good one.
    pub fn verify(&self, token: Option<&str>) -> Result<Claims, TokenError> {
        self.check(token, &self.validation)
    }

    /// What the token says, if it is or once was a good one.
    pub fn verify_once(&self, token: Option<&str>) -> Result<Claims, TokenError> {
        self.check(token, &self.once)
    }

    fn check(&self, token: Option<&str>, validation: &Validation) -> Result<Claims, TokenError> {
        let token = token.ok_or(TokenError::Absent)?;
        let keys = match &self.keys {
            Keys::Fixed(keys) => keys.clone(),
            Keys::File(file) => file.keys(),
        };
        let mut refused = ErrorKind::InvalidSignature.into();
        for key in &*keys {
            match decode(token, key, validation) {
                Ok(token) => return Ok(token.claims),
                // Another one may have signed it.
                Err(error) if matches!(error.kind(), ErrorKind::InvalidSignature) => {}
                Err(error) => refused = error,
            }
        }
        Err(TokenError::Invalid(refused))
    }
}

/// The public keys of a text in PEM, one after the other.
pub fn read(public_keys: &[u8]) -> Result<Arc<[DecodingKey]>, KeyError> {
    let blocks = pem::parse_many(public_keys).map_err(|error| KeyError(error.to_string()))?;
    let key = |block: &pem::Pem| {
        let text = pem::encode(block);
        DecodingKey::from_ed_pem(text.as_bytes()).map_err(|error| KeyError(error.to_string()))
    };
    match &blocks[..] {
        [] => Err(KeyError("there is none".to_owned())),
        blocks => blocks.iter().map(key).collect(),
    }
}
