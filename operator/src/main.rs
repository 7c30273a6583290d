//! `mafalda-operator`: runs the operator, asks how one is, prints or applies the custom resource
//! definitions.

use clap::{Parser, Subcommand};
use mafalda_operator::{check, crd, run};
use std::error::Error;
use std::path::PathBuf;
use tokio::signal::unix::{SignalKind, signal};

/// Keeps Mafalda's media pods and sessions as their resources say.
#[derive(Parser)]
#[command(name = "mafalda-operator", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the operator, in a pod or with a kubeconfig.
    Run(Box<run::Settings>),
    /// Ask whether an operator lives and is ready, and the API server for its resources: `helm test`.
    Check(check::Settings),
    /// Print the custom resource definitions, write each to a file, or apply them to a cluster.
    Crds {
        /// The folder for the files [default: print them].
        #[arg(long)]
        out: Option<PathBuf>,
        /// Apply them, in a pod or with a kubeconfig, and wait until they are served.
        #[arg(long, conflicts_with = "out")]
        apply: bool,
    },
}

fn main() {
    let result: Result<(), Box<dyn Error>> = match Cli::parse().command {
        Command::Run(settings) => operate(*settings),
        Command::Check(settings) => {
            wait_for(async { Ok(check::check(&settings, |line| println!("{line}")).await?) })
        }
        Command::Crds { apply: true, .. } => wait_for(apply()),
        Command::Crds { out: None, .. } => {
            crd::print(&mut std::io::stdout().lock()).map_err(Into::into)
        }
        Command::Crds {
            out: Some(folder), ..
        } => crd::write(&folder).map_err(Into::into),
    };
    if let Err(error) = result {
        eprintln!("mafalda-operator: {error}");
        std::process::exit(1);
    }
}

async fn apply() -> Result<(), Box<dyn Error>> {
    for (name, change) in crd::apply(&kube::Client::try_default().await?).await? {
        println!("customresourcedefinition/{name}: {change}");
    }
    Ok(())
}

/// Does what needs no second thread.
fn wait_for(work: impl Future<Output = Result<(), Box<dyn Error>>>) -> Result<(), Box<dyn Error>> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(work)
}

fn operate(settings: run::Settings) -> Result<(), Box<dyn Error>> {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .json()
        .flatten_event(true)
        .init();
    // Two threads: one plans, the other hears the pods.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let (mut terminate, mut interrupt) = (
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
        );
        let shutdown = async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        Ok(run::run(settings, shutdown).await?)
    })
}
