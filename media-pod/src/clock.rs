//! The time that others read too.

use std::time::{Duration, SystemTime};

/// The time since 1970.
pub fn since_1970() -> Duration {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default()
}
