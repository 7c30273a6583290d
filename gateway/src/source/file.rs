//! Nodes from a file: one URL a line.

use crate::gateway::Gateway;
use crate::nodes::{Address, AddressError};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::sleep;

/// How often it is looked at.
const OFTEN: Duration = Duration::from_secs(1);

/// A list that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("{path}: {error}")]
    Io {
        /// Which.
        path: String,
        /// Why.
        error: std::io::Error,
    },
    /// A line is no node.
    #[error("{path}, line {line}: {error}")]
    Line {
        /// Which file.
        path: String,
        /// Which line, from 1.
        line: usize,
        /// What is wrong with it.
        error: AddressError,
    },
}

/// Reads the file. Empty lines and those that begin with `#` say nothing.
///
/// # Errors
/// It cannot be read, or a line is no node.
pub fn read(path: &Path) -> Result<Vec<Address>, FileError> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| FileError::Io {
        path: name.clone(),
        error,
    })?;
    let lines = text.lines().map(str::trim).enumerate();
    lines
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(index, line)| {
            Address::parse(line).map_err(|error| FileError::Line {
                path: name.clone(),
                line: index + 1,
                error,
            })
        })
        .collect()
}

/// Reads the file again and again. One that cannot be used leaves the last list.
pub async fn file(gateway: Gateway, path: PathBuf) {
    let (mut last, mut told) = (None, String::new());
    loop {
        match read(&path) {
            Ok(nodes) => {
                if last.as_ref() != Some(&nodes) {
                    gateway.list(nodes.iter().cloned().map(Into::into).collect());
                    last = Some(nodes);
                }
                told.clear();
            }
            Err(error) => {
                let reason = error.to_string();
                if reason != told {
                    tracing::warn!(reason, "the nodes stay as they are");
                    told = reason;
                }
            }
        }
        sleep(OFTEN).await;
    }
}
