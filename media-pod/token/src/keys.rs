//! Pairs of keys.

use crate::KeyError;
use pem::{EncodeConfig, LineEnding, Pem};
use ring::signature::{Ed25519KeyPair, KeyPair};
use std::fmt;

/// A new pair of keys in PEM.
pub struct Keys {
    /// PKCS#8: signs tokens, stays secret.
    pub private: String,
    /// SPKI: checks tokens.
    pub public: String,
}

/// What stands before an Ed25519 public key in SPKI (RFC 8410, section 4).
const SPKI: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

/// Makes a pair of keys.
pub fn generate_keys() -> Result<Keys, KeyError> {
    let wrong = |error: &dyn fmt::Display| KeyError(error.to_string());
    let random = ring::rand::SystemRandom::new();
    let document = Ed25519KeyPair::generate_pkcs8(&random).map_err(|error| wrong(&error))?;
    let pair = Ed25519KeyPair::from_pkcs8(document.as_ref()).map_err(|error| wrong(&error))?;
    let public = [&SPKI[..], pair.public_key().as_ref()].concat();
    Ok(Keys {
        private: encode("PRIVATE KEY", document.as_ref()),
        public: encode("PUBLIC KEY", &public),
    })
}

/// With the line ends of everything else here, so that what was written reads as the same text.
fn encode(tag: &str, contents: &[u8]) -> String {
    let lines = EncodeConfig::new().set_line_ending(LineEnding::LF);
    pem::encode_config(&Pem::new(tag, contents), lines)
}
