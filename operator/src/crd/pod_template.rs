//! What media pods are made with.

use super::schema;
use k8s_openapi::api::core::v1::{Affinity, ResourceRequirements, Toleration};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What the media pods are made with. A change replaces them, a quarter of the pool at once at most:
/// new pods first, then the old ones drain.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PodTemplate {
    /// The media pod's image, at most 512 characters. Default: the one that came with the
    /// operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    #[x_kube(
        validation = Rule::new(r"self.matches('^\\S+$')")
            .message(
                "spec.podTemplate.image must name an image, without a space, as \
                 registry.example.com/mafalda:1"
            )
    )]
    pub image: Option<String>,

    /// When the image is pulled: Always, IfNotPresent or Never. Default: IfNotPresent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<ImagePullPolicy>,

    /// Secrets of this namespace that hold what the image's registry asks for, at most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub image_pull_secrets: Vec<ImagePullSecret>,

    /// What a media pod requests and may use. The CPU limit also sets how many workers it runs
    /// (spec.workersPerPod). Default: no requests, no limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = schema::quantities)]
    pub resources: Option<ResourceRequirements>,

    /// Labels that a Node must have, at most 32.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::labels")]
    #[x_kube(
        validation = Rule::new(schema::LABEL_KEYS)
            .message(
                "spec.podTemplate.nodeSelector must have keys as Kubernetes takes them, as \
                 example.com/team"
            )
    )]
    pub node_selector: BTreeMap<String, String>,

    /// Taints of Nodes that are accepted, at most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub tolerations: Vec<Toleration>,

    /// On which Nodes, and near or far from which pods, media pods run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,

    /// The PriorityClass of the media pods. One above that of other workloads keeps calls from
    /// being preempted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    #[x_kube(
        validation = Rule::new(schema::DNS_NAME)
            .message(
                "spec.podTemplate.priorityClassName must be a name as Kubernetes takes it: small \
                 letters, digits, '-' and '.', a letter or digit at both ends"
            )
    )]
    pub priority_class_name: Option<String>,

    /// More labels for the media pods, at most 32. Those under mafalda.dev/ are the operator's own, and
    /// so are these, whatever is said here: app.kubernetes.io/name, component and managed-by.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::labels")]
    #[x_kube(
        validation = Rule::new("self.all(key, !key.startsWith('mafalda.dev/'))")
            .message(
                "spec.podTemplate.labels must have no key under mafalda.dev/: those are the \
                 operator's own"
            )
    )]
    #[x_kube(
        validation = Rule::new(schema::LABEL_KEYS)
            .message(
                "spec.podTemplate.labels must have keys as Kubernetes takes them, as \
                 example.com/team"
            )
    )]
    pub labels: BTreeMap<String, String>,
}

/// When an image is pulled.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "Kubernetes' own words")]
pub enum ImagePullPolicy {
    Always,
    #[default]
    IfNotPresent,
    Never,
}

/// A Secret by its name.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ImagePullSecret {
    /// The Secret's name.
    #[schemars(length(max = 253))]
    #[x_kube(
        validation = Rule::new(schema::DNS_NAME)
            .message(
                "spec.podTemplate.imagePullSecrets must have names as Kubernetes takes them: \
                 small letters, digits, '-' and '.', a letter or digit at both ends"
            )
    )]
    pub name: String,
}
