//! Session: a named virtual worker that applications use, on the pods of a MafaldaCluster.

use super::schema;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a Session should be.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "mafalda.dev",
    version = "v1alpha1",
    kind = "Session",
    plural = "sessions",
    shortname = "mfs",
    category = "mafalda",
    namespaced,
    doc = "A session: one virtual mediasoup worker with its participants. When its phase is \
           Active, an application connects to status.endpoint with the token in the Secret that \
           status.tokenSecretName names.",
    status = "SessionStatus",
    derive = "PartialEq",
    selectable = ".spec.clusterRef.name",
    printcolumn(
        name = "Phase",
        type_ = "string",
        description = "Pending, Active, Recovering or Ended",
        json_path = ".status.phase"
    ),
    printcolumn(
        name = "Cluster",
        type_ = "string",
        description = "The MafaldaCluster that it runs on",
        json_path = ".spec.clusterRef.name"
    ),
    printcolumn(
        name = "Participants",
        type_ = "integer",
        description = "Participants now, written at most every 30 s",
        json_path = ".status.participants"
    ),
    printcolumn(
        name = "Home",
        type_ = "string",
        description = "The media pod that runs it",
        json_path = ".status.homePod"
    ),
    printcolumn(
        name = "Generation",
        type_ = "integer",
        description = "How often it was placed",
        json_path = ".status.generation"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        description = "Why it is in its phase",
        json_path = ".status.lastReason"
    ),
    printcolumn(
        name = "Endpoint",
        type_ = "string",
        description = "Where its application connects",
        json_path = ".status.endpoint",
        priority = 1
    ),
    printcolumn(
        name = "Pods",
        type_ = "string",
        description = "All media pods that it is on",
        json_path = ".status.pods",
        priority = 1
    ),
    printcolumn(
        name = "Version",
        type_ = "string",
        description = "mediasoup's version on its home pod",
        json_path = ".status.mediasoupVersion",
        priority = 1
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    validation = Rule::new("size(self.metadata.name) <= 63 && !self.metadata.name.contains('.')")
        .message(
            "metadata.name must be at most 63 small letters, digits and hyphens: it is the \
             session's name in labels, URLs and tokens"
        )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.expectedParticipants <= self.maxParticipants")
        .message("spec.expectedParticipants must not be more than spec.maxParticipants")
        .field_path(".expectedParticipants")
)]
pub struct SessionSpec {
    /// The MafaldaCluster of this namespace that the session runs on. Immutable.
    #[x_kube(
        validation = Rule::new("self == oldSelf")
            .message("spec.clusterRef is immutable: make a new Session on the other cluster")
            .reason(Reason::FieldValueForbidden)
    )]
    pub cluster_ref: ClusterRef,

    /// Participants to expect, each sending and receiving: 1 to 100000. A pod with room for them
    /// is looked for; more may join. Default: 10.
    #[serde(default = "default_expected")]
    #[schemars(range(min = 1, max = 100_000))]
    pub expected_participants: u32,

    /// Participants at most: 1 to 100000. A participant has two WebRtcTransports at most, one to send
    /// and one to receive, so twice as many WebRtcTransports may be there, of all applications of the
    /// session together; one more is refused with an error that names the limit. A change counts at
    /// once: who is there stays. Default: 1000.
    #[serde(default = "default_max_participants")]
    #[schemars(range(min = 1, max = 100_000))]
    pub max_participants: u32,

    /// Over how many media pods the session may spread. Default: 8.
    #[serde(default)]
    pub spread: Spread,

    /// When the session ends by itself. Default: when it is deleted.
    #[serde(default)]
    pub lifetime: Lifetime,

    /// Where the session should run, when there is a choice: the region first, then the labels.
    /// Hints only: a session is placed elsewhere rather than not at all. A change counts from its
    /// next placement on.
    #[serde(default)]
    pub placement: Placement,
}

/// A MafaldaCluster by its name.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ClusterRef {
    /// The MafaldaCluster's name.
    #[schemars(length(max = 50))]
    #[x_kube(
        validation = Rule::new("self.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
            .message(
                "spec.clusterRef.name must be the name of a MafaldaCluster: small letters, digits \
                 and '-', a letter first"
            )
    )]
    pub name: String,
}

/// Over how many media pods a session spreads.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Spread {
    /// Media pods at most: 1 to 64. 1 keeps the session on its home pod. A session that needs more
    /// than its home's workers is granted others, one after the other; a small one never. Default: 8.
    #[serde(default = "default_max_pods")]
    #[schemars(range(min = 1, max = 64))]
    pub max_pods: u16,
}

/// When a session ends by itself.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(
        "!has(self.emptySeconds) || !has(self.totalSeconds) || self.emptySeconds <= \
         self.totalSeconds"
    )
    .message("spec.lifetime.emptySeconds must not be more than spec.lifetime.totalSeconds")
    .field_path(".emptySeconds")
)]
pub struct Lifetime {
    /// How long the session stays empty, in seconds: 10 to 31536000 (a year). It is empty while
    /// none of its applications has a transport of any kind: one that is connected and waits for
    /// somebody does not keep it. Default: as long as the Session is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 31_536_000))]
    pub empty_seconds: Option<u32>,

    /// How long the session stays in all, counted from when the Session was created, in seconds:
    /// 10 to 31536000 (a year). Default: as long as the Session is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 31_536_000))]
    pub total_seconds: Option<u32>,
}

/// Where a session should run.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Placement {
    /// The region to prefer: a value of the Node label topology.kubernetes.io/region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    #[x_kube(
        validation = Rule::new("self.matches('^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$')")
            .message(
                "spec.placement.region must be the value of a label: letters, digits, '-', '_' \
                 and '.', a letter or digit at both ends"
            )
    )]
    pub region: Option<String>,

    /// Labels of Nodes to prefer, at most 32: the more of them a Node has, the better. A Node with
    /// none of them is taken when no other has room.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::labels")]
    #[x_kube(
        validation = Rule::new(schema::LABEL_KEYS)
            .message(
                "spec.placement.nodeLabels must have keys as Kubernetes takes them, as \
                 example.com/team"
            )
    )]
    pub node_labels: BTreeMap<String, String>,
}

/// What the operator made of a Session.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SessionStatus {
    /// Pending: it has no home pod yet. Active: applications and participants can connect.
    /// Recovering: its home pod is lost and it is being placed anew. Ended: its lifetime is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,

    /// Goes up by one each time the session is placed anew. Media pods refuse an older one, so
    /// that a session never has two homes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,

    /// The media pod that runs the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home_pod: Option<String>,

    /// All media pods that the session may use, the home pod first. Others are granted when the
    /// workers of those that it has are above the watermark, and returned when it uses them no more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub pods: Vec<String>,

    /// Participants now: half of the WebRtcTransports of its applications, rounded up. Written
    /// when something else changes, and at most every 30 seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub participants: Option<u64>,

    /// mediasoup's version on the home pod, which its applications must match. When the session is
    /// placed anew, pods of this version are preferred to all others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mediasoup_version: Option<String>,

    /// The URL that the session's application connects to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,

    /// The Secret of this namespace with the application's access token, in `token`. It belongs
    /// to the Session and goes with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_secret_name: Option<String>,

    /// What that Secret was made from, as a digest of the cluster's token key and authorities: when
    /// they are others, the Secret is written again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_from: Option<String>,

    /// Why the session is in its phase, in one CamelCase word; the conditions say more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_reason: Option<String>,

    /// Ready: the session is Active. Placed: it has a home pod. When one is not True, its message
    /// says what is in the way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,

    /// The metadata.generation that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// Where a session is in its life.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "`SessionStatus::phase` says what each is")]
pub enum Phase {
    Pending,
    Active,
    Recovering,
    Ended,
}

impl Default for Spread {
    fn default() -> Self {
        Self {
            max_pods: default_max_pods(),
        }
    }
}

fn default_expected() -> u32 {
    10
}

fn default_max_participants() -> u32 {
    1000
}

fn default_max_pods() -> u16 {
    8
}
