//! How many workers a media pod runs.

use crate::crd::MafaldaClusterSpec;
use k8s_openapi::api::core::v1::{Node, Taint, Toleration};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What the spec says: `workersPerPod`, else the CPU limit rounded up.
pub fn of_spec(spec: &MafaldaClusterSpec) -> Option<u16> {
    spec.workers_per_pod.or_else(|| {
        let limits = spec.pod_template.resources.as_ref()?.limits.as_ref()?;
        cores(&limits.get("cpu")?.0)
    })
}

/// What the spec says, else the cores of the smallest node that the pods may run on: one with the labels
/// of the node selector, and without a taint that they do not tolerate.
pub fn per_pod(spec: &MafaldaClusterSpec, nodes: &[Arc<Node>]) -> u16 {
    let selector = &spec.pod_template.node_selector;
    let tolerations = &spec.pod_template.tolerations;
    let of_node = |node: &Arc<Node>| {
        let capacity = node.status.as_ref()?.allocatable.as_ref()?;
        cores(&capacity.get("cpu")?.0)
    };
    let fits = |node: &&Arc<Node>| has_labels(node, selector) && is_tolerated(node, tolerations);
    let smallest = nodes.iter().filter(fits).filter_map(of_node).min();
    of_spec(spec).or(smallest).unwrap_or(1)
}

/// Taints under this name come and go with a node's health, and with `kubectl cordon`.
const PASSING: &str = "node.kubernetes.io/";

/// Whether pods with these tolerations may be put on the node, when it is well.
fn is_tolerated(node: &Node, tolerations: &[Toleration]) -> bool {
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_ref());
    let keeps_away = |taint: &&Taint| {
        let hard = matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute");
        hard && !taint.key.starts_with(PASSING)
    };
    let mut taints = taints.into_iter().flatten().filter(keeps_away);
    taints.all(|taint| tolerations.iter().any(|some| tolerates(some, taint)))
}

/// As Kubernetes' `Toleration.ToleratesTaint`.
fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let (key, effect) = (text(&toleration.key), text(&toleration.effect));
    if (!key.is_empty() && key != taint.key) || (!effect.is_empty() && effect != taint.effect) {
        return false;
    }
    match toleration.operator.as_deref() {
        Some("Exists") => true,
        _ => text(&toleration.value) == text(&taint.value),
    }
}

/// Whether the node has all of these labels.
pub fn has_labels(node: &Node, wanted: &BTreeMap<String, String>) -> bool {
    let labels = node.metadata.labels.as_ref();
    let has = |(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value);
    wanted.iter().all(has)
}

/// A quantity of CPU as whole cores, rounded up: 1 to 256.
fn cores(quantity: &str) -> Option<u16> {
    let (number, scale) = match quantity.strip_suffix(['m', 'k', 'u', 'n']) {
        None => (quantity, 1.0),
        Some(number) if quantity.ends_with('m') => (number, 1e-3),
        Some(number) if quantity.ends_with('k') => (number, 1e3),
        Some(number) if quantity.ends_with('u') => (number, 1e-6),
        Some(number) => (number, 1e-9),
    };
    let cores = number.parse::<f64>().ok()? * scale;
    cores
        .is_finite()
        .then(|| cores.ceil().clamp(1.0, 256.0) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_quantity_is_cores() {
        for (quantity, number) in [
            ("4", Some(4)),
            ("1500m", Some(2)),
            ("0.5", Some(1)),
            ("2e1", Some(20)),
            ("1k", Some(256)),
            ("many", None),
        ] {
            assert_eq!(cores(quantity), number, "{quantity}");
        }
    }

    /// Protects nodes from more workers than cores.
    #[test]
    fn the_spec_says_it_or_else_the_smallest_node() {
        let node = |cpu: &str, disk: &str| -> Arc<Node> {
            let node = json!({"metadata": {"labels": {"disk": disk}},
                "status": {"allocatable": {"cpu": cpu}}});
            Arc::new(serde_json::from_value(node).unwrap())
        };
        let nodes = [node("8", "ssd"), node("4", "ssd"), node("2", "none")];
        for (spec, workers) in [
            (json!({"workersPerPod": 3}), 3),
            (
                json!({"podTemplate": {"resources": {"limits": {"cpu": "1100m"}}}}),
                2,
            ),
            (json!({"podTemplate": {"nodeSelector": {"disk": "ssd"}}}), 4),
            (json!({}), 2),
        ] {
            let spec: MafaldaClusterSpec = serde_json::from_value(spec).unwrap();
            assert_eq!(per_pod(&spec, &nodes), workers);
        }
    }

    /// Protects large nodes from pods as small as the control plane's machine, on which none runs.
    #[test]
    fn nodes_that_pods_are_kept_away_from_do_not_count() {
        let node = |cpu: &str, taints: serde_json::Value| -> Arc<Node> {
            let node = json!({"spec": {"taints": taints}, "status": {"allocatable": {"cpu": cpu}}});
            Arc::new(serde_json::from_value(node).unwrap())
        };
        let control_plane = "node-role.kubernetes.io/control-plane";
        let nodes = [
            node("2", json!([{"key": control_plane, "effect": "NoSchedule"}])),
            node(
                "4",
                json!([{"key": "team", "value": "media", "effect": "NoExecute"}]),
            ),
            node(
                "8",
                json!([{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}]),
            ),
            node("16", json!([{"key": "soft", "effect": "PreferNoSchedule"}])),
        ];
        for (tolerations, workers) in [
            (json!([]), 8),
            (json!([{"key": "team", "value": "media"}]), 4),
            (json!([{"key": "team", "value": "other"}]), 8),
            (
                json!([{"key": "team", "value": "media", "effect": "NoSchedule"}]),
                8,
            ),
            (json!([{"key": control_plane, "operator": "Exists"}]), 2),
            (json!([{"operator": "Exists"}]), 2),
        ] {
            let spec = json!({"podTemplate": {"tolerations": tolerations}});
            let spec: MafaldaClusterSpec = serde_json::from_value(spec).unwrap();
            assert_eq!(per_pod(&spec, &nodes), workers, "{tolerations}");
        }
    }
}
