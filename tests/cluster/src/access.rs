//! What an application needs to work on a Session, as a container has it: the Session's Secret in
//! files, and the relay.

use crate::operator::programs;
use futures_util::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use mafalda_operator::names::access_secret;
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::TempDir;
use tokio::task::JoinHandle;

/// The files of a Session's Secret. They change with it, at once; the kubelet takes a minute.
pub struct Access {
    folder: TempDir,
    /// Instead of the file's.
    url: Option<String>,
    follower: Option<JoinHandle<()>>,
}

impl Access {
    /// Waits until the Session has its Secret, in a thread of [`crate::Cluster::run`].
    ///
    /// # Panics
    /// When no file can be written.
    pub async fn to(client: &Client, namespace: &str, session: &str) -> Self {
        let folder = tempfile::tempdir().expect("the temporary folder can be written to");
        let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
        let path = folder.path().to_owned();
        let follower = follow(secrets, &access_secret(session), &path).await;
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
        let mut command = Command::new("node");
        let folder = self.folder.path();
        command
            .arg(
                Path::new(env!("CARGO_MANIFEST_DIR"))
                    .join("media")
                    .join(program),
            )
            .args(arguments)
            .env("MEDIASOUP_WORKER_BIN", programs().join("mafalda-worker"))
            .env("MAFALDA_TOKEN_FILE", folder.join("token"))
            .env("MAFALDA_CA", folder.join("ca.crt"))
            .stdin(Stdio::null());
        match &self.url {
            Some(url) => command.env("MAFALDA_URL", url),
            None => command.env("MAFALDA_URL_FILE", folder.join("url")),
        };
        command
    }
}

impl Drop for Access {
    fn drop(&mut self) {
        if let Some(follower) = &self.follower {
            follower.abort();
        }
    }
}

/// Writes the Secret into the folder when it is there, and again when it changes.
async fn follow(secrets: Api<Secret>, name: &str, folder: &Path) -> JoinHandle<()> {
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let changes = watcher(secrets, config).default_backoff().applied_objects();
    let mut changes = changes
        .inspect_err(|error| eprintln!("the watch of a Secret goes on after: {error}"))
        .boxed();
    let folder = folder.to_owned();
    let (first, written) = tokio::sync::oneshot::channel();
    let mut first = Some(first);
    let task = tokio::spawn(async move {
        while let Some(change) = changes.next().await {
            let Ok(secret) = change else { continue };
            for (key, value) in secret.data.unwrap_or_default() {
                // No reader sees half of it, as with the kubelet.
                let (new, file) = (folder.join(".new"), folder.join(key));
                std::fs::write(&new, value.0).expect("the folder is there until this ends");
                std::fs::rename(new, file).expect("the folder is there until this ends");
            }
            if let Some(first) = first.take() {
                // Nobody waits any more when the test is over.
                let _ = first.send(());
            }
        }
    });
    written.await.expect("the watch goes on");
    task
}
