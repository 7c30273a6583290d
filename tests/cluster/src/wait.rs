//! Waiting for conditions, never for a time.

use std::time::{Duration, Instant};

/// Waits until it is so, and says how long that took.
///
/// # Panics
/// When it takes longer than `patience`.
pub async fn wait(
    patience: Duration,
    what: &str,
    mut condition: impl AsyncFnMut() -> bool,
) -> Duration {
    let started = Instant::now();
    while !condition().await {
        assert!(started.elapsed() < patience, "{what}: not in {patience:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    started.elapsed()
}
