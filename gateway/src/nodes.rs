//! Which nodes there are, what was heard of each, and which of them something new goes to. Pure: events
//! and times in, decisions out.

use crate::report::{Report, Session};
use mafalda_plan::{
    DEFAULT_PARTICIPANTS, Load, NoPod, PodName, Preference, Region, Seen, Timing, Wish, rank_pods,
};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// Where a node's HTTP API is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    /// Whether it speaks TLS.
    pub tls: bool,
    /// Its name or address; an IPv6 address without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
}

/// A node's URL that is none.
#[derive(Debug, thiserror::Error)]
#[error("{text:?} is no node: {reason}; it must be ws://host:port or wss://host:port")]
pub struct AddressError {
    text: String,
    reason: String,
}

impl Address {
    /// Reads `ws://host:port`; `wss`, `http` and `https` are schemes too.
    ///
    /// # Errors
    /// It is something else.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let wrong = |reason: &dyn fmt::Display| AddressError {
            text: text.to_owned(),
            reason: reason.to_string(),
        };
        let url = Url::parse(text).map_err(|error| wrong(&error))?;
        let tls = match url.scheme() {
            "ws" | "http" => false,
            "wss" | "https" => true,
            _ => return Err(wrong(&"its scheme is not ws or wss")),
        };
        if !matches!(url.path(), "" | "/") || url.query().is_some() || !url.username().is_empty() {
            return Err(wrong(&"there is more than host and port"));
        }
        let host = url.host_str().ok_or_else(|| wrong(&"it names no host"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        Ok(Self {
            tls,
            host: host.to_owned(),
            port: url.port_or_known_default().unwrap_or(4400),
        })
    }

    /// `host:port`, as a URL and the header `host` have it.
    pub fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "wss" } else { "ws" };
        write!(formatter, "{scheme}://{}", self.authority())
    }
}

/// A node as a source lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Tells it from others, the same for all gateways of a cluster: clients are told it and bring it
    /// back when they resume.
    pub name: PodName,
    /// Where it is.
    pub address: Address,
}

impl From<Address> for Listed {
    /// A node that has no other name than where it is.
    fn from(address: Address) -> Self {
        Self {
            name: address.authority().into(),
            address,
        }
    }
}

/// What can be expected of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// Takes what comes.
    Ready,
    /// Its workers start.
    Starting,
    /// Takes nothing new.
    Draining,
    /// Does not answer any more.
    Silent,
    /// Has not answered yet.
    Unknown,
}

impl State {
    /// All there are.
    pub const ALL: [Self; 5] = [
        Self::Ready,
        Self::Starting,
        Self::Draining,
        Self::Silent,
        Self::Unknown,
    ];

    /// The word for metrics and status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Starting => "starting",
            Self::Draining => "draining",
            Self::Silent => "silent",
            Self::Unknown => "unknown",
        }
    }

    /// Whether it answers.
    pub fn answers(self) -> bool {
        matches!(self, Self::Ready | Self::Starting | Self::Draining)
    }
}

/// A node and what is known of it.
#[derive(Clone, Debug)]
pub struct Node {
    /// As the source lists it.
    pub listed: Listed,
    /// What it said last.
    pub report: Option<Arc<Report>>,
    /// When it answered last.
    pub last_seen: Option<Duration>,
    /// Nobody listened there when it was asked last: what ran there has ended.
    pub refuses: bool,
    /// When things were placed there from here that it still has, by a number.
    placed: BTreeMap<u64, Duration>,
}

impl Node {
    /// What other nodes call it.
    pub fn peer_name(&self) -> &str {
        match self.report.as_ref().map(|report| report.pod.name.as_str()) {
            None | Some("") => self.listed.name.as_str(),
            Some(name) => name,
        }
    }

    /// What can be expected of it.
    pub fn state(&self, now: Duration) -> State {
        let (Some(report), Some(seen)) = (&self.report, self.last_seen) else {
            return State::Unknown;
        };
        if now.saturating_sub(seen) >= silence() {
            State::Silent
        } else if report.draining {
            State::Draining
        } else if report.is_ready() {
            State::Ready
        } else {
            State::Starting
        }
    }

    fn seen(&self, mediasoup: Option<&str>, now: Duration) -> Seen {
        let report = self.report.clone().unwrap_or_default();
        let version = match mediasoup.filter(|asked| report.serves(asked)) {
            // Both of its releases are the same to the plan.
            Some(asked) => asked,
            None => &report.mediasoup.npm,
        };
        let region = report.pod.region.as_str();
        Seen {
            name: self.listed.name.clone(),
            region: (!region.is_empty()).then(|| region.into()),
            mediasoup: self.report.is_some().then(|| version.into()),
            cpu: report.workers.iter().map(|worker| worker.cpu).collect(),
            silence: self.last_seen.map(|seen| now.saturating_sub(seen)),
            ready: report.is_ready(),
            draining: report.draining,
            used: report.used(),
            placed: self
                .placed
                .values()
                .map(|placed| now.saturating_sub(*placed))
                .collect(),
        }
    }
}

/// How long a node does not answer before nothing more goes there.
fn silence() -> Duration {
    Timing::default().suspect()
}

/// How something new is placed.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Share of a worker's core above which nothing new is placed while another has room.
    pub watermark: f64,
    /// Which of those with room.
    pub preference: Preference,
    /// The region that is preferred.
    pub region: Option<Region>,
}

/// How long the address of a node that is not listed any more is remembered: connections that it has may
/// be resumed, be it that a name server lost it for a moment or that it is to be emptied.
const REMEMBERED: Duration = Duration::from_secs(600);

/// All nodes.
#[derive(Debug, Default)]
pub struct Nodes {
    nodes: BTreeMap<PodName, Node>,
    /// Those that were listed once, and until when.
    gone: BTreeMap<PodName, (Address, Duration)>,
    /// Whether there was a list.
    listed: bool,
    last_placed: u64,
}

impl Nodes {
    /// Takes over a list: what is known of those that stay stays.
    pub fn set(&mut self, listed: Vec<Listed>, now: Duration) {
        self.listed = true;
        let mut before = std::mem::take(&mut self.nodes);
        for listed in listed {
            let known = before.remove(&listed.name);
            let same = known.filter(|node| node.listed == listed);
            let node = same.unwrap_or_else(|| Node {
                listed: listed.clone(),
                report: None,
                last_seen: None,
                refuses: false,
                placed: BTreeMap::new(),
            });
            self.gone.remove(&listed.name);
            self.nodes.insert(listed.name, node);
        }
        self.gone.retain(|_, (_, until)| *until > now);
        let until = now + REMEMBERED;
        let gone = before.into_iter();
        self.gone
            .extend(gone.map(|(name, node)| (name, (node.listed.address, until))));
    }

    /// Whether anybody said which nodes there are.
    pub fn is_listed(&self) -> bool {
        self.listed
    }

    /// Where a node is, or was a while ago.
    pub fn address(&self, name: &PodName) -> Option<Address> {
        let listed = self.get(name).map(|node| &node.listed.address);
        let gone = || self.gone.get(name).map(|(address, _)| address);
        listed.or_else(gone).cloned()
    }

    /// Whether a node was listed a while ago and is not any more.
    pub fn is_gone(&self, name: &PodName) -> bool {
        self.gone.contains_key(name)
    }

    /// Notes a session that was just placed: who asks for it next must not wait for the node's own word.
    pub fn begin_session(&mut self, name: &PodName, session: Session) {
        let node = self.nodes.get_mut(name);
        if let Some(report) = node.and_then(|node| node.report.as_mut()) {
            let report = Arc::make_mut(report);
            report.sessions.retain(|other| other.name != session.name);
            report.sessions.push(session);
        }
    }

    /// What a node says of a session, or [`Nodes::begin_session`] noted.
    pub fn session(&self, name: &PodName, session: &str) -> Option<&Session> {
        let report = self.get(name)?.report.as_ref()?;
        report.sessions.iter().find(|found| found.name == session)
    }

    /// A node that was never heard and may be well: what it runs is not known.
    pub fn unheard(&self) -> Option<&PodName> {
        let mut all = self.all();
        let node = all.find(|node| node.report.is_none() && !node.refuses)?;
        Some(&node.listed.name)
    }

    /// All of them, in the order of their names.
    pub fn all(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values()
    }

    /// One of them.
    pub fn get(&self, name: &PodName) -> Option<&Node> {
        self.nodes.get(name)
    }

    /// Notes what a node says. Whether that is more than news of load.
    pub fn report(&mut self, name: &PodName, report: Report, now: Duration) -> bool {
        let Some(node) = self.nodes.get_mut(name) else {
            return false;
        };
        let state = node.state(now);
        let before = node.report.replace(Arc::new(report));
        node.last_seen = Some(now);
        node.refuses = false;
        let (before, after) = (before.unwrap_or_default(), node.report.clone());
        state != node.state(now)
            || after.is_none_or(|after| {
                let mut pairs = before.sessions.iter().zip(&after.sessions);
                before.sessions.len() != after.sessions.len()
                    || pairs.any(|(one, other)| !one.says_the_same(other))
                    || before.pod != after.pod
                    || before.mediasoup != after.mediasoup
            })
    }

    /// Notes a sign of life.
    pub fn alive(&mut self, name: &PodName, now: Duration) {
        if let Some(node) = self.nodes.get_mut(name) {
            node.last_seen = Some(now);
            node.refuses = false;
        }
    }

    /// Notes that a node refuses connections: nobody listens there, which is worth as much as silence.
    pub fn refuses(&mut self, name: &PodName, now: Duration) {
        if let Some(node) = self.nodes.get_mut(name) {
            let silent = now.saturating_sub(silence());
            node.last_seen = node.last_seen.map(|seen| seen.min(silent));
            node.refuses = true;
        }
    }

    /// The nodes that can take something for an application with this release of mediasoup, the best
    /// first.
    ///
    /// # Errors
    /// Why there is none.
    pub fn rank(
        &self,
        mediasoup: Option<&str>,
        policy: &Policy,
        now: Duration,
    ) -> Result<Vec<PodName>, NoPod> {
        let seen: Vec<Seen> = self.all().map(|node| node.seen(mediasoup, now)).collect();
        let wish = Wish {
            load: Load::expected(DEFAULT_PARTICIPANTS),
            region: policy.region.clone(),
            mediasoup: mediasoup.map(Into::into),
        };
        let order = rank_pods(&wish, &seen, policy.watermark, policy.preference)?;
        Ok(order
            .into_iter()
            .map(|index| seen[index].name.clone())
            .collect())
    }

    /// Notes that something was placed: its load counts before it shows. Returns its number.
    pub fn place(&mut self, name: &PodName, now: Duration) -> u64 {
        self.last_placed += 1;
        if let Some(node) = self.nodes.get_mut(name) {
            let ramp_up = Timing::default().ramp_up;
            node.placed.retain(|_, placed| *placed + ramp_up > now);
            node.placed.insert(self.last_placed, now);
        }
        self.last_placed
    }

    /// Takes back what [`Nodes::place`] noted: it is over.
    pub fn remove(&mut self, name: &PodName, number: u64) {
        if let Some(node) = self.nodes.get_mut(name) {
            node.placed.remove(&number);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::report::{Identity, Mediasoup, Worker};

    pub fn at(seconds: u64) -> Duration {
        Duration::from_secs(1000 + seconds)
    }

    pub fn report(cpu: f64, sessions: &[(&str, u64)]) -> Report {
        Report {
            mediasoup: Mediasoup {
                npm: "3.27.1".to_owned(),
                rust: "0.28.1".to_owned(),
            },
            pod: Identity::default(),
            workers: vec![Worker {
                state: "member".to_owned(),
                cpu,
            }],
            sessions: sessions
                .iter()
                .map(|(name, generation)| Session {
                    name: (*name).to_owned(),
                    generation: *generation,
                    ..Session::default()
                })
                .collect(),
            ..Report::default()
        }
    }

    pub fn nodes(names: &[&str]) -> Nodes {
        let mut nodes = Nodes::default();
        nodes.set(listed(names), at(0));
        nodes
    }

    fn listed(names: &[&str]) -> Vec<Listed> {
        let one = |name: &&str| Listed {
            name: (*name).into(),
            address: Address::parse(&format!("ws://{name}:4400")).unwrap(),
        };
        names.iter().map(one).collect()
    }

    fn policy() -> Policy {
        Policy {
            watermark: 0.6,
            preference: Preference::Pack,
            region: None,
        }
    }

    fn rank(nodes: &Nodes, seconds: u64) -> Vec<String> {
        let order = nodes.rank(Some("0.28.1"), &policy(), at(seconds));
        order
            .unwrap_or_default()
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn addresses_are_read_and_others_refused() {
        for (text, read) in [
            ("ws://a:1", "ws://a:1"),
            ("http://a", "ws://a:80"),
            ("https://a/", "wss://a:443"),
            ("wss://[::1]:4400", "wss://[::1]:4400"),
        ] {
            assert_eq!(Address::parse(text).unwrap().to_string(), read);
        }
        for text in [
            "a:1",
            "ftp://a",
            "ws://a/v1",
            "ws://",
            "ws://u@a",
            "ws://a?b",
        ] {
            assert!(Address::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_node_is_used_as_long_as_it_answers() {
        let mut nodes = nodes(&["a", "b"]);
        let (a, b) = ("a".into(), "b".into());
        assert!(rank(&nodes, 0).is_empty());
        nodes.report(&a, report(0.1, &[]), at(0));
        nodes.report(&b, report(0.2, &[]), at(0));
        assert_eq!(rank(&nodes, 2), ["b", "a"]);
        nodes.alive(&a, at(2));
        assert_eq!(rank(&nodes, 3), ["a"], "b is silent");
        nodes.alive(&b, at(3));
        assert_eq!(rank(&nodes, 3), ["b", "a"], "b is back");
        nodes.refuses(&b, at(3));
        assert_eq!(rank(&nodes, 3), ["a"]);
        assert_eq!(nodes.get(&b).unwrap().state(at(3)), State::Silent);
        assert!(nodes.get(&b).unwrap().refuses);
        nodes.alive(&b, at(4));
        assert!(!nodes.get(&b).unwrap().refuses);
    }

    #[test]
    fn what_was_never_heard_is_not_known_unless_nobody_listens_there() {
        let mut nodes = nodes(&["a", "b"]);
        nodes.report(&"a".into(), report(0.1, &[("s", 2)]), at(0));
        assert_eq!(nodes.unheard(), Some(&"b".into()));
        nodes.refuses(&"b".into(), at(0));
        assert_eq!(nodes.unheard(), None);
        assert_eq!(nodes.session(&"a".into(), "s").unwrap().generation, 2);
        assert_eq!(nodes.session(&"b".into(), "s"), None);
    }

    #[test]
    fn a_list_replaces_the_one_before_and_keeps_what_is_known() {
        let mut nodes = nodes(&["a", "b"]);
        nodes.report(&"a".into(), report(0.1, &[]), at(0));
        nodes.report(&"b".into(), report(0.1, &[]), at(0));
        nodes.set(listed(&["a", "c"]), at(0));
        assert_eq!(rank(&nodes, 0), ["a"]);
        let b = || "b".into();
        assert!(nodes.is_gone(&b()));
        assert_eq!(nodes.address(&b()).unwrap().to_string(), "ws://b:4400");
        let mut moved = listed(&["a"]);
        moved[0].address.port = 1;
        nodes.set(moved, at(700));
        assert!(rank(&nodes, 0).is_empty(), "it is another one");
        assert_eq!(nodes.address(&b()), None, "long gone");
        assert!(!nodes.is_gone(&b()) && !nodes.is_gone(&"a".into()));
        assert_eq!(nodes.address(&"a".into()).unwrap().port, 1);
    }

    #[test]
    fn what_is_placed_counts_until_it_is_over() {
        let mut nodes = nodes(&["a", "b"]);
        let a = "a".into();
        nodes.report(&a, report(0.2, &[("s", 1)]), at(0));
        nodes.report(&"b".into(), report(0.1, &[("t", 1)]), at(0));
        let placed: Vec<u64> = (0..8).map(|_| nodes.place(&a, at(0))).collect();
        assert_eq!(rank(&nodes, 0), ["b", "a"]);
        for number in placed {
            nodes.remove(&a, number);
        }
        assert_eq!(rank(&nodes, 0), ["a", "b"]);
    }

    #[test]
    fn load_alone_is_no_news() {
        let mut nodes = nodes(&["a"]);
        let a = "a".into();
        assert!(nodes.report(&a, report(0.2, &[]), at(0)), "the first");
        assert!(!nodes.report(&a, report(0.3, &[]), at(1)));
        assert!(nodes.report(&a, report(0.3, &[("s", 1)]), at(1)));
        let mut grown = report(0.3, &[("s", 1)]);
        grown.sessions[0].carries.consumers = 5;
        assert!(!nodes.report(&a, grown, at(1)), "nor is what it carries");
        assert!(
            nodes.report(&a, report(0.3, &[("s", 1)]), at(9)),
            "it is back"
        );
        assert!(!nodes.report(&"x".into(), report(0.3, &[]), at(9)));
    }
}
