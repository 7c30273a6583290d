//! MafaldaCluster: a pool of media pods and how the world reaches them.

use super::exposure::{AnnouncedAddress, Exposure};
use super::pod_template::PodTemplate;
use super::schema;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a MafaldaCluster should be.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "mafalda.dev",
    version = "v1alpha1",
    kind = "MafaldaCluster",
    plural = "mafaldaclusters",
    shortname = "mfc",
    category = "mafalda",
    namespaced,
    doc = "A pool of media pods: mediasoup workers that sessions run on. The operator starts, \
           drains and replaces the pods by itself; `kubectl scale` sets spec.pool.min.",
    status = "MafaldaClusterStatus",
    derive = "PartialEq",
    scale(
        spec_replicas_path = ".spec.pool.min",
        status_replicas_path = ".status.pods",
        label_selector_path = ".status.selector"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        description = "Whether new sessions can be placed: the condition Ready",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "Pods",
        type_ = "integer",
        description = "Media pods that there are",
        json_path = ".status.pods"
    ),
    printcolumn(
        name = "Serving",
        type_ = "integer",
        description = "Media pods that take new sessions",
        json_path = ".status.ready"
    ),
    printcolumn(
        name = "Draining",
        type_ = "integer",
        description = "Media pods that take none and end with their last session",
        json_path = ".status.draining"
    ),
    printcolumn(
        name = "Sessions",
        type_ = "integer",
        description = "Sessions that are placed",
        json_path = ".status.sessions"
    ),
    printcolumn(
        name = "Load%",
        type_ = "integer",
        description = "Busy share of the serving pods' workers, in percent",
        json_path = ".status.utilization"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        description = "Why it is ready, or is not",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason"
    ),
    printcolumn(
        name = "Exposure",
        type_ = "string",
        description = "How media reaches the pods",
        json_path = ".spec.exposure.type",
        priority = 1
    ),
    printcolumn(
        name = "Participants",
        type_ = "integer",
        description = "Participants of all sessions",
        json_path = ".status.participants",
        priority = 1
    ),
    printcolumn(
        name = "Version",
        type_ = "string",
        description = "mediasoup's versions in the pool",
        json_path = ".status.versions[*].mediasoup",
        priority = 1
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    validation = Rule::new(
        "self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$') && size(self.metadata.name) \
         <= 50"
    )
    .message(
        "metadata.name must be 1 to 50 small letters, digits and hyphens, with a letter first: \
         pods and Services are named after it"
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(
        "has(self.tokenKeySecretName) == has(oldSelf.tokenKeySecretName) && \
         (!has(self.tokenKeySecretName) || self.tokenKeySecretName == oldSelf.tokenKeySecretName)"
    )
    .message(
        "spec.tokenKeySecretName is immutable: running pods and tokens hang on it; to change the \
         key, change the Secret"
    )
    .field_path(".tokenKeySecretName")
    .reason(Reason::FieldValueForbidden),
    validation = Rule::new(
        "self.exposure.type != 'NodePort' || (self.exposure.portRange.first >= 30000 && \
         self.exposure.portRange.last <= 32767)"
    )
    .message(
        "spec.exposure.portRange must lie within 30000 to 32767 when spec.exposure.type is \
         NodePort"
    )
    .field_path(".exposure.portRange"),
    validation = Rule::new(
        "!has(self.announcedAddress.source) || !(self.exposure.type in ['LoadBalancer', \
         'Internal']) || self.announcedAddress.source in ['Fixed', 'Annotation']"
    )
    .message(
        "spec.announcedAddress.source must be Fixed or Annotation, or be left out, when \
         spec.exposure.type is LoadBalancer or Internal: a node's address does not lead to the \
         pod then"
    )
    .field_path(".announcedAddress.source"),
    validation = Rule::new(
        "!has(self.workersPerPod) || self.exposure.portRange.last - self.exposure.portRange.first \
         + 1 >= self.workersPerPod"
    )
    .message(
        "spec.exposure.portRange must hold at least spec.workersPerPod ports: each worker takes \
         one"
    )
    .field_path(".exposure.portRange")
)]
pub struct MafaldaClusterSpec {
    /// How many media pods there are. Default: 1 to 3, 1 of them spare.
    #[serde(default)]
    pub pool: Pool,

    /// Workers in each media pod, each one process on one core: 1 to 256. Default: the CPU limit
    /// in podTemplate.resources rounded up, without a limit the cores of the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 256))]
    pub workers_per_pod: Option<u16>,

    /// How media gets from outside to the media pods. Default: HostPort.
    #[serde(default)]
    pub exposure: Exposure,

    /// The address that clients are told to send media to. A media pod whose address is unknown
    /// takes no session, and the condition AddressResolved says why. Default: what fits the
    /// exposure, IPv4.
    #[serde(default)]
    pub announced_address: AnnouncedAddress,

    /// Busy share of a worker, in percent of its core, above which nothing new is placed on it:
    /// 10 to 95. A change replaces the media pods. Default: 60, as the load of what was placed last
    /// still grows.
    #[serde(default = "default_watermark")]
    #[schemars(range(min = 10, max = 95))]
    pub watermark_percent: u8,

    /// How media goes from worker to worker, within a media pod and between them. Default: as it
    /// is, not encrypted.
    #[serde(default)]
    pub pipes: Pipes,

    /// How long a draining media pod waits for its sessions to end, in seconds: 0 to 86400 (a
    /// day). Sessions that are left after it are moved to another pod. A change replaces the media
    /// pods, and those of before drain for as long as they were made with. Default: 3600.
    #[serde(default = "default_drain_deadline")]
    #[schemars(range(min = 0, max = 86_400))]
    pub drain_deadline_seconds: u32,

    /// What the media pods are made with: image, resources, where they may run. A change replaces
    /// them, a quarter of the pool at once at most: new pods first, then the old ones drain.
    #[serde(default)]
    pub pod_template: PodTemplate,

    /// The Secret of this namespace with the key pair that signs tokens: `private.pem` and
    /// `public.pem` (Ed25519). It is made when it is not there. Immutable. Default: the cluster's
    /// name with `-token-key` behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    #[x_kube(
        validation = Rule::new(schema::DNS_NAME)
            .message(
                "spec.tokenKeySecretName must be a name as Kubernetes takes it: small letters, \
                 digits, '-' and '.', a letter or digit at both ends"
            )
    )]
    pub token_key_secret_name: Option<String>,
}

/// How many media pods there are.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.min <= self.max")
        .message("spec.pool.min must not be more than spec.pool.max")
        .field_path(".min"),
    validation = Rule::new("self.spare <= self.max")
        .message("spec.pool.spare must not be more than spec.pool.max")
        .field_path(".spare")
)]
pub struct Pool {
    /// Media pods that are always there, also without a session: 0 to 1000. `kubectl scale` and a
    /// HorizontalPodAutoscaler set this number; what the sessions need comes on top by itself.
    /// Default: 1.
    #[serde(default = "default_min")]
    #[schemars(range(min = 0, max = 1000))]
    pub min: u32,

    /// Media pods at most: 1 to 1000. Sessions that find no room wait, and the condition
    /// Saturated says so. Default: 3.
    #[serde(default = "default_max")]
    #[schemars(range(min = 1, max = 1000))]
    pub max: u32,

    /// Free capacity that is kept ready for the next sessions, in media pods: 0 to 100. Without
    /// it a session that finds no room waits until a pod has started. Default: 1.
    #[serde(default = "default_spare")]
    #[schemars(range(min = 0, max = 100))]
    pub spare: u32,
}

/// How media goes from worker to worker. A change is a rolling upgrade of the media pods.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Pipes {
    /// Off: not encrypted. BetweenPods: encrypted from media pod to media pod, where the network
    /// is not trusted. On: also between the workers of a pod. Default: Off.
    #[serde(default)]
    pub srtp: Between,

    /// Whether what is lost on the way is sent again. Off: no. BetweenPods: from media pod to media
    /// pod, where the network loses packets. On: also between the workers of a pod. Default: Off.
    #[serde(default)]
    pub rtx: Between,
}

/// Which pipes something is for.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields of `Pipes` say what each is")]
pub enum Between {
    #[default]
    Off,
    BetweenPods,
    On,
}

impl Between {
    /// The word of the media pod's options.
    pub fn option(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::BetweenPods => "pods",
            Self::On => "on",
        }
    }
}

/// What the operator saw.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct MafaldaClusterStatus {
    /// Media pods that there are, in any state.
    #[serde(default)]
    pub pods: u32,

    /// Media pods that take new sessions.
    #[serde(default)]
    pub ready: u32,

    /// Media pods that take no new session and end with their last one.
    #[serde(default)]
    pub draining: u32,

    /// Sessions that are placed on a media pod.
    #[serde(default)]
    pub sessions: u32,

    /// Participants of all sessions, as Session.status.participants counts them. Written at most
    /// every 30 seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub participants: Option<u64>,

    /// Busy share of the workers of all ready media pods, a whole number of percent of their cores:
    /// 0 to 100. Written at most every 30 seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub utilization: Option<u8>,

    /// The versions in the pool, more than one while an upgrade is under way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["mediasoup".into()]))]
    pub versions: Vec<PodVersion>,

    /// The label selector of the media pods, for the scale subresource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,

    /// Ready: new sessions can be placed. AddressResolved: the announced address of every media
    /// pod is known. Saturated: the pool is at its maximum and has no room. Progressing: media
    /// pods are being added, drained or replaced.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,

    /// The metadata.generation that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// Media pods of one version.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PodVersion {
    /// mediasoup's version, which applications must match.
    pub mediasoup: String,
    /// Media pods that run it.
    pub pods: u32,
}

impl Default for MafaldaClusterSpec {
    fn default() -> Self {
        Self {
            pool: Pool::default(),
            workers_per_pod: None,
            exposure: Exposure::default(),
            announced_address: AnnouncedAddress::default(),
            watermark_percent: default_watermark(),
            pipes: Pipes::default(),
            drain_deadline_seconds: default_drain_deadline(),
            pod_template: PodTemplate::default(),
            token_key_secret_name: None,
        }
    }
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            min: default_min(),
            max: default_max(),
            spare: default_spare(),
        }
    }
}

fn default_min() -> u32 {
    1
}

fn default_max() -> u32 {
    3
}

fn default_spare() -> u32 {
    1
}

fn default_watermark() -> u8 {
    60
}

fn default_drain_deadline() -> u32 {
    3600
}
