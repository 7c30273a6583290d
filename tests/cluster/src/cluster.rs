//! Starting a cluster and reaching it.

use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde::Deserialize;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Why there is no cluster, or why it did not do as it was told.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The script is not to be run.
    #[error("{script}: {error}")]
    Start {
        /// Its path.
        script: String,
        /// What the system said.
        error: std::io::Error,
    },
    /// A verb failed.
    #[error("cluster {verb}: {said}")]
    Verb {
        /// With its arguments.
        verb: String,
        /// What it printed as errors.
        said: String,
    },
    /// What `cluster info` printed is not that.
    #[error("cluster info: {0}")]
    Info(serde_json::Error),
    /// The cluster's kubeconfig cannot be used.
    #[error("kubeconfig: {0}")]
    Kubeconfig(#[from] KubeconfigError),
    /// No client of kube can be made.
    #[error("client: {0}")]
    Client(#[from] kube::Error),
    /// The network namespace cannot be entered: that takes root.
    #[error("network namespace {}: {error}", path.display())]
    Namespace {
        /// Its file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
}

/// A cluster that runs.
pub struct Cluster {
    name: String,
    kubeconfig: PathBuf,
    /// From where the API server is reached; `None`: from anywhere.
    namespace: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Info {
    kubeconfig: PathBuf,
    network_namespace: PathBuf,
}

impl Cluster {
    /// Starts a cluster with so many nodes beside its control plane. It goes down by itself when
    /// this process ends, however it does. Where `MAFALDA_CLUSTER` names a cluster, that one is
    /// used, started when it is not running, and left running.
    ///
    /// # Errors
    /// When the script says so: there is no root, no build, no room.
    pub fn start(nodes: u32) -> Result<Self, Error> {
        let id = std::process::id().to_string();
        let mut up = vec!["up".to_owned(), nodes.to_string()];
        let name = std::env::var("MAFALDA_CLUSTER").unwrap_or_else(|_| {
            up.extend(["--while".to_owned(), id.clone()]);
            format!("e2e{id}")
        });
        let up: Vec<&str> = up.iter().map(String::as_str).collect();
        script(&name, &up)?;
        let info: Info = serde_json::from_str(&script(&name, &["info"])?).map_err(Error::Info)?;
        let namespace = info.network_namespace;
        Ok(Self {
            name,
            kubeconfig: info.kubeconfig,
            namespace: Some(namespace).filter(|path| !path.as_os_str().is_empty()),
        })
    }

    /// What `MAFALDA_CLUSTER` is for it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that lets its owner in as cluster-admin.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// A verb of `tests/cluster/cluster`, for example `["kill-node", "n1"]`: what it printed.
    ///
    /// # Errors
    /// When it failed; what it printed about that is in the error.
    pub fn script(&self, verb: &[&str]) -> Result<String, Error> {
        script(&self.name, verb)
    }

    /// kubectl as cluster-admin: what it printed.
    ///
    /// # Errors
    /// As [`Cluster::script`].
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String, Error> {
        self.script(&[&["kubectl"], arguments].concat())
    }

    /// Runs a test with a client that is cluster-admin, on a thread that is where the API server
    /// is reached from, and the nodes and pods too.
    ///
    /// # Errors
    /// When the client cannot be made.
    ///
    /// # Panics
    /// When the test does.
    pub fn run<T: Send>(&self, test: impl AsyncFnOnce(Client) -> T + Send) -> Result<T, Error> {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| self.run_here(test));
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    fn run_here<T>(&self, test: impl AsyncFnOnce(Client) -> T) -> Result<T, Error> {
        if let Some(path) = &self.namespace {
            enter(path).map_err(|error| Error::Namespace {
                path: path.clone(),
                error,
            })?;
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a thread has no runtime yet, and this process has file descriptors");
        runtime.block_on(async { Ok(test(Client::try_from(self.config().await?)?).await) })
    }

    async fn config(&self) -> Result<Config, Error> {
        let kubeconfig = Kubeconfig::read_from(&self.kubeconfig)?;
        let options = KubeConfigOptions::default();
        Ok(Config::from_custom_kubeconfig(kubeconfig, &options).await?)
    }

    /// A client that is told each refusal at once: others ask again for minutes after a 429, which an
    /// eviction that a PodDisruptionBudget forbids has too.
    ///
    /// # Errors
    /// When it cannot be made.
    pub async fn impatient(&self) -> Result<Client, Error> {
        let mut config = self.config().await?;
        config.default_retry = false;
        Ok(Client::try_from(config)?)
    }
}

/// Moves this thread, and the sockets that it will open, into a network namespace.
fn enter(namespace: &Path) -> std::io::Result<()> {
    let file = File::open(namespace)?;
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
    Ok(())
}

fn script(cluster: &str, verb: &[&str]) -> Result<String, Error> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/cluster");
    let output = Command::new(script)
        .args(verb)
        .env("MAFALDA_CLUSTER", cluster)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Error::Start {
            script: script.to_owned(),
            error,
        })?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(Error::Verb {
            verb: verb.join(" "),
            said: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        })
    }
}
