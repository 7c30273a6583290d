//! How media reaches a pod: the way in, the ports, and the address that clients are told.

use super::schema;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How media gets from outside to the media pods.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Exposure {
    /// HostPort: ports of the pod's node lead to the pod. HostNetwork: the pod uses the node's
    /// network itself, the least overhead. NodePort: a Service of each pod takes ports on every
    /// node. LoadBalancer: a Service of each pod has an address of its own. Internal: clients
    /// reach the pod's own address. With HostPort, NodePort and LoadBalancer the ports of portRange
    /// lead to the pod's shared workers alone: plain transports, and applications whose workers have
    /// a process of their own, need HostNetwork or Internal. Default: HostPort.
    #[serde(default, rename = "type")]
    pub type_: ExposureType,

    /// The ports for media, UDP and TCP: each worker takes one, pods on one node share the range.
    /// Open it in the firewall. With NodePort it must lie within 30000 to 32767, and no two pods of
    /// the Kubernetes cluster share a port. A change replaces the media pods. Default: 40000 to 40999.
    #[serde(default)]
    pub port_range: PortRange,
}

/// A way in.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "`Exposure::type_` says what each is")]
pub enum ExposureType {
    #[default]
    HostPort,
    HostNetwork,
    NodePort,
    LoadBalancer,
    Internal,
}

/// A range of ports, both ends in it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.first <= self.last")
        .message("spec.exposure.portRange.first must not be more than spec.exposure.portRange.last")
        .field_path(".first")
)]
pub struct PortRange {
    /// The lowest port: 1024 to 65535. Default: 40000.
    #[serde(default = "default_first")]
    #[schemars(range(min = 1024, max = 65535))]
    pub first: u16,

    /// The highest port: 1024 to 65535. Default: 40999.
    #[serde(default = "default_last")]
    #[schemars(range(min = 1024, max = 65535))]
    pub last: u16,
}

/// The address that clients are told to send media to.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(
        "(has(self.source) && self.source == 'Fixed') == (has(self.addresses) && \
         size(self.addresses) > 0)"
    )
    .message(
        "spec.announcedAddress.addresses must be set when spec.announcedAddress.source is Fixed, \
         and only then"
    )
    .field_path(".addresses"),
    validation = Rule::new(
        "(has(self.source) && self.source == 'Annotation') == has(self.annotation)"
    )
    .message(
        "spec.announcedAddress.annotation must be set when spec.announcedAddress.source is \
         Annotation, and only then"
    )
    .field_path(".annotation"),
    validation = Rule::new(
        "!has(self.addresses) || size(self.addresses) == 0 || \
         !self.addresses.all(a, isIP(a)) || (size(self.addresses) == size(self.families) && \
         self.families.all(f, self.addresses.exists_one(a, \
         ip(a).family() == (f == 'IPv4' ? 4 : 6))))"
    )
    .message(
        "spec.announcedAddress.addresses must hold one address for each of \
         spec.announcedAddress.families"
    )
    .field_path(".addresses")
)]
pub struct AnnouncedAddress {
    /// NodeExternalIP, NodeInternalIP: the address of that type that the pod's Node has. HostIP:
    /// the pod's status.hostIPs. Fixed: `addresses`, for all pods, as behind one NAT. Annotation:
    /// what the pod's Node has in the annotation `annotation`. Default: NodeExternalIP with
    /// HostPort, HostNetwork and NodePort, the address or host name of the Service's balancer with
    /// LoadBalancer, the pod's own with Internal; with those two only Fixed and Annotation are allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<AddressSource>,

    /// The families to announce an address of, the preferred one first: IPv4, IPv6 or both. Every
    /// one must be known before a pod takes sessions, and a pod's Service is of these. A host name is
    /// announced as one of IPv4. Default: IPv4.
    #[serde(default = "default_families")]
    #[schemars(length(min = 1, max = 2))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    #[x_kube(
        validation = Rule::new("size(self) < 2 || self[0] != self[1]")
            .message("spec.announcedAddress.families must not name a family twice")
    )]
    pub families: Vec<AddressFamily>,

    /// With source Fixed: an IP address for each of `families`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2), inner(length(max = 45)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    #[x_kube(
        validation = Rule::new("self.all(a, isIP(a))")
            .message(
                "spec.announcedAddress.addresses must be IP addresses, as 203.0.113.7 or \
                 2001:db8::7"
            )
    )]
    pub addresses: Vec<String>,

    /// With source Annotation: the key of an annotation of Nodes. Its value is an IP address, or
    /// one of each family with a comma between.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 317))]
    #[x_kube(
        validation = Rule::new(schema::LABEL_KEY)
            .message(
                "spec.announcedAddress.annotation must be the key of an annotation, as \
                 example.com/public-ip"
            )
    )]
    pub annotation: Option<String>,
}

/// Where the announced address is found.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "`AnnouncedAddress::source` says what each is")]
pub enum AddressSource {
    NodeExternalIP,
    NodeInternalIP,
    HostIP,
    Fixed,
    Annotation,
}

/// A family of IP addresses.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "their names")]
pub enum AddressFamily {
    IPv4,
    IPv6,
}

impl Default for PortRange {
    fn default() -> Self {
        Self {
            first: default_first(),
            last: default_last(),
        }
    }
}

impl Default for AnnouncedAddress {
    fn default() -> Self {
        Self {
            source: None,
            families: default_families(),
            addresses: Vec::new(),
            annotation: None,
        }
    }
}

fn default_first() -> u16 {
    40_000
}

fn default_last() -> u16 {
    40_999
}

fn default_families() -> Vec<AddressFamily> {
    vec![AddressFamily::IPv4]
}
