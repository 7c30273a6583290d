//! Who may do what: tokens are a crate of their own, as the operator signs some too.

pub use mafalda_token::{Claims, KeyError, Limits, Role, TokenError, Verifier, expiry};

/// The token in the value of an `Authorization` header. The scheme's case does not matter (RFC 9110,
/// section 11.1).
pub fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.trim_start().split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("Bearer")
        .then(|| token.trim_matches(' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_of_a_token_is_read_in_any_case() {
        for value in ["Bearer t.o.k", "bearer t.o.k", "BEARER  t.o.k "] {
            assert_eq!(bearer(value), Some("t.o.k"), "{value}");
        }
        for value in ["", "Bearer", "t.o.k", "Basic t.o.k", "Bearert.o.k"] {
            assert_eq!(bearer(value), None, "{value}");
        }
    }
}
