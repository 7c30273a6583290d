//! Who may ask for what. The pod checks again: the gateway keeps those away that no pod would let in.

use crate::refusal::refusal;
use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use mafalda_link::RefusalBody;
use mafalda_media_pod::auth::bearer;
use mafalda_token::{Role, Verifier};

/// What a request needs.
pub struct Needs<'a> {
    /// One of these roles.
    pub roles: &'a [Role],
    /// A token for this session, or for all; `None`: for all.
    pub session: Option<&'a str>,
    /// A token that once was a good one: its end is none of running calls, and the pod wants the
    /// connection's secret too. What it is for counts as ever.
    pub resumes: bool,
}

/// Roles that may read what the gateway knows.
pub const READERS: &[Role] = &[Role::Monitor, Role::App, Role::Operator];
/// Roles that may have workers.
pub const APPLICATIONS: &[Role] = &[Role::App, Role::Operator];
/// Roles that may make and end sessions.
pub const WRITERS: &[Role] = &[Role::Operator];
/// Everybody who has a token; the pod says more.
pub const ANYBODY: &[Role] = &[Role::Participant, Role::Monitor, Role::App, Role::Operator];

/// Checks a request's token. The client learns that it may not, and nothing about why.
pub fn allow(
    verifier: Option<&Verifier>,
    headers: &HeaderMap,
    needs: &Needs<'_>,
) -> Result<(), RefusalBody> {
    let Some(verifier) = verifier else {
        return Ok(());
    };
    let token = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(bearer);
    let claims = match needs.resumes {
        false => verifier.verify(token),
        true => verifier.verify_once(token),
    };
    let claims = claims.map_err(|error| {
        tracing::info!(%error, "refused: token");
        refusal("unauthorized", "a valid token is needed (MAFALDA_TOKEN)")
    })?;
    let of_session = claims.session == "*" || Some(&*claims.session) == needs.session;
    match needs.roles.contains(&claims.role) && of_session {
        true => Ok(()),
        false => {
            tracing::info!(role = ?claims.role, session = claims.session, "refused: role or session");
            Err(refusal("forbidden", "this token does not allow that"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mafalda_token::{Claims, Limits, expiry, generate_keys, sign};
    use std::time::Duration;

    #[test]
    fn a_token_opens_what_it_is_for() {
        let keys = generate_keys().unwrap();
        let verifier = Verifier::new(keys.public.as_bytes(), "c").unwrap();
        let ask = |role, session: &str, life: i64, needs: Needs<'_>| {
            let claims = Claims {
                aud: "c".to_owned(),
                sub: None,
                role,
                session: session.to_owned(),
                limits: Limits::default(),
                exp: expiry(Duration::ZERO).saturating_add_signed(life),
            };
            let token = sign(keys.private.as_bytes(), &claims).unwrap();
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
            allow(Some(&verifier), &headers, &needs).map_err(|error| error.code)
        };
        let needs = |roles, session, resumes| Needs {
            roles,
            session,
            resumes,
        };
        let forbidden = Err("forbidden".to_owned());
        let worker = || needs(APPLICATIONS, None, false);
        let resumed = || needs(APPLICATIONS, None, true);
        assert_eq!(ask(Role::App, "*", 60, worker()), Ok(()));
        assert_eq!(ask(Role::Monitor, "*", 60, worker()), forbidden);
        assert_eq!(ask(Role::App, "s", 60, worker()), forbidden);
        assert_eq!(ask(Role::App, "s", 60, resumed()), forbidden);
        let s = || needs(ANYBODY, Some("s"), false);
        assert_eq!(ask(Role::Participant, "s", 60, s()), Ok(()));
        assert_eq!(ask(Role::Participant, "t", 60, s()), forbidden);
        // Who says that it resumes is let in to its own session alone.
        let s_resumed = || needs(APPLICATIONS, Some("s"), true);
        for life in [60, -60] {
            assert_eq!(ask(Role::App, "s", life, s_resumed()), Ok(()));
            assert_eq!(ask(Role::App, "*", life, s_resumed()), Ok(()));
            assert_eq!(ask(Role::App, "t", life, s_resumed()), forbidden);
        }
        let old = ask(Role::App, "*", -60, worker());
        assert_eq!(old, Err("unauthorized".to_owned()));
        assert_eq!(ask(Role::App, "*", -60, resumed()), Ok(()));
        let nothing = allow(Some(&verifier), &HeaderMap::new(), &worker());
        assert_eq!(nothing.unwrap_err().code, "unauthorized");
        assert!(allow(None, &HeaderMap::new(), &worker()).is_ok());
    }
}
