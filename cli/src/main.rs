//! `mafalda`: runs a media pod or a cluster's gateway, makes keys and tokens.

mod cluster;
mod drain;
mod keys;
mod serve;

use clap::{Parser, Subcommand};

/// A mediasoup worker as big as your cluster.
#[derive(Parser)]
#[command(name = "mafalda", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a media pod: mediasoup workers for applications that run elsewhere.
    Serve(Box<serve::Arguments>),
    /// Run a gateway: one endpoint for many media pods.
    Cluster(Box<cluster::Arguments>),
    /// Let a media pod on this machine take nothing new, and wait until nobody uses it.
    Drain(drain::Arguments),
    /// Make a pair of keys: one signs tokens, the pods hold the other.
    Keygen(keys::KeygenArguments),
    /// Sign a token that lets an application use a cluster's pods.
    Token(keys::TokenArguments),
}

fn main() {
    let result = match Cli::parse().command {
        Command::Serve(arguments) => serve::run(*arguments),
        Command::Cluster(arguments) => cluster::run(*arguments),
        Command::Drain(arguments) => drain::run(&arguments),
        Command::Keygen(arguments) => keys::keygen(&arguments),
        Command::Token(arguments) => keys::token(&arguments),
    };
    if let Err(error) = result {
        eprintln!("mafalda: {error}");
        std::process::exit(1);
    }
}
