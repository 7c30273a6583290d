//! The chart's gateway before the media pods of a test.

use crate::ask::Asker;
use crate::helm;
use crate::keys;
use crate::world::{World, until};
use hyper::Method;
use k8s_openapi::api::core::v1::{Node, Service};
use kube::Api;
use kube::api::ListParams;
use mafalda_operator::pod_api::Access;
use mafalda_token::Role;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// The port of the Service and of the replicas.
const PORT: u16 = 4500;
/// What the gateway is called in a test of that namespace.
pub const NAMESPACE: &str = "hit";
const NAME: &str = "mafalda-gateway.hit.svc";
/// How long a token is good.
const LIFE: Duration = Duration::from_secs(600);

pub struct Gateway<'w> {
    world: &'w World,
    access: Access,
    /// The Service's.
    address: IpAddr,
}

impl<'w> Gateway<'w> {
    /// Brings the chart's gateway with its two replicas, and sees to it that its Service is reached from
    /// here, as it is from pods. Done when both are ready.
    pub async fn install(world: &'w World) -> Self {
        assert_eq!(world.namespace, NAMESPACE, "the certificate has that name");
        let chart = helm::chart();
        let mut arguments = vec!["template", "mafalda", &chart];
        arguments.extend(["--namespace", NAMESPACE, "--kube-version", "1.34.0"]);
        for setting in [
            "gateway.enabled=true",
            "gateway.replicas=2",
            "gateway.cluster=talk",
        ] {
            arguments.extend(["--set", setting]);
        }
        for file in [
            "templates/gateway/service.yaml",
            "templates/gateway/rbac.yaml",
            "templates/gateway/deployment.yaml",
        ] {
            arguments.extend(["--show-only", file]);
        }
        let manifests = helm::helm(&arguments).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), manifests).unwrap();
        let apply = ["apply", "-f", &file.path().display().to_string()];
        let rollout = [
            "rollout",
            "status",
            "deployment/mafalda-gateway",
            "--timeout=90s",
        ];
        for verb in [&apply[..], &rollout[..]] {
            let whole = [&["--namespace", NAMESPACE], verb].concat();
            world.cluster.kubectl(&whole).unwrap();
        }
        let services: Api<Service> = Api::namespaced(world.client.clone(), NAMESPACE);
        let service = services.get("mafalda-gateway").await.unwrap();
        let address = service.spec.unwrap().cluster_ip.unwrap();
        // There kube-proxy has the Service's rules.
        let nodes: Api<Node> = Api::all(world.client.clone());
        let nodes = nodes.list(&ListParams::default()).await.unwrap().items;
        let addresses = nodes[0].status.as_ref().unwrap().addresses.as_ref();
        let internal = addresses.unwrap().iter().find(|a| a.type_ == "InternalIP");
        let way = &internal.unwrap().address;
        let route = ["exec", "ip", "route", "replace", &address, "via", way];
        world.cluster.script(&route).unwrap();
        Self {
            world,
            access: keys::access(world, "talk").await,
            address: address.parse().unwrap(),
        }
    }

    /// The URL of a Session on it.
    pub fn url(&self, session: &str) -> String {
        format!("wss://{}:{PORT}/v1/sessions/{session}", self.address)
    }

    /// The replicas that serve, with the number of connections that each passes on.
    pub async fn replicas(&self) -> BTreeMap<String, u64> {
        let token = self.access.sign(Role::Monitor, "*", LIFE).unwrap();
        let asker = Asker {
            access: &self.access,
            name: NAME,
            port: PORT,
        };
        let labels = "app.kubernetes.io/component=gateway";
        let pods = ListParams::default().labels(labels);
        let mut found = BTreeMap::new();
        for pod in self.world.pods.list(&pods).await.unwrap() {
            let ip = pod.status.and_then(|status| status.pod_ip?.parse().ok());
            let (Some(name), Some(ip)) = (pod.metadata.name, ip) else {
                continue;
            };
            // One that is not well does not answer.
            let asked = asker.ask(ip, (Method::GET, "/v1/status"), Some(&token));
            if let Ok(answer) = asked.await
                && answer.body["ready"] == true
            {
                found.insert(name, answer.body["connections"].as_u64().unwrap());
            }
        }
        found
    }

    /// Waits until one of both replicas passes a connection on: its name.
    pub async fn carrier(&self) -> String {
        let mut found = None;
        until("a gateway passes the connection on", async || {
            let replicas = self.replicas().await;
            let mut carrying = replicas.iter().filter(|(_, count)| **count > 0);
            found = carrying.next().map(|(name, _)| name.clone());
            found.is_some() && carrying.next().is_none() && replicas.len() == 2
        })
        .await;
        found.unwrap()
    }

    /// Waits until the connection is passed on again: by whom.
    pub async fn resumed(&self) -> String {
        let mut found = None;
        until("the connection is resumed", async || {
            let replicas = self.replicas().await;
            found = replicas.into_iter().find(|(_, count)| *count > 0);
            found.is_some()
        })
        .await;
        found.unwrap().0
    }
}
