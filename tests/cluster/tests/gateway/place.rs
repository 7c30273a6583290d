//! A release of the chart with a gateway of two replicas, and what tests do with it.

use crate::ask::Asker;
use crate::helm::chart;
use crate::release::Release;
use hyper::Method;
use k8s_openapi::api::core::v1::{Node, Pod, Secret, Service};
use kube::api::{DeleteParams, ListParams};
use kube::{Api, Client, ResourceExt};
use mafalda_e2e::wait;
use mafalda_operator::pod_api::Access;
use mafalda_token::Role;
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// The namespace.
pub const NAMESPACE: &str = "gateway";
/// What selects the gateway's pods.
pub const GATEWAYS: &str = "app.kubernetes.io/component=gateway";
/// What the gateway is called in it.
const NAME: &str = "mafalda-gateway.gateway.svc";
/// The port of the Service and of the replicas.
const PORT: u16 = 4500;
/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until it is so, and says how long that took.
pub async fn until(what: &str, condition: impl AsyncFnMut() -> bool) -> Duration {
    wait(PATIENCE, what, condition).await
}

/// Installs the chart, with two media pods behind two gateways.
pub fn install(release: &Release) {
    release.load_own_images();
    let chart = chart();
    let settings = [
        "operator.replicas=1",
        "operator.settleSeconds=600",
        "cluster.spec.workersPerPod=1",
        "cluster.spec.exposure.type=Internal",
        "cluster.spec.pool.min=2",
        "cluster.spec.pool.max=4",
        "cluster.spec.pool.spare=0",
        "gateway.enabled=true",
        "gateway.placement=spread",
        "networkPolicy.enabled=true",
    ];
    let mut arguments = vec!["install", "mafalda", &chart, "--create-namespace"];
    for setting in settings {
        arguments.extend(["--set", setting]);
    }
    arguments.extend(["--wait", "--timeout", "90s"]);
    release.helm(&arguments);
    release.wait_ready("mafaldacluster/mafalda");
}

/// The release, and who may ask its gateway anything.
pub struct Place<'a> {
    pub release: &'a Release,
    pub client: Client,
    pub pods: Api<Pod>,
    pub access: Access,
    pub authorities: String,
    /// The Service's address.
    pub address: IpAddr,
}

impl<'a> Place<'a> {
    /// Reads how to get in, and sees to it that the Service is reached from here, as it is from pods.
    pub async fn new(release: &'a Release, client: Client) -> Self {
        let services: Api<Service> = Api::namespaced(client.clone(), NAMESPACE);
        let service = services.get("mafalda-gateway").await.unwrap();
        let address = service.spec.unwrap().cluster_ip.unwrap();
        // There kube-proxy has the Service's rules.
        let nodes: Api<Node> = Api::all(client.clone());
        let node = nodes.list(&ListParams::default()).await.unwrap().items;
        let addresses = node[0].status.as_ref().unwrap().addresses.as_ref();
        let internal = addresses.unwrap().iter().find(|a| a.type_ == "InternalIP");
        let way = &internal.unwrap().address;
        let route = ["exec", "ip", "route", "replace", &address, "via", way];
        release.cluster.script(&route).unwrap();
        let secrets: Api<Secret> = Api::namespaced(client.clone(), NAMESPACE);
        let read = async |name: &str, key: &str| {
            let data = secrets.get(name).await.unwrap().data.unwrap();
            String::from_utf8(data[key].0.clone()).unwrap()
        };
        let key = read("mafalda-token-key", "private.pem").await;
        let authorities = read("mafalda-ca", "ca.crt").await;
        Self {
            release,
            pods: Api::namespaced(client.clone(), NAMESPACE),
            access: Access::new("mafalda", &key, &authorities).unwrap(),
            authorities,
            address: address.parse().unwrap(),
            client,
        }
    }

    /// The URL of a path on the gateway.
    pub fn url(&self, path: &str) -> String {
        format!("wss://{}:{PORT}{path}", self.address)
    }

    /// A token that the cluster's operator could write.
    pub fn token(&self, role: Role, session: &str) -> String {
        let life = Duration::from_secs(600);
        self.access.sign(role, session, life).unwrap()
    }

    /// Who asks by the Service's name.
    pub fn asker(&self) -> Asker<'_> {
        Asker {
            access: &self.access,
            name: NAME,
            port: PORT,
        }
    }

    /// The gateway's pods that are not ending, with their addresses.
    pub async fn gateways(&self) -> BTreeMap<String, IpAddr> {
        let gateways = ListParams::default().labels(GATEWAYS);
        let pods = self.pods.list(&gateways).await.unwrap();
        let lives = pods
            .iter()
            .filter(|pod| pod.metadata.deletion_timestamp.is_none());
        lives
            .filter_map(|pod| {
                let ip = pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok()?;
                Some((pod.name_any(), ip))
            })
            .collect()
    }

    /// The replicas that serve, with the number of connections that each passes on.
    pub async fn replicas(&self) -> BTreeMap<String, u64> {
        let token = self.token(Role::Monitor, "*");
        let mut found = BTreeMap::new();
        for (name, ip) in self.gateways().await {
            let what = (Method::GET, "/v1/status");
            let asker = self.asker();
            let asked = asker.ask(ip, what, Some(&token)).await;
            // One that is not well does not answer.
            if let Ok(answer) = asked
                && answer.body["ready"] == true
            {
                let connections = answer.body["connections"].as_u64().unwrap();
                found.insert(name, connections);
            }
        }
        found
    }

    /// Waits until one replica passes a connection on that no other does: its name.
    pub async fn carrier(&self) -> String {
        let mut found = None;
        until("a gateway passes the connection on", async || {
            let replicas = self.replicas().await;
            let carrying: Vec<_> = replicas.iter().filter(|(_, count)| **count > 0).collect();
            found = match carrying[..] {
                [(name, _)] if replicas.len() == 2 => Some(name.clone()),
                _ => None,
            };
            found.is_some()
        })
        .await;
        found.unwrap()
    }

    /// Ends a pod without a word to its programs.
    pub async fn delete_now(&self, pod: &str) {
        let now = DeleteParams::default().grace_period(0);
        self.pods.delete(pod, &now).await.unwrap();
    }

    /// `kill -9` for the program of a pod, by what follows `mafalda` on its command line.
    pub async fn kill(&self, pod: &str, program: &str) {
        let id = self.process_of(pod, program).await;
        kill_process(Pid::from_raw(id).unwrap(), Signal::KILL).unwrap();
    }

    /// The process of a pod's program, by what follows `mafalda` on its command line.
    pub async fn process_of(&self, pod: &str, program: &str) -> i32 {
        let uid = self.pods.get(pod).await.unwrap().uid().unwrap();
        let names = [uid.clone(), uid.replace('-', "_")];
        let is_it = |id: &i32| {
            let read =
                |file| std::fs::read_to_string(format!("/proc/{id}/{file}")).unwrap_or_default();
            let group = read("cgroup");
            read("cmdline").starts_with(&format!("/usr/bin/mafalda\0{program}"))
                && names.iter().any(|name| group.contains(name))
        };
        let entries = std::fs::read_dir("/proc").unwrap();
        let mut ids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        ids.find(is_it).expect("the pod runs on this machine")
    }

    /// The home of the Session `stage` and its generation.
    pub fn home(&self) -> (String, u64) {
        let status = self.release.get(&["session", "stage"])["status"].take();
        let home = status["homePod"].as_str().unwrap_or_default();
        (
            home.to_owned(),
            status["generation"].as_u64().unwrap_or_default(),
        )
    }
}
