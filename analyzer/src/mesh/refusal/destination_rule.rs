//! DestinationRule. Istio: `ValidateDestinationRule`, `validateSubset`, `ValidateTLS`.

use super::{Refusals, export_to, labels, names, selector, text, traffic_policy};
use crate::mesh::node::Node;

pub(super) fn check(spec: &Node, namespace: &str, found: &mut Refusals) {
    // One without a host is told on reading it.
    if let Some(host) = spec.get("host") {
        found.check(host, names::wildcard(&host.scalar().unwrap_or_default()));
    }
    if let Some(node) = spec.get("trafficPolicy") {
        traffic_policy::check(node, namespace, "spec.trafficPolicy", found);
    }
    let mut seen: Vec<String> = Vec::new();
    for (place, subset) in spec.get("subsets").map(Node::items).unwrap_or_default().iter().enumerate() {
        let path = format!("spec.subsets[{place}]");
        let name = text(subset, "name").unwrap_or_default();
        if !names::is_label(&name) {
            found.add(subset, format!("{path}.name '{name}' is no DNS label"));
        } else if seen.contains(&name) {
            found.add(subset, format!("{path}: another subset is called '{name}'"));
        }
        labels(subset.get("labels"), &format!("{path}.labels"), found);
        seen.push(name);
        if let Some(node) = subset.get("trafficPolicy") {
            traffic_policy::check(node, namespace, &format!("{path}.trafficPolicy"), found);
        }
    }
    let exported = export_to(spec, namespace, false, found);
    if let Some(workloads) = spec.get("workloadSelector") {
        selector(workloads.get("matchLabels"), "spec.workloadSelector.matchLabels", found);
        if exported.iter().any(|to| to != namespace) {
            found.add(workloads, "spec.workloadSelector with an exportTo beyond its own namespace");
        }
    }
}

/// Istio: `ValidateTLS`.
pub(super) fn tls(block: &Node, namespace: &str, path: &str, found: &mut Refusals) {
    let mode = text(block, "mode").unwrap_or_default();
    let has = |field| text(block, field).is_some();
    let (simple, mutual) = (mode == "SIMPLE", mode == "MUTUAL");
    let map = text(block, "credentialName").unwrap_or_default();
    if let Some(map) = map.strip_prefix("configmap://") {
        let parts: Vec<&str> = map.split('/').collect();
        if !matches!(parts.as_slice(), [_]) && !matches!(parts.as_slice(), [own, _] if *own == namespace) {
            found.add(block, format!("{path}.credentialName: the ConfigMap '{map}' is of another namespace"));
        }
    }
    let names = block.get("subjectAltNames").is_some_and(|names| !names.items().is_empty());
    if block.get("insecureSkipVerify").and_then(Node::bool) == Some(true)
        && ((simple && has("credentialName")) || ((simple || mutual) && (has("caCertificates") || names)))
    {
        found.add(block, format!("{path} says both how to verify the server and insecureSkipVerify"));
    }
    if (simple || mutual) && has("credentialName") {
        let files = ["clientCertificate", "privateKey", "caCertificates", "caCrl"];
        if let Some(file) = files.into_iter().find(|file| has(file)) {
            found.add(block, format!("{path} has both credentialName and {file}"));
        }
    } else if mutual && !(has("clientCertificate") && has("privateKey")) {
        let why = format!("{path}: MUTUAL needs clientCertificate and privateKey, or credentialName");
        found.add_known(block, "DR11", why);
    }
}
