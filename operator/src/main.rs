//! `mafalda-operator`: prints the custom resource definitions.

use clap::{Parser, Subcommand};
use mafalda_operator::crd;
use std::path::PathBuf;

/// Keeps Mafalda's media pods and sessions as their resources say.
#[derive(Parser)]
#[command(name = "mafalda-operator", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Print the custom resource definitions, or write each to a file.
    Crds {
        /// The folder for the files [default: print them].
        #[arg(long)]
        out: Option<PathBuf>,
    },
}

fn main() {
    let result = match Cli::parse().command {
        Command::Crds { out: None } => crd::print(&mut std::io::stdout().lock()),
        Command::Crds { out: Some(folder) } => crd::write(&folder),
    };
    if let Err(error) = result {
        eprintln!("mafalda-operator: {error}");
        std::process::exit(1);
    }
}
