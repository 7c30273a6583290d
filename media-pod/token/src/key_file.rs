//! Public keys in a file that somebody replaces while we run.

use crate::{KeyError, verifier};
use jsonwebtoken::DecodingKey;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// How often the file is looked at, at most.
const OFTEN: Duration = Duration::from_secs(1);

/// The keys of a file, read again when it changes.
pub struct KeyFile {
    path: PathBuf,
    last: Mutex<Last>,
}

/// What was read last.
struct Last {
    keys: Arc<[DecodingKey]>,
    modified: Option<SystemTime>,
    looked: Instant,
}

impl KeyFile {
    /// Reads it.
    ///
    /// # Errors
    /// When it cannot be read, or has no key.
    pub fn open(path: PathBuf) -> Result<Self, KeyError> {
        let last = Last {
            modified: modified(&path),
            keys: read(&path)?,
            looked: Instant::now(),
        };
        Ok(Self {
            path,
            last: Mutex::new(last),
        })
    }

    /// Its keys; those of before when it cannot be read any more.
    pub fn keys(&self) -> Arc<[DecodingKey]> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.looked.elapsed() >= OFTEN {
            last.looked = Instant::now();
            self.read_again(&mut last);
        }
        last.keys.clone()
    }

    fn read_again(&self, last: &mut Last) {
        let modified = modified(&self.path);
        if modified == last.modified {
            return;
        }
        match read(&self.path) {
            Ok(keys) => {
                tracing::info!(keys = keys.len(), "the keys of tokens were renewed");
                last.keys = keys;
                last.modified = modified;
            }
            Err(error) => tracing::warn!(%error, "the keys of tokens were not renewed"),
        }
    }
}

fn read(path: &Path) -> Result<Arc<[DecodingKey]>, KeyError> {
    let text = std::fs::read(path).map_err(|error| KeyError(error.to_string()))?;
    verifier::read(&text)
}

fn modified(path: &Path) -> Option<SystemTime> {
    path.metadata().and_then(|file| file.modified()).ok()
}
