//! Who may ask for what.

use crate::auth::{Claims, Role, TokenError, Verifier};
use crate::pod::{Pod, refusal};
use mafalda_link::RefusalBody;
use warp::http::{HeaderMap, header};

/// Checks a request's token; `None` when the pod asks for none.
///
/// The client learns that it may not, and nothing about why: the reason is in the pod's log.
pub fn allow(
    pod: &Pod,
    headers: &HeaderMap,
    roles: &[Role],
) -> Result<Option<Claims>, RefusalBody> {
    check(pod, headers, roles, Verifier::verify)
}

/// As [`allow`], for who was let in before: the token may have ended since.
pub fn allow_again(pod: &Pod, headers: &HeaderMap, roles: &[Role]) -> Result<(), RefusalBody> {
    check(pod, headers, roles, Verifier::verify_once).map(drop)
}

fn check(
    pod: &Pod,
    headers: &HeaderMap,
    roles: &[Role],
    verify: fn(&Verifier, Option<&str>) -> Result<Claims, TokenError>,
) -> Result<Option<Claims>, RefusalBody> {
    let Some(verifier) = &pod.config().verifier else {
        return Ok(None);
    };
    let token = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "));
    let claims = verify(verifier, token).map_err(|error| {
        tracing::info!(%error, "refused: token");
        refusal("unauthorized", "a valid token is needed (MAFALDA_TOKEN)")
    })?;
    if !roles.contains(&claims.role) {
        tracing::info!(role = ?claims.role, "refused: role");
        return Err(refusal("forbidden", "this token does not allow that"));
    }
    Ok(Some(claims))
}
