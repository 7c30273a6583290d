//! The address that clients are told to send a media pod's media to.

use crate::crd::{AddressFamily, AddressSource, ExposureType, MafaldaClusterSpec};
use crate::names::RTC_PORT;
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use kube::ResourceExt;
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

/// The addresses of a pod, one of each family that is asked for, the preferred one first. A host name,
/// as some balancers have, is one of IPv4.
///
/// With NodePort they are known only when the pod's Service has its ports, and with LoadBalancer when
/// it is there: without, an address leads nowhere.
///
/// # Errors
/// Why one of them is not known.
pub fn resolve(
    spec: &MafaldaClusterSpec,
    pod: &Pod,
    node: Option<&Node>,
    service: Option<&Service>,
) -> Result<Vec<String>, Unknown> {
    let has_way_in = match spec.exposure.type_ {
        ExposureType::NodePort => has_node_port(pod, service),
        ExposureType::LoadBalancer => service.is_some(),
        ExposureType::HostPort | ExposureType::HostNetwork | ExposureType::Internal => true,
    };
    if !has_way_in {
        return Err(Unknown::NotYet);
    }
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
                .filter(|address| is_ip(address))
                .collect()
        }
        Source::Annotation => {
            let node = node.ok_or(Unknown::NotYet)?;
            let key = wanted.annotation.as_deref().unwrap_or_default();
            let text = node.metadata.annotations.iter().flatten();
            let text = text.filter(|(name, _)| *name == key).map(|(_, text)| text);
            let parts = text.flat_map(|text| text.split(','));
            let parts = parts.map(|part| part.trim().to_owned());
            parts.filter(|part| is_ip(part)).collect()
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

/// Whether the pod's Service leads to its first worker on the node port that the pod has for it.
fn has_node_port(pod: &Pod, service: Option<&Service>) -> bool {
    let wanted = pod.annotations().get(RTC_PORT);
    let wanted = wanted.and_then(|port| port.parse::<i32>().ok());
    let spec = service.and_then(|service| service.spec.as_ref());
    let mut ports = spec
        .into_iter()
        .flat_map(|spec| spec.ports.iter().flatten());
    wanted.is_some() && ports.any(|port| port.node_port == wanted)
}

/// Addresses before names: those cost clients no look-up.
fn of_service(service: Option<&Service>) -> Result<Vec<String>, Unknown> {
    let status = service.and_then(|service| service.status.as_ref());
    let balancer = status.and_then(|status| status.load_balancer.as_ref());
    let ingress: Vec<_> = balancer
        .into_iter()
        .flat_map(|balancer| balancer.ingress.iter().flatten())
        .collect();
    let ips = ingress.iter().filter_map(|ingress| ingress.ip.clone());
    let names = ingress
        .iter()
        .filter_map(|ingress| ingress.hostname.clone());
    let found: Vec<String> = ips.chain(names).filter(|text| !text.is_empty()).collect();
    if found.is_empty() {
        Err(Unknown::NotYet)
    } else {
        Ok(found)
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
        Source::Service => format!(
            "the pod's Service has no address of family {family:?} from its balancer, and a host name \
             is announced as one of IPv4: say it in spec.announcedAddress (source Fixed), or announce \
             the families that it has"
        ),
        Source::PodIp => format!("the pod has no IP of family {family:?}"),
    }
}

fn is_ip(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok()
}

fn is_of(address: &str, family: AddressFamily) -> bool {
    match (address.parse(), family) {
        (Ok(IpAddr::V4(_)), AddressFamily::IPv4) | (Ok(IpAddr::V6(_)), AddressFamily::IPv6) => true,
        // A host name: media pods listen on IPv4 for it.
        (Err(_), AddressFamily::IPv4) => !address.is_empty(),
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
        serde_json::from_value(json!({
            "metadata": {"annotations": {"mafalda.dev/rtc-port": "30000"}},
            "status": {
                "hostIPs": [{"ip": "10.0.0.1"}],
                "podIPs": [{"ip": "10.244.0.5"}, {"ip": "fd00:244::5"}],
            },
        }))
        .unwrap()
    }

    fn service(ingress: Value) -> Service {
        serde_json::from_value(json!({
            "spec": {"ports": [{"port": 30000, "nodePort": 30000}]},
            "status": {"loadBalancer": {"ingress": ingress}},
        }))
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
            (
                json!({"families": ["IPv6"]}),
                "Internal",
                vec!["fd00:244::5"],
            ),
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
            let service = service(json!([{"hostname": "lb.example"}, {"ip": "198.51.100.4"}]));
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

    /// Protects who has a balancer with a name and no address, as on AWS.
    #[test]
    fn a_balancers_name_is_announced() {
        let service = service(json!([{"hostname": "lb.example"}]));
        let of = |families: Value| {
            let spec = spec(json!({"families": families}), "LoadBalancer");
            resolve(&spec, &pod(), Some(&node()), Some(&service))
        };
        assert_eq!(of(json!(["IPv4"])), Ok(vec!["lb.example".to_owned()]));
        for families in [json!(["IPv6"]), json!(["IPv4", "IPv6"])] {
            match of(families) {
                Err(Unknown::Missing(text)) => assert!(text.contains("host name"), "{text}"),
                other => panic!("{other:?}"),
            }
        }
    }

    /// Protects clients from a node's address behind which no Service listens.
    #[test]
    fn a_node_port_is_known_with_its_service() {
        for source in ["NodeExternalIP", "NodeInternalIP"] {
            let spec = spec(json!({"source": source}), "NodePort");
            let of = |service| resolve(&spec, &pod(), Some(&node()), service);
            assert_eq!(of(None), Err(Unknown::NotYet));
            let mut other = service(json!([]));
            other.spec.as_mut().unwrap().ports.as_mut().unwrap()[0].node_port = Some(30_001);
            assert_eq!(of(Some(&other)), Err(Unknown::NotYet));
            assert!(of(Some(&service(json!([])))).is_ok());
        }
    }

    #[test]
    fn what_comes_later_is_waited_for() {
        for exposure in ["HostPort", "NodePort", "LoadBalancer", "Internal"] {
            let spec = spec(json!({}), exposure);
            let found = resolve(&spec, &Pod::default(), None, None);
            assert_eq!(found, Err(Unknown::NotYet), "{exposure}");
        }
    }
}
