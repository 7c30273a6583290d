//! The next socket of a connection when the last one broke.

use super::{BACKOFF, CONNECT, Resumed, Target, home};
use crate::drive::{Attachment, Dial, DialError};
use crate::handshake::{Hello, Resume};
use crate::socket::Socket;
use futures_util::{FutureExt, future::BoxFuture};
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Opens a connection's next socket when the last one broke.
pub struct Reconnect {
    pub(super) target: Arc<Target>,
    pub(super) resumed: Resumed,
    pub(super) key: String,
    /// How long to wait before the next try.
    pub(super) pause: Duration,
}

/// Between half and one and a half of a pause: many come back at once when a gateway does.
fn about(pause: Duration) -> Duration {
    // Each is made with random keys.
    let random = RandomState::new().build_hasher().finish() >> 32;
    pause.mul_f64(0.5 + random as f64 / f64::from(u32::MAX))
}

impl Dial for Reconnect {
    type Candidate = Box<dyn Socket>;

    fn dial(
        &mut self,
        connected: bool,
    ) -> Option<BoxFuture<'static, Result<Self::Candidate, DialError>>> {
        if connected {
            return None;
        }
        let (target, resumed) = (self.target.clone(), self.resumed.clone());
        let pause = about(self.pause);
        self.pause = (self.pause * 2).clamp(BACKOFF.0, BACKOFF.1);
        let dial = async move {
            sleep(pause).await;
            if home::is_elsewhere(&target) {
                return Err(DialError::Refused("the session is in another pod".into()));
            }
            // The key of the first day's token may be gone by now.
            let target = home::with_token_of_now(&target);
            match timeout(CONNECT / 2, target.open(Some(&resumed))).await {
                Ok(result) => Ok(result?.socket),
                Err(_) => Err(target.unreachable("no answer").into()),
            }
        };
        Some(dial.boxed())
    }

    fn attach(
        &mut self,
        mut socket: Self::Candidate,
        received: u64,
    ) -> BoxFuture<'_, Result<Attachment, DialError>> {
        async move {
            let hello = Hello::Resume(Resume {
                key: self.key.clone(),
                received,
            });
            let welcome = self.target.handshake(&mut socket, &hello).await?;
            Ok(Attachment {
                socket,
                received: welcome.received,
            })
        }
        .boxed()
    }

    fn attached(&mut self) {
        self.pause = Duration::ZERO;
    }

    fn detached(&mut self, _reason: &str) {
        self.pause = BACKOFF.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn pauses_differ_and_stay_near() {
        let second = Duration::from_secs(1);
        let pauses: BTreeSet<_> = (0..100).map(|_| about(second)).collect();
        assert!(pauses.len() > 90, "{}", pauses.len());
        assert!(
            pauses
                .iter()
                .all(|pause| (second / 2..=second * 3 / 2).contains(pause))
        );
        assert_eq!(about(Duration::ZERO), Duration::ZERO);
    }
}
