//! Tells the homes of sessions which nodes lend to them, where no Kubernetes does. What is due is decided in
//! [`crate::grants`].

use crate::dial::AskError;
use crate::gateway::Gateway;
use crate::grants::{self, Change, Unused};
use crate::placing::wish;
use crate::report::Session;
use hyper::Method;
use mafalda_plan::PodName;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Looks after this long although there is no news: what is not used is so for longer and longer.
const OFTEN: Duration = Duration::from_secs(1);
/// News this close together are one.
const TOGETHER: Duration = Duration::from_millis(50);

/// Why a home was not told.
#[derive(Debug, thiserror::Error)]
enum LendError {
    /// It did not do it.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// It says something else than a session.
    #[error("its answer is not understood: {0}")]
    Answer(#[from] serde_json::Error),
}

/// Grants and takes back. Never returns.
pub async fn lend(gateway: Gateway) {
    let mut unused = Unused::default();
    // What was not done, for the log: once for each reason, not each second.
    let mut told: BTreeMap<String, String> = BTreeMap::new();
    let mut news = gateway.news();
    loop {
        news.mark_unchanged();
        // Who has just begun knows some of the nodes, and would choose among those.
        let due = match gateway.is_new() {
            true => Vec::new(),
            false => {
                let (state, now) = (gateway.state(), gateway.now());
                let watermark = gateway.config().policy.watermark;
                grants::due(&state.nodes, &mut unused, watermark, now)
            }
        };
        told.retain(|session, _| due.iter().any(|change| change.session == *session));
        let mut unwell: BTreeSet<PodName> = BTreeSet::new();
        for change in due {
            if unwell.contains(&change.home.pod) {
                continue;
            }
            if let Err(error) = carry_out(&gateway, &change).await {
                if matches!(error, LendError::Ask(AskError::Unreachable(_))) {
                    unwell.insert(change.home.pod.clone());
                }
                let reason = error.to_string();
                if told.get(&change.session) != Some(&reason) {
                    let (session, node) = (&change.session, &change.home.pod);
                    tracing::warn!(session, %node, reason, "its home was not told who lends to it");
                    told.insert(change.session, reason);
                }
            }
        }
        // An end of the gateway drops this.
        let _ = timeout(OFTEN, news.changed()).await;
        sleep(TOGETHER).await;
    }
}

/// Tells a home, unless another was faster.
async fn carry_out(gateway: &Gateway, change: &Change) -> Result<(), LendError> {
    let home = &change.home;
    let Some(address) = gateway.state().nodes.address(&home.pod) else {
        return Ok(());
    };
    let path = format!("/v1/sessions/{}", change.session);
    let dialer = gateway.dialer();
    let now = dialer.ask(&address, Method::GET, &path, None).await?;
    let now: Session = serde_json::from_slice(&now)?;
    if !is_due(change, &now) {
        // What it is now is on its way here.
        return Ok(());
    }
    let last = change.reasons.last();
    let reason = last.map_or("", |(_, reason)| reason.name());
    let body = wish(&now, home.generation, &change.pods, reason);
    let after = dialer
        .ask(&address, Method::PUT, &path, Some(&body))
        .await?;
    let after: Session = serde_json::from_slice(&after)?;
    gateway.state().nodes.begin_session(&home.pod, after);
    gateway.tell();
    for (node, reason) in &change.reasons {
        gateway.metrics().count_lending(reason.name());
        tracing::info!(
            session = change.session,
            home = %home.pod,
            %node,
            reason = reason.name(),
            "{reason}"
        );
    }
    Ok(())
}

/// Whether what was decided is still what the session, as it is now, needs.
fn is_due(change: &Change, now: &Session) -> bool {
    let lenders = now.pods.iter().map(|lender| &lender.name);
    now.generation == change.home.generation.0
        && lenders.eq(&change.before)
        && (now.wants_more || !change.grants)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Lender;
    use crate::sessions::Home;
    use mafalda_plan::Generation;

    /// Protects sessions from two gateways that decide at the same time.
    #[test]
    fn what_another_has_done_or_undone_is_not_due() {
        let change = Change {
            session: "s".to_owned(),
            home: Home {
                pod: "a".into(),
                generation: Generation(2),
            },
            before: vec!["b".to_owned()],
            pods: Vec::new(),
            grants: true,
            reasons: Vec::new(),
        };
        let lender = |name: &str| Lender {
            name: name.to_owned(),
            unused_since: None,
        };
        let now = Session {
            generation: 2,
            wants_more: true,
            pods: vec![lender("b")],
            ..Session::default()
        };
        assert!(is_due(&change, &now));
        for change_of in [
            |now: &mut Session| now.generation = 3,
            |now: &mut Session| now.wants_more = false,
            |now: &mut Session| now.pods.clear(),
            |now: &mut Session| now.pods.push(Lender::default()),
        ] {
            let mut other = now.clone();
            change_of(&mut other);
            assert!(!is_due(&change, &other), "{other:?}");
        }
    }
}
