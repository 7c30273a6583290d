//! What is for Prometheus and Grafana: where it points to, something answers, and with the names that
//! the dashboard asks for.

use crate::files::root;
use crate::helm::chart;
use crate::release::Release;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};

/// Whom a server must prove to be, and to whom: the name and the authority (PEM).
pub struct Tls {
    name: String,
    authority: String,
}

/// The body of what a server answers with 200 to a `GET`.
pub async fn get(server: SocketAddr, path: &str, tls: Option<&Tls>) -> std::io::Result<String> {
    let socket = TcpStream::connect(server).await?;
    let answer = match tls {
        None => exchange(socket, path).await?,
        Some(tls) => {
            let wrong = std::io::Error::other::<String>;
            let mut roots = RootCertStore::empty();
            for certificate in CertificateDer::pem_slice_iter(tls.authority.as_bytes()) {
                let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
                roots.add(certificate).map_err(std::io::Error::other)?;
            }
            let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
                .with_safe_default_protocol_versions()
                .map_err(std::io::Error::other)?
                .with_root_certificates(roots)
                .with_no_client_auth();
            let name = ServerName::try_from(tls.name.clone()).map_err(std::io::Error::other)?;
            let connector = TlsConnector::from(Arc::new(config));
            exchange(connector.connect(name, socket).await?, path).await?
        }
    };
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.contains(" 200 ") => Ok(body.to_owned()),
        _ => Err(std::io::Error::other(answer)),
    }
}

async fn exchange(
    mut socket: impl AsyncRead + AsyncWrite + Unpin,
    path: &str,
) -> std::io::Result<String> {
    // HTTP/1.0: no chunks, and the connection's end is the body's.
    let request = format!("GET {path} HTTP/1.0\r\nHost: test\r\n\r\n");
    socket.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// `matchLabels` as kubectl takes them.
fn selector(of: &Value) -> String {
    let labels = of["matchLabels"].as_object().unwrap();
    let pairs: Vec<_> = labels
        .iter()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap()))
        .collect();
    format!("--selector={}", pairs.join(","))
}

fn address(text: &Value) -> IpAddr {
    text.as_str().unwrap().parse().unwrap()
}

fn named<'a>(ports: &'a Value, name: &Value) -> &'a Value {
    let mut ports = ports.as_array().unwrap().iter();
    ports
        .find(|port| port["name"] == *name)
        .unwrap_or_else(|| panic!("no port {name}"))
}

impl Release {
    /// Every answer that Prometheus would get by the ServiceMonitor.
    fn scrape_service(&self) -> Vec<String> {
        let monitor = self.get(&["servicemonitor", "mafalda-operator"]);
        let [endpoint] = monitor["spec"]["endpoints"].as_array().unwrap().as_slice() else {
            panic!("{monitor}");
        };
        let services = self.get(&["service", &selector(&monitor["spec"]["selector"])]);
        let [service] = services["items"].as_array().unwrap().as_slice() else {
            panic!("{services}");
        };
        named(&service["spec"]["ports"], &endpoint["port"]);
        let name = service["metadata"]["name"].as_str().unwrap();
        let of_service = format!("--selector=kubernetes.io/service-name={name}");
        let slices = self.get(&["endpointslice", &of_service]);
        let mut answers = Vec::new();
        for slice in slices["items"].as_array().unwrap() {
            let port = named(&slice["ports"], &endpoint["port"])["port"].as_u64();
            for endpoint_of in slice["endpoints"].as_array().unwrap() {
                let server = SocketAddr::new(
                    address(&endpoint_of["addresses"][0]),
                    port.unwrap().try_into().unwrap(),
                );
                answers.push(self.scrape(server, endpoint, None));
            }
        }
        answers
    }

    /// Every answer that Prometheus would get by the PodMonitor.
    fn scrape_pods(&self) -> Vec<String> {
        let monitor = self.get(&["podmonitor", "mafalda-media-pods"]);
        let [endpoint] = monitor["spec"]["podMetricsEndpoints"]
            .as_array()
            .unwrap()
            .as_slice()
        else {
            panic!("{monitor}");
        };
        assert_eq!(endpoint["scheme"], "https");
        let tls = &endpoint["tlsConfig"];
        let authority = self.secret(&tls["ca"]["secret"]["name"], &tls["ca"]["secret"]["key"]);
        let tls = Tls {
            name: tls["serverName"].as_str().unwrap().to_owned(),
            authority,
        };
        let pods = self.get(&["pod", &selector(&monitor["spec"]["selector"])]);
        let mut answers = Vec::new();
        for pod in pods["items"].as_array().unwrap() {
            let port = named(&pod["spec"]["containers"][0]["ports"], &endpoint["port"]);
            let port = port["containerPort"].as_u64().unwrap().try_into().unwrap();
            let server = SocketAddr::new(address(&pod["status"]["podIP"]), port);
            answers.push(self.scrape(server, endpoint, Some(&tls)));
            // What is refused is counted, as the dashboard shows.
            let refused = self.cluster.run(async |_| {
                let error = get(server, "/v1/status", Some(&tls)).await.unwrap_err();
                assert!(error.to_string().contains(" 401 "), "{error}");
            });
            refused.unwrap();
            answers.push(self.scrape(server, endpoint, Some(&tls)));
        }
        answers
    }

    fn scrape(&self, server: SocketAddr, endpoint: &Value, tls: Option<&Tls>) -> String {
        let path = endpoint["path"].as_str().unwrap();
        let got = self.cluster.run(async |_| get(server, path, tls).await);
        got.unwrap()
            .unwrap_or_else(|error| panic!("{server}{path}: {error}"))
    }

    /// A value of a Secret.
    fn secret(&self, name: &Value, key: &Value) -> String {
        let key = key.as_str().unwrap().replace('.', "\\.");
        let template = format!("jsonpath={{.data.{key}}}");
        let text = self.kubectl(&["get", "secret", name.as_str().unwrap(), "-o", &template]);
        let json = format!("\"{text}\"");
        let bytes: k8s_openapi::ByteString = serde_json::from_str(&json).unwrap();
        String::from_utf8(bytes.0).unwrap()
    }
}

/// Labels that Prometheus gives to what it scrapes.
const OF_PROMETHEUS: [&str; 2] = ["namespace", "pod"];

/// Has series only where sessions span pods; tests/virtual/horizontal.test.js is about it.
const OF_PIPES: &str = "mafalda_pipe_bytes_total";

/// Metrics with their labels.
type Series = BTreeMap<String, BTreeSet<String>>;

/// The metrics and labels that the dashboard asks for.
fn asked_for() -> Series {
    let path = root().join("helm/mafalda/dashboards/mafalda.json");
    let dashboard: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let mut queries = Vec::new();
    collect(&dashboard, &mut queries);
    let mut series = Series::new();
    for query in &queries {
        let mut words = query.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        if let Some(metric) = words.find(|word| word.starts_with("mafalda_")) {
            let labels = series.entry(metric.to_owned()).or_default();
            labels.extend(labels_of(query).map(str::to_owned));
        }
    }
    series.remove(OF_PIPES);
    series
}

/// What a query groups by and what it selects by.
fn labels_of(query: &str) -> impl Iterator<Item = &str> {
    let groups = query.split("by (").skip(1);
    let grouped = groups.flat_map(|rest| rest.split(')').next().unwrap_or_default().split(','));
    let matchers = query
        .split(['{', ','])
        .filter_map(|part| part.split_once('='));
    let matched = matchers.map(|(name, _)| name.trim_end_matches('!'));
    let all = grouped.chain(matched).map(str::trim);
    all.filter(|name| !OF_PROMETHEUS.contains(name))
}

/// What answers show.
fn shown<'a>(answers: impl Iterator<Item = &'a String>) -> Series {
    let mut series = Series::new();
    for line in answers.flat_map(|answer| answer.lines()) {
        if line.starts_with('#') {
            continue;
        }
        let (metric, rest) = line.split_at(line.find(['{', ' ']).unwrap_or(line.len()));
        let labels = series.entry(metric.to_owned()).or_default();
        let names = rest
            .split(['{', ','])
            .filter_map(|part| part.split_once("=\""));
        labels.extend(names.map(|(name, _)| name.to_owned()));
    }
    series
}

/// All that is asked of Prometheus: expressions of panels, and what fills the variables.
fn collect(value: &Value, queries: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if name == "expr" || name == "query" => {
                        queries.push(text.clone());
                    }
                    _ => collect(value, queries),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, queries)),
        _ => {}
    }
}

/// Protects who watches Mafalda: with all options on, the manifests are what the API server and
/// Prometheus' operator take, what they select is there and answers as they say, and each metric of
/// the dashboard is in one of the answers, with the labels that it is asked for by.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn prometheus_finds_what_the_dashboard_asks_for() {
    let it = Release::new("watched");
    it.load_own_images();
    let here = root().join("tests/cluster/tests/chart");
    let definitions = here.join("monitoring/definitions.yaml");
    let definitions = definitions.display().to_string();
    it.kubectl(&["apply", "--server-side", "-f", &definitions]);
    for name in ["servicemonitors", "podmonitors"] {
        let name = format!("crd/{name}.monitoring.coreos.com");
        it.kubectl(&["wait", "--for=condition=Established", &name]);
    }
    let on = [
        "cluster.spec.announcedAddress.source=NodeInternalIP",
        "serviceMonitor.enabled=true",
        "podMonitor.enabled=true",
        "dashboard.enabled=true",
        "networkPolicy.enabled=true",
    ]
    .join(",");
    let chart = chart();
    it.helm(&[
        "install",
        "mafalda",
        &chart,
        "--create-namespace",
        "--set",
        &on,
        "--wait",
    ]);
    it.wait_ready("mafaldacluster/mafalda");
    let session = root().join("examples/kubernetes/session.yaml");
    it.kubectl(&["apply", "-f", &session.display().to_string()]);
    it.wait_ready("session/stage");

    // A field that a definition does not have would be dropped without a word.
    let made = it.helm(&["get", "manifest", "mafalda"]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("made.yaml");
    std::fs::write(&file, made).unwrap();
    let file = file.display().to_string();
    it.kubectl(&[
        "apply",
        "--dry-run=server",
        "--validate=strict",
        "-f",
        &file,
    ]);

    // What a NetworkPolicy selects, as nothing enforces one here.
    let policies = it.get(&["networkpolicy"]);
    for policy in policies["items"].as_array().unwrap() {
        let pods = it.get(&["pod", &selector(&policy["spec"]["podSelector"])]);
        assert!(!pods["items"].as_array().unwrap().is_empty(), "{policy}");
    }

    let (operators, pods) = (it.scrape_service(), it.scrape_pods());
    assert_eq!(operators.len(), 2, "both replicas");
    assert!(!pods.is_empty());
    let (asked_for, shown) = (asked_for(), shown(operators.iter().chain(&pods)));
    assert!(asked_for.len() > 10, "{asked_for:?}");
    for (metric, labels) in asked_for {
        let there = shown.get(&metric);
        let there = there.unwrap_or_else(|| panic!("{metric} is not among {shown:?}"));
        assert!(labels.is_subset(there), "{metric}: {labels:?}, {there:?}");
    }
    it.kubectl(&["delete", "session", "stage"]);
}
