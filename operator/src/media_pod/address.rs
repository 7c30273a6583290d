//! The address that clients are told to send a media pod's media to.

use crate::crd::{AddressFamily, AddressSource, ExposureType, MafaldaClusterSpec};
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use std::fmt;
use std::net::IpAddr;

/// Why a media pod's address is not known. It takes no session then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// It will be: the pod has no node yet, or the Service no address.
    NotYet,
    /// It will not be unless somebody does something: what is missing.
    Missing(String),
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotYet => f.write_str("the address is not known yet"),
            Self::Missing(what) => f.write_str(what),
        }
    }
}

/// Where the address of a cluster's pods is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// An address of that type in the Node's status.
    Node(&'static str),
    HostIp,
    Fixed,
    Annotation,
    Service,
    PodIp,
}

/// Where to look: what the spec says, else what fits its exposure.
pub fn source(spec: &MafaldaClusterSpec) -> Source {
    match (spec.announced_address.source, spec.exposure.type_) {
        (Some(AddressSource::NodeExternalIP), _) => Source::Node("ExternalIP"),
        (Some(AddressSource::NodeInternalIP), _) => Source::Node("InternalIP"),
        (Some(AddressSource::HostIP), _) => Source::HostIp,
        (Some(AddressSource::Fixed), _) => Source::Fixed,
        (Some(AddressSource::Annotation), _) => Source::Annotation,
        (None, ExposureType::LoadBalancer) => Source::Service,
        (None, ExposureType::Internal) => Source::PodIp,
        (None, ExposureType::HostPort | ExposureType::HostNetwork | ExposureType::NodePort) => {
            Source::Node("ExternalIP")
        }
    }
}

/// The addresses of a pod, one of each family that is asked for, the preferred one first.
///
/// # Errors
/// Why one of them is not known.
pub fn resolve(
    spec: &MafaldaClusterSpec,
    pod: &Pod,
    node: Option<&Node>,
    service: Option<&Service>,
) -> Result<Vec<String>, Unknown> {
    let wanted = &spec.announced_address;
    let found = match source(spec) {
        Source::Fixed => wanted.addresses.clone(),
        Source::PodIp => {
            let ips = pod.status.iter().flat_map(|s| s.pod_ips.iter().flatten());
            let ips: Vec<String> = ips.map(|ip| ip.ip.clone()).collect();
            if ips.is_empty() {
                return Err(Unknown::NotYet);
            }
            ips
        }
        Source::HostIp => {
            let ips = pod.status.iter().flat_map(|s| s.host_ips.iter().flatten());
            let ips: Vec<String> = ips.map(|ip| ip.ip.clone()).collect();
            if ips.is_empty() {
                return Err(Unknown::NotYet);
            }
            ips
        }
        Source::Service => of_service(service)?,
        Source::Node(kind) => {
            let node = node.ok_or(Unknown::NotYet)?;
            let addresses = node
                .status
                .iter()
                .flat_map(|s| s.addresses.iter().flatten());
            addresses
                .filter(|address| address.type_ == kind)
                .map(|address| address.address.clone())
                .collect()
        }
        Source::Annotation => {
            let node = node.ok_or(Unknown::NotYet)?;
            let key = wanted.annotation.as_deref().unwrap_or_default();
            let text = node.metadata.annotations.iter().flatten();
            let text = text.filter(|(name, _)| *name == key).map(|(_, text)| text);
            let parts = text.flat_map(|text| text.split(','));
            parts.map(|part| part.trim().to_owned()).collect()
        }
    };
    let one_of = |family: &AddressFamily| {
        let fits = |address: &&String| is_of(address, *family);
        found.iter().find(fits).cloned().ok_or_else(|| {
            let node = node.and_then(|node| node.metadata.name.as_deref());
            Unknown::Missing(missing(spec, node.unwrap_or("unknown"), *family))
        })
    };
    wanted.families.iter().map(one_of).collect()
}

fn of_service(service: Option<&Service>) -> Result<Vec<String>, Unknown> {
    let status = service.and_then(|service| service.status.as_ref());
    let balancer = status.and_then(|status| status.load_balancer.as_ref());
    let ingress = balancer.and_then(|balancer| balancer.ingress.as_ref());
    let ips: Vec<String> = ingress
        .into_iter()
        .flatten()
        .filter_map(|ingress| ingress.ip.clone())
        .collect();
    if ips.is_empty() {
        Err(Unknown::NotYet)
    } else {
        Ok(ips)
    }
}

/// What somebody has to do something about.
fn missing(spec: &MafaldaClusterSpec, node: &str, family: AddressFamily) -> String {
    match source(spec) {
        Source::Node(kind) => format!(
            "node {node} has no {kind} of family {family:?}: give it one, or choose another spec.announcedAddress.source"
        ),
        Source::HostIp => format!("the pod's host {node} has no IP of family {family:?}"),
        Source::Fixed => format!("spec.announcedAddress.addresses has none of family {family:?}"),
        Source::Annotation => format!(
            "node {node} has no address of family {family:?} in the annotation {}",
            spec.announced_address
                .annotation
                .as_deref()
                .unwrap_or_default()
        ),
        Source::Service => format!("the pod's Service has no address of family {family:?}"),
        Source::PodIp => format!("the pod has no IP of family {family:?}"),
    }
}

fn is_of(address: &str, family: AddressFamily) -> bool {
    match (address.parse(), family) {
        (Ok(IpAddr::V4(_)), AddressFamily::IPv4) | (Ok(IpAddr::V6(_)), AddressFamily::IPv6) => true,
        (Ok(_) | Err(_), _) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn spec(announced: Value, exposure: &str) -> MafaldaClusterSpec {
        let spec = json!({"announcedAddress": announced, "exposure": {"type": exposure}});
        serde_json::from_value(spec).unwrap()
    }

    fn node() -> Node {
        serde_json::from_value(json!({
            "metadata": {"name": "n1", "annotations": {"a.b/ip": "203.0.113.9, 2001:db8::9"}},
            "status": {"addresses": [
                {"type": "Hostname", "address": "n1"},
                {"type": "InternalIP", "address": "10.0.0.1"},
                {"type": "InternalIP", "address": "fd00::1"},
                {"type": "ExternalIP", "address": "203.0.113.1"},
            ]},
        }))
        .unwrap()
    }

    fn pod() -> Pod {
        serde_json::from_value(json!({"status": {
            "hostIPs": [{"ip": "10.0.0.1"}],
            "podIPs": [{"ip": "10.244.0.5"}],
        }}))
        .unwrap()
    }

    /// Protects clients from an address that leads nowhere, whatever a cluster says of itself.
    #[test]
    fn each_source_gives_its_own_address() {
        let both = json!(["IPv6", "IPv4"]);
        for (announced, exposure, addresses) in [
            (json!({}), "HostPort", vec!["203.0.113.1"]),
            (json!({}), "NodePort", vec!["203.0.113.1"]),
            (json!({}), "Internal", vec!["10.244.0.5"]),
            (json!({}), "LoadBalancer", vec!["198.51.100.4"]),
            (
                json!({"source": "NodeInternalIP"}),
                "HostPort",
                vec!["10.0.0.1"],
            ),
            (
                json!({"source": "NodeInternalIP", "families": both}),
                "HostNetwork",
                vec!["fd00::1", "10.0.0.1"],
            ),
            (json!({"source": "HostIP"}), "HostPort", vec!["10.0.0.1"]),
            (
                json!({"source": "Fixed", "addresses": ["192.0.2.1"]}),
                "HostPort",
                vec!["192.0.2.1"],
            ),
            (
                json!({"source": "Annotation", "annotation": "a.b/ip", "families": both}),
                "Internal",
                vec!["2001:db8::9", "203.0.113.9"],
            ),
        ] {
            let service: Service = serde_json::from_value(json!({"status": {"loadBalancer":
                {"ingress": [{"hostname": "lb.example"}, {"ip": "198.51.100.4"}]}}}))
            .unwrap();
            let spec = spec(announced, exposure);
            let found = resolve(&spec, &pod(), Some(&node()), Some(&service));
            assert_eq!(found.unwrap(), addresses, "{:?}", spec.announced_address);
        }
    }

    /// Protects people from a pod that waits for ever without a word.
    #[test]
    fn what_is_missing_is_said() {
        for (announced, word) in [
            (json!({"families": ["IPv6"]}), "ExternalIP of family IPv6"),
            (
                json!({"source": "HostIP", "families": ["IPv6"]}),
                "family IPv6",
            ),
            (
                json!({"source": "Annotation", "annotation": "no/ne"}),
                "no/ne",
            ),
        ] {
            let spec = spec(announced, "HostPort");
            match resolve(&spec, &pod(), Some(&node()), None) {
                Err(Unknown::Missing(text)) => assert!(text.contains(word), "{text}"),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn what_comes_later_is_waited_for() {
        for exposure in ["HostPort", "LoadBalancer", "Internal"] {
            let spec = spec(json!({}), exposure);
            let found = resolve(&spec, &Pod::default(), None, None);
            assert_eq!(found, Err(Unknown::NotYet), "{exposure}");
        }
    }
}
