//! What an application needs to work on a Session, as a container has it: the Session's Secret in
//! files, and the relay.

use crate::operator::programs;
use futures_util::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use mafalda_operator::names::{SESSION, access_secret};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use tempfile::TempDir;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// The files of a Session's Secret. They change with it, at once; the kubelet takes a minute.
pub struct Access {
    folder: TempDir,
    /// Instead of the file's.
    url: Option<String>,
    follower: Option<JoinHandle<()>>,
}

/// The files of the Secrets of all Sessions of a namespace, each in a folder of its Session's name.
pub struct AllAccess {
    folder: TempDir,
    follower: JoinHandle<()>,
}

impl Access {
    /// Waits until the Session has its Secret, in a thread of [`crate::Cluster::run`].
    ///
    /// # Panics
    /// When no file can be written.
    pub async fn to(client: &Client, namespace: &str, session: &str) -> Self {
        let folder = tempfile::tempdir().expect("the temporary folder can be written to");
        let config =
            watcher::Config::default().fields(&format!("metadata.name={}", access_secret(session)));
        let path = folder.path().to_owned();
        let written = Arc::new(Notify::new());
        let follower = follow(client, namespace, config, {
            let written = Arc::clone(&written);
            move |secret| {
                write(&path, secret);
                written.notify_one();
            }
        });
        written.notified().await;
        Self {
            folder,
            url: None,
            follower: Some(follower),
        }
    }

    /// The same, to a URL that stays the same: a gateway's.
    #[must_use]
    pub fn by(mut self, url: &str) -> Self {
        self.url = Some(url.to_owned());
        self
    }

    /// With this token, and trust in these authorities (PEM).
    ///
    /// # Panics
    /// When no file can be written.
    pub fn with(url: &str, token: &str, authorities: &str) -> Self {
        let folder = tempfile::tempdir().expect("the temporary folder can be written to");
        for (file, text) in [("token", token), ("ca.crt", authorities)] {
            let written = std::fs::write(folder.path().join(file), text);
            written.expect("the temporary folder can be written to");
        }
        Self {
            folder,
            url: Some(url.to_owned()),
            follower: None,
        }
    }

    /// A Node.js program of `tests/cluster/media` whose mediasoup worker is the relay, on the Session.
    pub fn node(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = node(program, arguments);
        let folder = self.folder.path();
        command
            .env("MAFALDA_TOKEN_FILE", folder.join("token"))
            .env("MAFALDA_CA", folder.join("ca.crt"));
        match &self.url {
            Some(url) => command.env("MAFALDA_URL", url),
            None => command.env("MAFALDA_URL_FILE", folder.join("url")),
        };
        command
    }
}

impl AllAccess {
    /// Follows the Secrets, in a thread of [`crate::Cluster::run`].
    ///
    /// # Panics
    /// When no file can be written.
    pub fn of(client: &Client, namespace: &str) -> Self {
        let folder = tempfile::tempdir().expect("the temporary folder can be written to");
        let config = watcher::Config::default().labels(SESSION);
        let path = folder.path().to_owned();
        let follower = follow(client, namespace, config, move |secret| {
            let session = secret.metadata.labels.as_ref();
            let session = session.and_then(|labels| labels.get(SESSION));
            let own = path.join(session.expect("those with that label were asked for"));
            std::fs::create_dir_all(&own).expect("the folder is there until this ends");
            write(&own, secret);
        });
        Self { folder, follower }
    }

    /// Where they are.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Access {
    fn drop(&mut self) {
        if let Some(follower) = &self.follower {
            follower.abort();
        }
    }
}

impl Drop for AllAccess {
    fn drop(&mut self) {
        self.follower.abort();
    }
}

/// A Node.js program of `tests/cluster/media` whose mediasoup worker is the relay.
pub fn node(program: &str, arguments: &[&str]) -> Command {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/media"));
    let mut command = Command::new("node");
    command
        .arg(folder.join(program))
        .args(arguments)
        .env("MEDIASOUP_WORKER_BIN", programs().join("mafalda-worker"))
        .stdin(Stdio::null());
    command
}

/// Calls back with each Secret that is there, and again when it changes.
fn follow(
    client: &Client,
    namespace: &str,
    config: watcher::Config,
    mut on_secret: impl FnMut(Secret) + Send + 'static,
) -> JoinHandle<()> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let changes = watcher(secrets, config).default_backoff().applied_objects();
    let mut changes = changes
        .inspect_err(|error| eprintln!("the watch of a Secret goes on after: {error}"))
        .boxed();
    tokio::spawn(async move {
        while let Some(change) = changes.next().await {
            if let Ok(secret) = change {
                on_secret(secret);
            }
        }
    })
}

/// No reader sees half of a file, as with the kubelet.
fn write(folder: &Path, secret: Secret) {
    for (key, value) in secret.data.unwrap_or_default() {
        let (new, file) = (folder.join(".new"), folder.join(key));
        std::fs::write(&new, value.0).expect("the folder is there until this ends");
        std::fs::rename(new, file).expect("the folder is there until this ends");
    }
}
