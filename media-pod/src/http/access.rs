//! Who may ask for what.

use crate::auth::{Claims, Role, TokenError, Verifier, bearer};
use crate::pod::{Pod, refusal};
use mafalda_link::RefusalBody;
use warp::http::{HeaderMap, header};

/// Checks a request's token; `None` when the pod asks for none. What is asked for is of `session`, or
/// (`None`) of all: a token for one session gives nothing else.
///
/// The client learns that it may not, and nothing about why: the reason is in the pod's log.
///
/// # Errors
/// `unauthorized`, `forbidden`.
pub fn allow(
    pod: &Pod,
    headers: &HeaderMap,
    roles: &[Role],
    session: Option<&str>,
) -> Result<Option<Claims>, RefusalBody> {
    let verifier = pod.config().verifier.as_ref();
    check(verifier, headers, roles, session, Verifier::verify)
}

/// As [`allow`], for who was let in before: the token may have ended since.
///
/// # Errors
/// As [`allow`].
pub fn allow_again(
    pod: &Pod,
    headers: &HeaderMap,
    roles: &[Role],
    session: Option<&str>,
) -> Result<(), RefusalBody> {
    let verifier = pod.config().verifier.as_ref();
    check(verifier, headers, roles, session, Verifier::verify_once).map(drop)
}

fn check(
    verifier: Option<&Verifier>,
    headers: &HeaderMap,
    roles: &[Role],
    session: Option<&str>,
    verify: fn(&Verifier, Option<&str>) -> Result<Claims, TokenError>,
) -> Result<Option<Claims>, RefusalBody> {
    let Some(verifier) = verifier else {
        return no_page(headers).map(|()| None);
    };
    let token = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(bearer);
    let claims = verify(verifier, token).map_err(|error| {
        tracing::info!(%error, "refused: token");
        refusal("unauthorized", "a valid token is needed (MAFALDA_TOKEN)")
    })?;
    let of_session = claims.session == "*" || Some(&*claims.session) == session;
    if !roles.contains(&claims.role) || !of_session {
        tracing::info!(role = ?claims.role, session = claims.session, "refused: role or session");
        return Err(refusal("forbidden", "this token does not allow that"));
    }
    Ok(Some(claims))
}

/// A pod without a key is for programs of its host. A page of a browser there, from wherever it came, is
/// none: browsers say where it is from (RFC 6454, section 7; RFC 6455, section 10.2).
fn no_page(headers: &HeaderMap) -> Result<(), RefusalBody> {
    match headers.contains_key(header::ORIGIN) {
        false => Ok(()),
        true => {
            tracing::info!("refused: a page in a browser");
            let reason = "a pod without --token-key answers no pages of browsers (Origin)";
            Err(refusal("forbidden", reason))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{Limits, expiry};
    use mafalda_token::{generate_keys, sign};
    use std::time::Duration;

    fn headers(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    /// Protects sessions from each other's tokens, whatever their role.
    #[test]
    fn a_token_opens_its_session_and_nothing_else() {
        let keys = generate_keys().unwrap();
        let verifier = Verifier::new(keys.public.as_bytes(), "c").unwrap();
        let ask = |role, session: &str, asked: Option<&str>, life: i64| {
            let claims = Claims {
                aud: "c".to_owned(),
                sub: None,
                role,
                session: session.to_owned(),
                limits: Limits::default(),
                exp: expiry(Duration::ZERO).saturating_add_signed(life),
            };
            let token = sign(keys.private.as_bytes(), &claims).unwrap();
            let headers = headers(header::AUTHORIZATION, &format!("bearer {token}"));
            let roles = &[Role::App, Role::Operator];
            let verify = match life > 0 {
                true => Verifier::verify,
                false => Verifier::verify_once,
            };
            let allowed = check(Some(&verifier), &headers, roles, asked, verify);
            allowed.map(drop).map_err(|error| error.code)
        };
        let forbidden = || Err("forbidden".to_owned());
        for life in [60, -60] {
            for role in [Role::App, Role::Operator] {
                assert_eq!(ask(role, "s", Some("s"), life), Ok(()));
                assert_eq!(ask(role, "s", Some("t"), life), forbidden());
                assert_eq!(ask(role, "s", None, life), forbidden());
                assert_eq!(ask(role, "*", Some("s"), life), Ok(()));
                assert_eq!(ask(role, "*", None, life), Ok(()));
            }
            assert_eq!(ask(Role::Monitor, "*", None, life), forbidden());
        }
        let none = check(
            Some(&verifier),
            &HeaderMap::new(),
            &[],
            None,
            Verifier::verify,
        );
        assert_eq!(none.unwrap_err().code, "unauthorized");
    }

    /// Protects a host where somebody reads a page that knows of Mafalda.
    #[test]
    fn without_a_key_no_page_is_let_in() {
        let ask = |headers| check(None, &headers, &[], None, Verifier::verify);
        assert_eq!(ask(HeaderMap::new()), Ok(None));
        for origin in ["https://example.com", "null", "http://127.0.0.1:4400"] {
            let refused = ask(headers(header::ORIGIN, origin)).unwrap_err();
            assert_eq!(refused.code, "forbidden");
        }
    }
}
