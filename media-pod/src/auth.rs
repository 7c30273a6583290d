//! Who may do what: tokens are a crate of their own, as the operator signs some too.

pub use mafalda_token::{Claims, KeyError, Limits, Role, TokenError, Verifier, expiry};
