//! `mafalda-worker --check`: what is wrong with the settings, for people.

use super::pods::Pods;
use super::settings::settings;
use mafalda_link::client::{ConnectError, Target, url_from_env};
use mafalda_link::{MEDIASOUP_NPM, Packet, SinkExt, Start};
use mafalda_media_pod::Peer;
use std::time::Instant;
use url::Url;

/// Opens a connection as an application would, to each pod if it names several; prints how that went and
/// closes it.
pub fn run() {
    let version = std::env::var("MEDIASOUP_VERSION").unwrap_or_else(|_| MEDIASOUP_NPM.to_owned());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(check(version)),
        Err(error) => Err(ConnectError::Setting(error.to_string())),
    };
    let well = result.unwrap_or_else(|error| {
        eprintln!("mafalda-worker: {error}");
        false
    });
    if !well {
        std::process::exit(super::EXIT_NO_POD);
    }
}

/// Whether all is well.
async fn check(version: String) -> Result<bool, ConnectError> {
    let text = url_from_env()?;
    match Pods::default()
        .first(&text, &version, super::said())
        .await?
    {
        Some(pods) => check_pods(&pods, &version).await,
        None => {
            let target = Target::from_env(version)?;
            println!("{}", ask(&target, &target.url, "gives a worker").await?);
            Ok(true)
        }
    }
}

async fn check_pods(pods: &[Peer], version: &str) -> Result<bool, ConnectError> {
    let setting = |error: &dyn std::error::Error| ConnectError::Setting(error.to_string());
    settings(&|variable| std::env::var(variable).ok()).map_err(|error| setting(&error))?;
    let mut well = true;
    for pod in pods {
        let mut target = Target::from_env_of(&pod.url, version.to_owned())?;
        let pod = target.url.clone();
        target.url.set_path("/v1/members");
        match ask(&target, &pod, "lends workers").await {
            Ok(answer) => println!("{answer}"),
            Err(error) => {
                eprintln!("mafalda-worker: {error}");
                well = false;
            }
        }
    }
    Ok(well)
}

/// Connects, and says how that went and what it `does`, by the URL that people know it by.
async fn ask(target: &Target, known_as: &Url, does: &str) -> Result<String, ConnectError> {
    let begin = Instant::now();
    let start = Start {
        pid: std::process::id(),
        args: Vec::new(),
        files: Default::default(),
        hand_over: false,
    };
    let (mut socket, welcome, _) = target.connect(start).await?;
    let answer = format!(
        "ok: {} {does} of mediasoup {} in {} ms (grace {} s, window {} bytes)",
        known_as,
        target.mediasoup,
        begin.elapsed().as_millis(),
        welcome.grace_seconds,
        welcome.window
    );
    let _ = socket.send(Packet::close_final("only a check")).await;
    Ok(answer)
}
