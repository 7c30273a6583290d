//! What `MAFALDA_URL` means: one endpoint, or pods that lend their workers to one virtual worker; and which
//! those are later. Lookups are at the end, all else is pure.

use mafalda_link::client::{ConnectError, Target, words};
use mafalda_media_pod::Peer;
use mafalda_media_pod::horizontal::peers;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::net::lookup_host;
use tokio::time::timeout;
use url::Url;

/// How long a lookup, or the question whether pods lend, may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long one address may take to say whether it lends.
const ADDRESS: Duration = Duration::from_secs(2);

/// Where the text comes from, and what else was set.
#[derive(Clone, Copy, Debug, Default)]
pub struct Said {
    /// `MAFALDA_URL_FILE` names a file with it: it may say more later.
    pub in_a_file: bool,
    /// `MAFALDA_MODE` is `real`.
    pub real: bool,
}

/// What a text asks for.
#[derive(Debug, PartialEq)]
enum Wish {
    /// A worker at one endpoint.
    Endpoint,
    /// One over these pods.
    Pods(Vec<Url>),
    /// One over the pod there, if it lends: a list of one.
    List(Url),
    /// One over the pods of this name, if it has several addresses and they lend.
    Name(Url),
}

/// Reads a text.
///
/// # Errors
/// [`ConnectError::Setting`]: there is no URL in it, one is none, or several cannot be used so.
fn wish(text: &str, mediasoup: &str, said: Said) -> Result<Wish, ConnectError> {
    let urls = urls(text, mediasoup)?;
    let [url] = &urls[..] else {
        if said.real {
            return Err(ConnectError::Setting(
                "MAFALDA_MODE is \"real\", and MAFALDA_URL names several pods: a real worker is on \
                 one"
                .to_owned(),
            ));
        }
        return Ok(Wish::Pods(urls));
    };
    Ok(match has_path(url) || said.real {
        // A session, or one kind of worker: its addresses are ways to the same.
        true => Wish::Endpoint,
        false if said.in_a_file || text.contains(',') => Wish::List(url.clone()),
        false if url.domain().is_some() => Wish::Name(url.clone()),
        false => Wish::Endpoint,
    })
}

fn has_path(url: &Url) -> bool {
    url.path() != "/"
}

/// The URLs of a text, of which only one alone may have a path.
fn urls(text: &str, mediasoup: &str) -> Result<Vec<Url>, ConnectError> {
    let mut urls: Vec<Url> = Vec::new();
    for word in words(text) {
        let url = Target::new(word, mediasoup.to_owned())?.url;
        if !urls.contains(&url) {
            urls.push(url);
        }
    }
    match &urls[..] {
        [] => Err(ConnectError::Setting("MAFALDA_URL names no pod".to_owned())),
        [_] => Ok(urls),
        several => match several.iter().find(|url| has_path(url)) {
            None => Ok(urls),
            Some(url) => Err(ConnectError::Setting(format!(
                "MAFALDA_URL names several pods, and {url} has a path: with several, each is \
                 ws://host:port or wss://host:port"
            ))),
        },
    }
}

/// Which of a name's addresses are pods. Pods are called by their addresses: a lookup that finds fewer, or
/// one alone, gives none of them another name.
#[derive(Debug, Default)]
struct Name {
    /// The family of addresses that is used, once it is known.
    v6: Option<bool>,
    /// It had several addresses once.
    several: bool,
}

impl Name {
    /// The pods of these addresses; `None` if there is none of the family that is used.
    fn pods(&mut self, url: &Url, found: Vec<SocketAddr>) -> Option<Vec<Peer>> {
        let (v4, v6): (Vec<_>, Vec<_>) = found.into_iter().partition(SocketAddr::is_ipv4);
        // Of both families the one that has more, and that one from then on.
        let use_v6 = *self.v6.get_or_insert(v6.len() > v4.len());
        let of_family = if use_v6 { v6 } else { v4 };
        let mut ips: Vec<IpAddr> = of_family.iter().map(SocketAddr::ip).collect();
        ips.sort_unstable();
        ips.dedup();
        self.several |= ips.len() > 1;
        let pod = |ip: &IpAddr| {
            let mut at = url.clone();
            at.set_ip_host(*ip).ok()?;
            let mut pod = peers(&[at]).pop()?;
            // The certificate of a pod that is alone may be for the name.
            if !self.several && url.scheme() == "wss" {
                pod.url = url.to_string();
            }
            Some(pod)
        };
        let pods: Vec<Peer> = ips.iter().filter_map(pod).collect();
        (!pods.is_empty()).then_some(pods)
    }
}

/// How pods that a URL names are called, as long as there are any: another name would be another pod.
#[derive(Debug)]
enum Called {
    /// As it stood among others.
    Itself,
    /// By the addresses of its name, as it stood alone.
    Addresses(Name),
}

/// Knows which pods a text names, also when it is asked again.
#[derive(Debug, Default)]
pub struct Pods {
    called: HashMap<Url, Called>,
}

impl Pods {
    /// The pods of the text; `None` if it means an endpoint that lends nothing.
    ///
    /// # Errors
    /// [`ConnectError::Setting`]: it cannot be used.
    pub async fn first(
        &mut self,
        text: &str,
        mediasoup: &str,
        said: Said,
    ) -> Result<Option<Vec<Peer>>, ConnectError> {
        let (url, is_list) = match wish(text, mediasoup, said)? {
            Wish::Endpoint => return Ok(None),
            Wish::Pods(urls) => return Ok(self.of(&urls).await.ok()),
            Wish::List(url) => (url, true),
            Wish::Name(url) => (url, false),
        };
        // The relay says in its own words what is wrong with a name.
        let Ok(pods) = self.of(std::slice::from_ref(&url)).await else {
            return Ok(None);
        };
        if pods.len() < 2 && !is_list {
            return Ok(None);
        }
        // An endpoint that does not lend is a gateway: its addresses are ways to the same.
        Ok(lend(&pods, mediasoup).await?.then_some(pods))
    }

    /// The pods of the text of now.
    ///
    /// # Errors
    /// Why they cannot be told: they stay as they are.
    pub async fn again(&mut self, text: &str, mediasoup: &str) -> Result<Vec<Peer>, String> {
        let urls = urls(text, mediasoup).map_err(|error| error.to_string())?;
        match &urls[..] {
            [url] if has_path(url) => Err(format!(
                "MAFALDA_URL is {url} now: a worker that spans pods stays with those without a path"
            )),
            urls => self.of(urls).await,
        }
    }

    /// The pods of these URLs.
    async fn of(&mut self, urls: &[Url]) -> Result<Vec<Peer>, String> {
        let mut pods: Vec<Peer> = Vec::new();
        for url in urls {
            let alone = urls.len() == 1 && url.domain().is_some();
            let called = self.called.entry(url.clone());
            let called = called.or_insert_with(|| match alone {
                true => Called::Addresses(Name::default()),
                false => Called::Itself,
            });
            let found = match called {
                Called::Itself => peers(std::slice::from_ref(url)),
                Called::Addresses(name) => {
                    let found = look_up(url).await?;
                    let pods = name.pods(url, found);
                    pods.ok_or_else(|| format!("{url}: no address of the family that is used"))?
                }
            };
            for pod in found {
                if !pods.iter().any(|known| known.name == pod.name) {
                    pods.push(pod);
                }
            }
        }
        Ok(pods)
    }
}

async fn look_up(url: &Url) -> Result<Vec<SocketAddr>, String> {
    let (host, port) = (
        url.host_str().unwrap_or_default(),
        url.port_or_known_default().unwrap_or(4400),
    );
    match timeout(PATIENCE, lookup_host((host, port))).await {
        Ok(Ok(found)) => Ok(found.collect()),
        Ok(Err(error)) => Err(format!("{host}: {error}")),
        Err(_) => Err(format!("{host}: no answer in {} s", PATIENCE.as_secs())),
    }
}

/// Whether these pods lend, as the first says that answers. If none does they may yet.
async fn lend(pods: &[Peer], mediasoup: &str) -> Result<bool, ConnectError> {
    let mut targets = Vec::new();
    for pod in pods {
        targets.push(Target::from_env_of(&pod.url, mediasoup.to_owned())?);
    }
    let asked = async {
        for target in &targets {
            if let Ok(Ok(lends)) = timeout(ADDRESS, target.lends()).await {
                return lends;
            }
        }
        true
    };
    Ok(timeout(PATIENCE, asked).await.unwrap_or(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    #[test]
    fn what_a_text_means() {
        let (variable, file) = (
            Said::default(),
            Said {
                in_a_file: true,
                ..Said::default()
            },
        );
        let real = |said| Said { real: true, ..said };
        let list = |text| Wish::List(url(text));
        for (text, said, expected) in [
            ("ws://10.0.0.1:1", variable, Wish::Endpoint),
            ("ws://10.0.0.1:1,", variable, list("ws://10.0.0.1:1")),
            ("ws://10.0.0.1:1\n", file, list("ws://10.0.0.1:1")),
            ("ws://pods:1\n", file, list("ws://pods:1")),
            ("ws://pods:1", variable, Wish::Name(url("ws://pods:1"))),
            // A gateway's, or one kind of worker.
            ("wss://gw:1/v1/sessions/s", variable, Wish::Endpoint),
            ("wss://gw:1/v1/sessions/s", file, Wish::Endpoint),
            ("ws://pods:1/v1/worker/virtual", variable, Wish::Endpoint),
            ("ws://pods:1", real(variable), Wish::Endpoint),
            ("ws://pods:1", real(file), Wish::Endpoint),
            (
                "ws://a:1, ws://b:1\nws://a:1",
                variable,
                Wish::Pods(vec![url("ws://a:1"), url("ws://b:1")]),
            ),
        ] {
            assert_eq!(wish(text, "3", said).unwrap(), expected, "{text}");
        }
        for (text, said, why) in [
            ("", file, "names no pod"),
            (" ,\n", variable, "names no pod"),
            ("ws://a:1,http://b:1", variable, "http://b:1"),
            ("ws://a:1,ws://b:1/v1/sessions/s", variable, "has a path"),
            ("ws://a:1,ws://b:1", real(variable), "MAFALDA_MODE"),
        ] {
            let error = wish(text, "3", said).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    /// Protects calls from a lookup that finds fewer: who is left keeps its name, and so its connection.
    #[test]
    fn pods_of_a_name_are_called_by_their_addresses() {
        let mut name = Name::default();
        let mut of = |addresses: &[&str]| {
            let found = addresses.iter().map(|text| text.parse().unwrap()).collect();
            let pods = name.pods(&url("ws://pods:4400"), found)?;
            let words = pods.iter().map(|pod| format!("{} {}", pod.name, pod.url));
            Some(words.collect::<Vec<_>>().join(", "))
        };
        let (one, two) = (
            "10.0.0.1:4400 ws://10.0.0.1:4400/",
            "10.0.0.2:4400 ws://10.0.0.2:4400/",
        );
        let both = format!("{one}, {two}");
        for (addresses, expected) in [
            (&["10.0.0.1:4400"][..], Some(one)),
            (
                &["10.0.0.2:4400", "10.0.0.1:4400", "10.0.0.2:4400"],
                Some(both.as_str()),
            ),
            (&["10.0.0.2:4400"], Some(two)),
            // The other family has more by now.
            (
                &["10.0.0.2:4400", "[fd00::1]:4400", "[fd00::2]:4400"],
                Some(two),
            ),
            (&["[fd00::1]:4400", "[fd00::2]:4400"], None),
            (&[], None),
            (&["10.0.0.1:4400"], Some(one)),
        ] {
            assert_eq!(of(addresses).as_deref(), expected, "{addresses:?}");
        }
    }

    #[test]
    fn of_both_families_the_one_that_has_more_is_used() {
        let found = ["[fd00::1]:4400", "[fd00::2]:4400", "10.0.0.2:4400"];
        let found = found.iter().map(|text| text.parse().unwrap()).collect();
        let pods = Name::default().pods(&url("ws://pods:4400"), found).unwrap();
        let names: Vec<_> = pods.iter().map(|pod| pod.name.as_str()).collect();
        assert_eq!(names, ["[fd00::1]:4400", "[fd00::2]:4400"]);
    }

    /// Protects TLS by a pod's own name; several are `pod.mafalda`.
    #[test]
    fn a_pod_with_a_certificate_is_reached_by_its_name_while_it_is_alone() {
        let mut name = Name::default();
        let mut urls = |addresses: &[&str]| {
            let found = addresses.iter().map(|text| text.parse().unwrap()).collect();
            let pods = name.pods(&url("wss://pods:4400"), found).unwrap();
            pods.into_iter().map(|pod| pod.url).collect::<Vec<_>>()
        };
        assert_eq!(urls(&["10.0.0.1:4400"]), ["wss://pods:4400/"]);
        let both = ["wss://10.0.0.1:4400/", "wss://10.0.0.2:4400/"];
        assert_eq!(urls(&["10.0.0.1:4400", "10.0.0.2:4400"]), both);
        assert_eq!(urls(&["10.0.0.1:4400"]), both[..1]);
    }

    #[tokio::test]
    async fn a_text_that_cannot_be_used_later_is_an_error() {
        let mut pods = Pods::default();
        for text in ["", "http://a:1", "ws://10.0.0.1:1/v1/sessions/s"] {
            assert!(pods.again(text, "3").await.is_err(), "{text:?}");
        }
        let two = pods.again("ws://10.0.0.1:1\nws://10.0.0.2:1\n", "3").await;
        assert_eq!(two.unwrap().len(), 2);
        let one = pods.again("ws://10.0.0.1:1", "3").await.unwrap();
        assert_eq!(one[0].name, "10.0.0.1:1");
    }

    /// Protects calls from a second name for their pod, when a list grows or shrinks to one.
    #[tokio::test]
    async fn a_pod_is_called_the_same_alone_and_among_others() {
        let names = |pods: Vec<Peer>| pods.into_iter().map(|pod| pod.name).collect::<Vec<_>>();
        let (alone, list) = ("ws://localhost:1", "ws://localhost:1 ws://10.0.0.1:1");
        let mut pods = Pods::default();
        let first = names(pods.again(alone, "3").await.unwrap());
        assert!(!first.contains(&"localhost:1".to_owned()), "{first:?}");
        let grown = names(pods.again(list, "3").await.unwrap());
        let mut expected = first.clone();
        expected.push("10.0.0.1:1".to_owned());
        assert_eq!(grown, expected);
        let mut pods = Pods::default();
        let first = names(pods.again(list, "3").await.unwrap());
        assert_eq!(first, ["localhost:1", "10.0.0.1:1"]);
        assert_eq!(names(pods.again(alone, "3").await.unwrap()), first[..1]);
    }
}
