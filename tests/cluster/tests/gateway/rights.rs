//! Who may ask what of the API server.

use crate::place::{NAMESPACE, Place};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::Api;
use kube::api::PostParams;

/// A verb, and what it is about: group, resource, subresource and name, `/` between them.
pub type Right = (&'static str, &'static str);

/// All that the operator does.
pub const OPERATOR_MAY: &[Right] = &[
    ("list", "/nodes"),
    ("watch", "/nodes"),
    ("list", "mafalda.dev/mafaldaclusters"),
    ("watch", "mafalda.dev/sessions"),
    ("patch", "mafalda.dev/mafaldaclusters/status"),
    ("patch", "mafalda.dev/sessions/status"),
    ("list", "/pods"),
    ("create", "/pods"),
    ("patch", "/pods"),
    ("delete", "/pods"),
    ("create", "/services"),
    ("patch", "/services"),
    ("create", "/configmaps"),
    ("patch", "/configmaps"),
    ("get", "/secrets"),
    ("create", "/secrets"),
    ("patch", "/secrets"),
    ("create", "policy/poddisruptionbudgets"),
    ("patch", "policy/poddisruptionbudgets"),
    ("create", "events.k8s.io/events"),
    ("patch", "events.k8s.io/events"),
    ("get", "coordination.k8s.io/leases//mafalda-operator"),
    ("update", "coordination.k8s.io/leases//mafalda-operator"),
];

/// What who takes it over would like.
pub const OPERATOR_MAY_NOT: &[Right] = &[
    ("list", "/secrets"),
    ("watch", "/secrets"),
    ("delete", "/secrets"),
    ("deletecollection", "/pods"),
    ("create", "/pods/exec"),
    ("create", "/pods/attach"),
    ("create", "/pods/portforward"),
    ("get", "/pods/log"),
    ("create", "/pods/eviction"),
    ("get", "/configmaps"),
    ("list", "/configmaps"),
    ("delete", "/services"),
    ("patch", "/nodes"),
    ("get", "/nodes/proxy"),
    ("create", "/serviceaccounts/token"),
    ("impersonate", "/users"),
    ("create", "/namespaces"),
    ("create", "apps/deployments"),
    ("create", "mafalda.dev/sessions"),
    ("patch", "mafalda.dev/sessions"),
    ("delete", "mafalda.dev/sessions"),
    ("patch", "mafalda.dev/mafaldaclusters"),
    ("delete", "mafalda.dev/mafaldaclusters"),
    ("patch", "apiextensions.k8s.io/customresourcedefinitions"),
    ("create", "rbac.authorization.k8s.io/clusterrolebindings"),
    ("escalate", "rbac.authorization.k8s.io/clusterroles"),
    ("bind", "rbac.authorization.k8s.io/clusterroles"),
    ("update", "coordination.k8s.io/leases//another"),
    ("delete", "coordination.k8s.io/leases//mafalda-operator"),
];

/// Whether a service account of the release's namespace may do it there.
pub async fn may(place: &Place<'_>, account: &str, verb: &str, what: &str) -> bool {
    let mut parts = what.split('/').map(str::to_owned);
    let own = format!("serviceaccounts:{NAMESPACE}");
    let groups = ["serviceaccounts", &own, "authenticated"];
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: Some(format!("system:serviceaccount:{NAMESPACE}:{account}")),
            groups: Some(groups.map(|group| format!("system:{group}")).into()),
            resource_attributes: Some(ResourceAttributes {
                namespace: Some(NAMESPACE.to_owned()),
                verb: Some(verb.to_owned()),
                group: parts.next(),
                resource: parts.next(),
                subresource: parts.next(),
                name: parts.next(),
                ..ResourceAttributes::default()
            }),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    };
    let reviews: Api<SubjectAccessReview> = Api::all(place.client.clone());
    let reviewed = reviews.create(&PostParams::default(), &review).await;
    reviewed
        .unwrap()
        .status
        .is_some_and(|status| status.allowed)
}
