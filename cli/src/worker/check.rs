//! `mafalda-worker --check`: what is wrong with the settings, for people.

use mafalda_link::client::{ConnectError, Target};
use mafalda_link::{MEDIASOUP_NPM, Packet, SinkExt, Start};
use std::time::Instant;

/// Opens a connection as an application would, prints how that went and closes it.
pub fn run() {
    let version = std::env::var("MEDIASOUP_VERSION").unwrap_or_else(|_| MEDIASOUP_NPM.to_owned());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(check(version)),
        Err(error) => Err(ConnectError::Setting(error.to_string())),
    };
    if let Err(error) = result {
        eprintln!("mafalda-worker: {error}");
        std::process::exit(super::EXIT_NO_POD);
    }
}

async fn check(version: String) -> Result<(), ConnectError> {
    let target = Target::from_env(version)?;
    let begin = Instant::now();
    let start = Start {
        pid: std::process::id(),
        args: Vec::new(),
        files: Default::default(),
        hand_over: false,
    };
    let (mut socket, welcome, _) = target.connect(start).await?;
    println!(
        "ok: {} gives a worker of mediasoup {} in {} ms (grace {} s, window {} bytes)",
        target.url,
        target.mediasoup,
        begin.elapsed().as_millis(),
        welcome.grace_seconds,
        welcome.window
    );
    let _ = socket.send(Packet::close_final("only a check")).await;
    Ok(())
}
