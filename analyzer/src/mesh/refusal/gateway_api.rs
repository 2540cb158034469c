//! Gateway, ListenerSet and BackendTLSPolicy of the Gateway API: what the API server refuses by the rules in their schemas.
//!
//! Source: kubernetes-sigs/gateway-api, `apis/v1/gateway_types.go` and `backendtlspolicy_types.go`, `XValidation`.

use super::{Refusals, names, port, text};
use crate::mesh::node::Node;

/// The policies of v1alpha2 (`old`) had other fields.
pub(super) fn check(kind: &str, old: bool, spec: &Node, found: &mut Refusals) {
    match kind {
        "Gateway" | "ListenerSet" | "XListenerSet" => {
            listeners(spec, kind == "Gateway", found);
            frontend(spec.at(&["tls", "frontend"]), found);
        }
        "BackendTLSPolicy" if !old => backend_tls_policy(spec, found),
        _ => {}
    }
}

fn list<'a>(node: Option<&'a Node>, field: &str) -> &'a [Node] {
    node.and_then(|node| node.get(field)).map(Node::items).unwrap_or_default()
}

/// Checks listeners; only those of a Gateway itself need a port.
fn listeners(spec: &Node, ports: bool, found: &mut Refusals) {
    let all = list(Some(spec), "listeners");
    if all.is_empty() {
        found.add(spec, "spec.listeners is empty");
    }
    let (mut seen, mut places): (Vec<String>, Vec<(i64, String, String)>) = (Vec::new(), Vec::new());
    for (place, one) in all.iter().enumerate() {
        let path = format!("spec.listeners[{place}]");
        let name = text(one, "name").unwrap_or_default();
        if name.is_empty() {
            found.add(one, format!("{path}.name is missing"));
        } else if seen.contains(&name) {
            found.add(one, format!("{path}.name: another listener is called '{name}'"));
        }
        seen.push(name);
        if ports || one.get("port").is_some() {
            port(one.get("port"), one, &format!("{path}.port"), found);
        }
        let protocol = text(one, "protocol").unwrap_or_default();
        if protocol.is_empty() {
            found.add(one, format!("{path}.protocol is missing"));
        }
        let host = text(one, "hostname").unwrap_or_default();
        hostname(&host, &protocol, one, &path, found);
        tls(one.get("tls"), &protocol, &path, found);
        let number = one.get("port").and_then(Node::number).unwrap_or(0);
        let own = (number, protocol, host);
        if places.contains(&own) {
            let why = format!("{path}: another listener has this port, protocol and hostname");
            found.add(one, why);
        }
        places.push(own);
    }
}

fn hostname(host: &str, protocol: &str, one: &Node, path: &str, found: &mut Refusals) {
    if host.is_empty() {
        return;
    }
    if matches!(protocol, "TCP" | "UDP") {
        found.add(one, format!("{path}.hostname means nothing to {protocol}"));
    }
    let behind = host.strip_prefix("*.").unwrap_or(host);
    if names::whole(behind).is_err() || host.chars().any(|letter| letter.is_ascii_uppercase()) {
        found.add(one, format!("{path}.hostname '{host}' is no host"));
    }
}

fn tls(block: Option<&Node>, protocol: &str, path: &str, found: &mut Refusals) {
    let Some(block) = block else { return };
    let mode = text(block, "mode").unwrap_or_else(|| "Terminate".to_owned());
    if matches!(protocol, "HTTP" | "TCP" | "UDP") {
        found.add(block, format!("{path}.tls is not for {protocol}"));
    } else if protocol == "HTTPS" && mode == "Passthrough" {
        found.add(block, format!("{path}.tls.mode: HTTPS is terminated"));
    }
    let options = block.get("options").map(Node::entries).unwrap_or_default();
    match mode.as_str() {
        "Passthrough" => {}
        "Terminate" if !list(Some(block), "certificateRefs").is_empty() || !options.is_empty() => {}
        "Terminate" => found.add(block, format!("{path}.tls: Terminate needs certificateRefs or options")),
        _ => found.add(block, format!("{path}.tls.mode '{mode}' is neither Terminate nor Passthrough")),
    }
}

/// Client validation: for all ports and for some of them.
fn frontend(node: Option<&Node>, found: &mut Refusals) {
    let Some(node) = node else { return };
    let mut ports = Vec::new();
    for entry in list(Some(node), "perPort") {
        let number = entry.get("port").and_then(Node::number);
        if ports.contains(&number) {
            found.add(entry, "spec.tls.frontend.perPort names a port twice");
        }
        ports.push(number);
    }
    let blocks = list(Some(node), "perPort").iter().filter_map(|entry| entry.at(&["tls", "validation"]));
    for block in blocks.chain(node.at(&["default", "validation"])) {
        if list(Some(block), "caCertificateRefs").is_empty() {
            found.add(block, "spec.tls.frontend: a validation needs caCertificateRefs");
        }
        let mode = text(block, "mode");
        if let Some(mode) =
            mode.filter(|mode| !matches!(mode.as_str(), "AllowValidOnly" | "AllowInsecureFallback"))
        {
            found.add(block, format!("spec.tls.frontend: the mode '{mode}' is unknown"));
        }
    }
}

fn backend_tls_policy(spec: &Node, found: &mut Refusals) {
    let targets = list(Some(spec), "targetRefs");
    if targets.is_empty() {
        found.add(spec, "spec.targetRefs is empty");
    }
    let mut seen = Vec::new();
    for target in targets {
        let own = ["group", "kind", "name"].map(|field| text(target, field).unwrap_or_default());
        let section = text(target, "sectionName");
        let twice = |(other, other_section): &([String; 3], Option<String>)| {
            *other == own && (section.is_none() || other_section.is_none() || *other_section == section)
        };
        if seen.iter().any(twice) {
            found.add(target, "spec.targetRefs names one target twice, and not by different sections");
        }
        seen.push((own, section));
    }
    let Some(validation) = spec.get("validation") else {
        return found.add(spec, "spec.validation is missing");
    };
    let host = text(validation, "hostname").unwrap_or_default();
    if names::whole(&host).is_err() {
        found.add(validation, format!("spec.validation.hostname '{host}' is no host"));
    }
    let (refs, known) = (
        !list(Some(validation), "caCertificateRefs").is_empty(),
        text(validation, "wellKnownCACertificates").is_some(),
    );
    if refs == known {
        let why = "spec.validation takes either caCertificateRefs or wellKnownCACertificates, and not both";
        found.add(validation, why);
    }
}
