//! Sidecar. Istio: `ValidateSidecar`.

use super::{Refusals, gateway, is_protocol, names, port, selector, text};
use crate::mesh::node::Node;

pub(super) fn check(spec: &Node, found: &mut Refusals) {
    selector(spec.at(&["workloadSelector", "labels"]), "spec.workloadSelector.labels", found);
    let list = |field: &str| spec.get(field).map(Node::items).unwrap_or_default();
    let (ingress, egress) = (list("ingress"), list("egress"));
    let others = ["outboundTrafficPolicy", "inboundConnectionPool"];
    if ingress.is_empty() && egress.is_empty() && others.iter().all(|field| spec.get(field).is_none()) {
        found.add(spec, "spec says nothing: a Sidecar needs egress, ingress, outboundTrafficPolicy or inboundConnectionPool");
    }
    let mut numbers = Vec::new();
    for (place, entry) in ingress.iter().enumerate() {
        let path = format!("spec.ingress[{place}]");
        let Some(own) = entry.get("port") else {
            found.add(entry, format!("{path}.port is missing"));
            continue;
        };
        listener(entry, own, &path, &mut numbers, found);
        if let Some(block) = entry.get("tls") {
            tls(block, &format!("{path}.tls"), found);
        }
    }
    numbers.clear();
    for (place, entry) in egress.iter().enumerate() {
        let path = format!("spec.egress[{place}]");
        match entry.get("port") {
            None if place + 1 < egress.len() => {
                found.add(entry, format!("{path}: the one egress entry without a port comes last"));
            }
            None => {}
            Some(own) => listener(entry, own, &path, &mut numbers, found),
        }
        let hosts = entry.get("hosts").map(Node::items).unwrap_or_default();
        if hosts.is_empty() {
            found.add(entry, format!("{path}.hosts is empty"));
        }
        for host in hosts {
            found.check(host, names::with_namespace(&host.scalar().unwrap_or_default(), false));
        }
    }
}

fn listener(entry: &Node, own: &Node, path: &str, numbers: &mut Vec<i64>, found: &mut Refusals) {
    let bind = text(entry, "bind").unwrap_or_default();
    let number = own.get("number").and_then(Node::number).unwrap_or(0);
    if let Some(name) = text(own, "name").filter(|name| !names::is_label(name)) {
        found.add(own, format!("{path}.port.name '{name}' is no DNS label"));
    }
    if let Some(protocol) = text(own, "protocol").filter(|protocol| !is_protocol(protocol)) {
        found.add(own, format!("{path}.port.protocol '{protocol}' is unknown"));
    }
    if own.get("targetPort").and_then(Node::number).is_some_and(|target| target > 0) {
        found.add(own, format!("{path}.port.targetPort has no meaning in a Sidecar"));
    }
    if let Some(socket) = bind.strip_prefix("unix://").filter(|_| number == 0) {
        return found.check(entry, names::socket(socket));
    }
    port(own.get("number"), own, &format!("{path}.port.number"), found);
    if !bind.is_empty() && !names::is_address(&bind) {
        found.add(entry, format!("{path}.bind '{bind}' is no address"));
    }
    if numbers.contains(&number) {
        found.add(own, format!("{path}.port.number: another entry has {number}"));
    }
    numbers.push(number);
}

fn tls(block: &Node, path: &str, found: &mut Refusals) {
    let set = [
        ("subjectAltNames", block.get("subjectAltNames").is_some_and(|names| !names.items().is_empty())),
        ("credentialName", text(block, "credentialName").is_some()),
        ("httpsRedirect", block.get("httpsRedirect").and_then(Node::bool) == Some(true)),
    ];
    for (field, _) in set.into_iter().filter(|(_, set)| *set) {
        found.add(block, format!("{path}.{field} has no meaning in a Sidecar"));
    }
    if let Some(mode) =
        text(block, "mode").filter(|mode| matches!(mode.as_str(), "ISTIO_MUTUAL" | "AUTO_PASSTHROUGH"))
    {
        found.add(block, format!("{path}.mode {mode} is for Gateways"));
    }
    gateway::tls(block, path, found);
}
