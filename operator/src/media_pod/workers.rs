//! How many workers a media pod runs.

use crate::crd::MafaldaClusterSpec;
use k8s_openapi::api::core::v1::Node;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What the spec says: `workersPerPod`, else the CPU limit rounded up.
pub fn of_spec(spec: &MafaldaClusterSpec) -> Option<u16> {
    spec.workers_per_pod.or_else(|| {
        let limits = spec.pod_template.resources.as_ref()?.limits.as_ref()?;
        cores(&limits.get("cpu")?.0)
    })
}

/// What the spec says, else the cores of the smallest node that the pods may run on.
pub fn per_pod(spec: &MafaldaClusterSpec, nodes: &[Arc<Node>]) -> u16 {
    let selector = &spec.pod_template.node_selector;
    let of_node = |node: &Arc<Node>| {
        let capacity = node.status.as_ref()?.allocatable.as_ref()?;
        cores(&capacity.get("cpu")?.0)
    };
    let fits = |node: &&Arc<Node>| has_labels(node, selector);
    let smallest = nodes.iter().filter(fits).filter_map(of_node).min();
    of_spec(spec).or(smallest).unwrap_or(1)
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
}
