//! `mafalda-operator`: runs the operator, prints the custom resource definitions.

use clap::{Parser, Subcommand};
use mafalda_operator::{crd, run};
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
    /// Print the custom resource definitions, or write each to a file.
    Crds {
        /// The folder for the files [default: print them].
        #[arg(long)]
        out: Option<PathBuf>,
    },
}

fn main() {
    let result: Result<(), Box<dyn Error>> = match Cli::parse().command {
        Command::Run(settings) => operate(*settings),
        Command::Crds { out: None } => {
            crd::print(&mut std::io::stdout().lock()).map_err(Into::into)
        }
        Command::Crds { out: Some(folder) } => crd::write(&folder).map_err(Into::into),
    };
    if let Err(error) = result {
        eprintln!("mafalda-operator: {error}");
        std::process::exit(1);
    }
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
