//! What is special about the Secret of a cluster's gateway: its names and its token.

use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt;
use mafalda_token::{Claims, KeyError, Limits, Role, sign};
use std::collections::BTreeSet;
use std::time::Duration;

/// Label of the chart's things, with [`COMPONENT`] for the gateway's.
const COMPONENT_LABEL: &str = "app.kubernetes.io/component";
/// What the gateway's Service is labelled as, besides the MafaldaCluster's name.
const COMPONENT: &str = "gateway";

/// How long the gateway's token is good. It is written again after half of that; the kubelet brings it
/// within minutes.
pub const TOKEN_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// A token that reads what pods say of themselves, and no more.
///
/// # Errors
/// The key signs nothing.
pub fn token(cluster: &str, private_key: &str, now: Duration) -> Result<String, KeyError> {
    let claims = Claims {
        aud: cluster.to_owned(),
        sub: Some(COMPONENT.to_owned()),
        role: Role::Monitor,
        session: "*".to_owned(),
        limits: Limits::default(),
        exp: (now + TOKEN_LIFE).as_secs(),
    };
    sign(private_key.as_bytes(), &claims)
}

/// What a cluster's gateway is called, by its Services among all that are the cluster's: their names in
/// DNS, and the addresses that they have.
pub fn names<'a>(services: impl Iterator<Item = &'a Service>) -> Vec<String> {
    let is_gateway = |service: &&Service| {
        let component = service.labels().get(COMPONENT_LABEL);
        component.is_some_and(|component| component == COMPONENT)
    };
    let names: BTreeSet<String> = services.filter(is_gateway).flat_map(names_of).collect();
    names.into_iter().collect()
}

fn names_of(service: &Service) -> Vec<String> {
    let (name, namespace) = (service.name_any(), service.namespace().unwrap_or_default());
    let mut names = vec![
        format!("{name}.{namespace}.svc.cluster.local"),
        format!("{name}.{namespace}.svc"),
        format!("{name}.{namespace}"),
        name,
    ];
    let addresses = service.spec.iter().flat_map(|spec| {
        let addresses = spec.cluster_ips.iter().flatten();
        // A headless one has the word `None`.
        addresses.filter(|address| address.parse::<std::net::IpAddr>().is_ok())
    });
    names.extend(addresses.cloned());
    let balancer = service
        .status
        .iter()
        .filter_map(|status| status.load_balancer.as_ref()?.ingress.as_ref())
        .flatten();
    for ingress in balancer {
        names.extend(ingress.ip.clone());
        names.extend(ingress.hostname.clone());
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use mafalda_token::{Verifier, generate_keys};
    use serde_json::{from_value, json};

    /// Protects who calls the gateway by any of its names, and the pods' Services from being taken
    /// for one.
    #[test]
    fn a_gateway_is_called_as_its_service_is() {
        let service = |component: &str, address: &str| -> Service {
            from_value(json!({
                "metadata": {
                    "name": "g",
                    "namespace": "n",
                    "labels": {COMPONENT_LABEL: component},
                },
                "spec": {"clusterIPs": [address]},
                "status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.7"}]}},
            }))
            .unwrap()
        };
        let of = |services: &[Service]| names(services.iter());
        assert_eq!(
            of(&[service("gateway", "10.0.0.7")]),
            [
                "10.0.0.7",
                "203.0.113.7",
                "g",
                "g.n",
                "g.n.svc",
                "g.n.svc.cluster.local"
            ]
        );
        assert!(!of(&[service("gateway", "None")]).contains(&"None".to_owned()));
        assert!(of(&[service("media-pod", "10.0.0.7")]).is_empty());
    }

    /// Protects the cluster from who takes over its gateway.
    #[test]
    fn its_token_reads_and_ends() {
        let keys = generate_keys().unwrap();
        let verifier = Verifier::new(keys.public.as_bytes(), "c").unwrap();
        let now = Duration::from_secs(mafalda_token::expiry(Duration::ZERO));
        let good = token("c", &keys.private, now).unwrap();
        assert_eq!(verifier.verify(Some(&good)).unwrap().role, Role::Monitor);
        let before = now.saturating_sub(TOKEN_LIFE * 2);
        let old = token("c", &keys.private, before).unwrap();
        assert!(verifier.verify(Some(&old)).is_err());
    }
}
