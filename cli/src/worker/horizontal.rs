//! Several pods in `MAFALDA_URL`: the relay runs the virtual worker itself, over the workers of all.

use super::channel::Descriptors;
use mafalda_link::client::{ConnectError, Target, start, url_from_env};
use mafalda_link::{Exit, Frame};
use mafalda_media_pod::horizontal::{self, Horizontal, HorizontalError};
use mafalda_media_pod::{Peer, PipeSettings};
use std::fmt::Display;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;
use tokio::net::lookup_host;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{interval, timeout};
use url::Url;

/// How often the file with the pods is read, or their host name looked up, again.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// How long a lookup may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The pods of `text`, URLs with commas or white space between; `None` if it is one pod. A host name
/// with several addresses of a family is so many pods.
///
/// # Errors
/// [`ConnectError::Setting`]: one of them is no URL of a pod, or several cannot be used so.
pub async fn pods(text: &str, mediasoup: &str) -> Result<Option<Vec<Peer>>, ConnectError> {
    let urls = all(text, mediasoup).await?;
    if urls.len() < 2 {
        return Ok(None);
    }
    for url in &urls {
        if url.path() != "/" {
            return Err(ConnectError::Setting(format!(
                "MAFALDA_URL names several pods, and {url} has a path: with several, each is \
                 ws://host:port or wss://host:port"
            )));
        }
    }
    if std::env::var("MAFALDA_MODE").is_ok_and(|mode| mode == "real") {
        return Err(ConnectError::Setting(
            "MAFALDA_MODE is \"real\", and MAFALDA_URL names several pods: a real worker is on one"
                .to_owned(),
        ));
    }
    Ok(Some(horizontal::peers(&urls)))
}

/// The URLs of all pods that `text` means.
async fn all(text: &str, mediasoup: &str) -> Result<Vec<Url>, ConnectError> {
    let urls = urls(text, mediasoup)?;
    Ok(match &urls[..] {
        [one] => addresses(one).await,
        _ => urls,
    })
}

fn urls(text: &str, mediasoup: &str) -> Result<Vec<Url>, ConnectError> {
    let words = text.split(|c: char| c == ',' || c.is_whitespace());
    let mut urls: Vec<Url> = Vec::new();
    for word in words.filter(|word| !word.is_empty()) {
        let url = Target::new(word, mediasoup.to_owned())?.url;
        if !urls.contains(&url) {
            urls.push(url);
        }
    }
    Ok(urls)
}

/// The URL for each address of its host; the URL itself if there is but one of each family.
async fn addresses(url: &Url) -> Vec<Url> {
    let one = || vec![url.clone()];
    let Some(url::Host::Domain(host)) = url.host() else {
        return one();
    };
    let port = url.port_or_known_default().unwrap_or(4400);
    let Ok(Ok(found)) = timeout(PATIENCE, lookup_host((host, port))).await else {
        return one();
    };
    several(url, found.collect()).unwrap_or_else(one)
}

/// Of both families the one that has more.
fn several(url: &Url, found: Vec<SocketAddr>) -> Option<Vec<Url>> {
    let (v4, v6): (Vec<_>, Vec<_>) = found.into_iter().partition(SocketAddr::is_ipv4);
    let mut ips: Vec<IpAddr> = match v6.len() > v4.len() {
        true => v6,
        false => v4,
    }
    .into_iter()
    .map(|address| address.ip())
    .collect();
    ips.sort_unstable();
    ips.dedup();
    let at = |ip: &IpAddr| {
        let mut url = url.clone();
        url.set_ip_host(*ip).ok().map(|()| url)
    };
    (ips.len() > 1).then(|| ips.iter().filter_map(at).collect())
}

/// Runs the virtual worker over these pods, and those that take their place.
///
/// # Errors
/// It could not begin.
pub async fn run(
    pods: Vec<Peer>,
    descriptors: Descriptors,
    target: Target,
) -> Result<Exit, HorizontalError> {
    let horizontal = Horizontal {
        start: start(std::env::args().skip(1).collect()),
        mediasoup: target.mediasoup,
        token: target.token,
        ca: target.ca,
        placement: setting("MAFALDA_PLACEMENT")?,
        pipes: pipes()?,
    };
    let (sender, receiver) = watch::channel(pods);
    let (mut terminate, mut interrupt) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let mediasoup = horizontal.mediasoup.clone();
    let run = horizontal::run(horizontal, receiver, descriptors.into_std()?, stop, write);
    tokio::select! {
        result = run => result,
        () = look_again(mediasoup, sender) => unreachable!("it looks for ever"),
    }
}

/// Tells of pods that come and go.
async fn look_again(mediasoup: String, pods: watch::Sender<Vec<Peer>>) {
    let mut ticks = interval(LOOK_AGAIN);
    loop {
        ticks.tick().await;
        let Ok(text) = url_from_env() else { continue };
        // A name that is not found for a moment, or a file that is being written, changes nothing.
        if let Ok(urls) = all(&text, &mediasoup).await
            && !urls.is_empty()
        {
            let found = horizontal::peers(&urls);
            pods.send_if_modified(|known| {
                let changed = *known != found;
                *known = found;
                changed
            });
        }
    }
}

fn pipes() -> std::io::Result<PipeSettings> {
    Ok(PipeSettings {
        srtp: setting("MAFALDA_PIPE_SRTP")?,
        rtx: setting("MAFALDA_PIPE_RTX")?,
        ..PipeSettings::default()
    })
}

/// What a variable of the environment says; an empty one is none.
fn setting<T>(variable: &str) -> std::io::Result<T>
where
    T: Default + FromStr<Err: Display>,
{
    match std::env::var(variable) {
        Ok(name) if !name.is_empty() => name
            .parse()
            .map_err(|error| std::io::Error::other(format!("{variable}: {error}"))),
        Ok(_) | Err(_) => Ok(T::default()),
    }
}

/// What members write is for the application's own output. One that reads none misses it.
fn write(frame: Frame) {
    let _ = match frame {
        Frame::Stdout(text) => std::io::stdout().write_all(&text),
        Frame::Stderr(text) => std::io::stderr().write_all(&text),
        _ => Ok(()),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    #[test]
    fn urls_stand_between_commas_or_spaces() {
        let urls = |text| super::urls(text, "3").map_err(|error| error.to_string());
        assert_eq!(urls("ws://a:1").unwrap().len(), 1);
        assert_eq!(urls("ws://a:1, ws://b:1\nws://a:1\n").unwrap().len(), 2);
        assert!(
            urls("ws://a:1,http://b:1")
                .unwrap_err()
                .contains("http://b:1")
        );
    }

    #[test]
    fn a_name_with_several_addresses_of_a_family_is_several_pods() {
        let of = |addresses: &[&str]| {
            let found = addresses.iter().map(|text| text.parse().unwrap()).collect();
            several(&url("ws://pods:4400"), found).map(|urls| {
                let urls = urls.iter().map(Url::to_string);
                urls.collect::<Vec<_>>().join(" ")
            })
        };
        assert_eq!(of(&["127.0.0.1:4400", "[::1]:4400"]), None);
        assert_eq!(
            of(&[
                "10.0.0.2:4400",
                "10.0.0.1:4400",
                "10.0.0.2:4400",
                "[fd00::1]:4400"
            ])
            .as_deref(),
            Some("ws://10.0.0.1:4400/ ws://10.0.0.2:4400/")
        );
        assert_eq!(
            of(&["[fd00::1]:4400", "[fd00::2]:4400", "10.0.0.2:4400"]).as_deref(),
            Some("ws://[fd00::1]:4400/ ws://[fd00::2]:4400/")
        );
    }
}
