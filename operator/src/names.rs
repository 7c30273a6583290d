//! Names that the operator gives: labels, annotations, objects.

/// Who wrote a field, in server-side apply.
pub const FIELD_MANAGER: &str = "mafalda-operator";

/// Label of what belongs to a MafaldaCluster: its name.
pub const CLUSTER: &str = "mafalda.dev/cluster";
/// Label of a media pod: what it was made from.
pub const REVISION: &str = "mafalda.dev/revision";
/// Label of a media pod that sessions live on, `true`: the PodDisruptionBudget is about these.
pub const OCCUPIED: &str = "mafalda.dev/occupied";
/// Labels of a node: its region and its zone.
pub const REGION: &str = "topology.kubernetes.io/region";
pub const ZONE: &str = "topology.kubernetes.io/zone";
/// Label of an access Secret: its Session's name.
pub const SESSION: &str = "mafalda.dev/session";

/// Annotation of a media pod: the media port of its first worker.
pub const RTC_PORT: &str = "mafalda.dev/rtc-port";
/// Annotation of a media pod: how many workers it was made with.
pub const WORKERS: &str = "mafalda.dev/workers";
/// Annotation of a media pod: the type of exposure that it was made for.
pub const EXPOSURE: &str = "mafalda.dev/exposure";
/// Annotation of a media pod that drains: how far and why, as JSON.
pub const DRAIN: &str = "mafalda.dev/drain";
/// Annotation that people put on a media pod that should drain: `true`.
pub const DRAIN_REQUESTED: &str = "mafalda.dev/drain-requested";
/// Annotation that the cluster autoscaler reads.
pub const SAFE_TO_EVICT: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict";
/// Annotation of a media pod: which keys and certificate its Secrets had. The kubelet brings a changed
/// Secret to a pod at once when the pod changes too, and within a minute or so otherwise.
pub const SECRETS: &str = "mafalda.dev/secrets";
/// Annotation of a Secret that is made anew: from when on, in seconds since 1970.
pub const RENEW_AT: &str = "mafalda.dev/renew-at";

/// Annotation of a gateway's Secret: which names, keys and authorities it was made from, as a digest.
pub const MADE_FROM: &str = "mafalda.dev/made-from";

/// The name of a media pod's container.
pub const CONTAINER: &str = "media-pod";
/// The port of a media pod's HTTP API.
pub const API_PORT: u16 = 4400;
/// The name in every media pod's certificate.
pub const SERVER_NAME: &str = "pod.mafalda";

/// The Secret with a session's endpoint and token.
pub fn access_secret(session: &str) -> String {
    format!("{session}-access")
}

/// The Secret with the cluster's authority, which only the operator reads.
pub fn authority_secret(cluster: &str) -> String {
    format!("{cluster}-ca")
}

/// The Secret with the certificate that the cluster's media pods show.
pub fn certificate_secret(cluster: &str) -> String {
    format!("{cluster}-pod-tls")
}

/// The Secret with all that the cluster's gateway shows, and whom it trusts.
pub fn gateway_secret(cluster: &str) -> String {
    format!("{cluster}-gateway")
}

/// The ConfigMap with a media pod's announced address.
pub fn address_config(pod: &str) -> String {
    format!("{pod}-address")
}
