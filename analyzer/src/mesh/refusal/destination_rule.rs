//! DestinationRule. Istio: `ValidateDestinationRule`, `validateSubset`, `validateTrafficPolicy`, `validatePortTrafficPolicies`, `ValidateTLS`.

use super::{Refusals, duration, export_to, labels, names, selector, text};
use crate::mesh::node::Node;

/// The fields of a policy of which one at least is there, beside those that a port's policy may not have.
const EITHER: &[&str] = &["outlierDetection", "connectionPool", "loadBalancer", "tls"];

/// The durations of a policy.
const TIMES: &[&[&str]] = &[
    &["connectionPool", "tcp", "connectTimeout"],
    &["connectionPool", "tcp", "idleTimeout"],
    &["connectionPool", "tcp", "maxConnectionDuration"],
    &["connectionPool", "http", "idleTimeout"],
    &["outlierDetection", "interval"],
    &["outlierDetection", "baseEjectionTime"],
];

pub(super) fn check(spec: &Node, namespace: &str, found: &mut Refusals) {
    // One without a host is told on reading it.
    if let Some(host) = spec.get("host") {
        found.check(host, names::wildcard(&host.scalar().unwrap_or_default()));
    }
    if let Some(node) = spec.get("trafficPolicy") {
        policy(node, "spec.trafficPolicy", found);
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
            policy(node, &format!("{path}.trafficPolicy"), found);
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

fn policy(node: &Node, path: &str, found: &mut Refusals) {
    let beside = ["portLevelSettings", "tunnel", "proxyProtocol", "retryBudget"];
    if !EITHER.iter().chain(&beside).any(|field| node.get(field).is_some()) {
        found.add(node, format!("{path} has no field"));
    }
    if node.get("tunnel").is_some() && node.get("proxyProtocol").is_some() {
        found.add(node, format!("{path} has both tunnel and proxyProtocol"));
    }
    settings(node, path, found);
    for (place, entry) in
        node.get("portLevelSettings").map(Node::items).unwrap_or_default().iter().enumerate()
    {
        let path = format!("{path}.portLevelSettings[{place}]");
        if entry.get("port").is_none() {
            found.add(entry, format!("{path} has no port"));
        }
        if !EITHER.iter().any(|field| entry.get(field).is_some()) {
            found.add(entry, format!("{path} has nothing but its port"));
        }
        settings(entry, &path, found);
    }
}

/// What a policy and a port's have in common. Istio: `validateConnectionPool`, `ValidateTLS`.
fn settings(node: &Node, path: &str, found: &mut Refusals) {
    if let Some(pool) = node
        .get("connectionPool")
        .filter(|pool| ["http", "tcp"].iter().all(|field| pool.get(field).is_none()))
    {
        found.add(pool, format!("{path}.connectionPool has neither http nor tcp"));
    }
    for field in TIMES {
        duration(node.at(field), &format!("{path}.{}", field.join(".")), found);
    }
    if let Some(block) = node.get("tls") {
        tls(block, &format!("{path}.tls"), found);
    }
}

/// Istio: `ValidateTLS`.
fn tls(block: &Node, path: &str, found: &mut Refusals) {
    let mode = text(block, "mode").unwrap_or_default();
    let has = |field| text(block, field).is_some();
    let (simple, mutual) = (mode == "SIMPLE", mode == "MUTUAL");
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
    } else if simple && has("caCrl") && !has("caCertificates") {
        found.add(block, format!("{path}: caCrl needs caCertificates"));
    }
}
