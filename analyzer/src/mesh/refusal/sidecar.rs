//! Sidecar. Istio: `ValidateSidecar`.

use super::{Refusals, gateway, is_protocol, names, port, selector, text, traffic_policy, virtual_service};
use crate::mesh::node::Node;
use crate::mesh::service::Protocol;

pub(super) fn check(spec: &Node, found: &mut Refusals) {
    selector(spec.at(&["workloadSelector", "labels"]), "spec.workloadSelector.labels", found);
    let list = |field: &str| spec.get(field).map(Node::items).unwrap_or_default();
    let (ingress, egress) = (list("ingress"), list("egress"));
    let others = ["outboundTrafficPolicy", "inboundConnectionPool"];
    if ingress.is_empty() && egress.is_empty() && others.iter().all(|field| spec.get(field).is_none()) {
        found.add(spec, "spec says nothing: a Sidecar needs egress, ingress, outboundTrafficPolicy or inboundConnectionPool");
    }
    if let Some(policy) = spec.get("outboundTrafficPolicy") {
        outbound_policy(policy, found);
    }
    traffic_policy::pool(spec.get("inboundConnectionPool"), "spec.inboundConnectionPool", found);
    let (mut numbers, mut sockets) = (Vec::new(), Vec::new());
    for (place, entry) in ingress.iter().enumerate() {
        let path = format!("spec.ingress[{place}]");
        let Some(own) = entry.get("port") else {
            found.add(entry, format!("{path}.port is missing"));
            continue;
        };
        listener(entry, own, &path, &mut numbers, found);
        traffic_policy::pool(entry.get("connectionPool"), &format!("{path}.connectionPool"), found);
        if let Some(block) = entry.get("tls") {
            tls(block, &format!("{path}.tls"), found);
            let protocol = text(own, "protocol").unwrap_or_default();
            if !Protocol::parse(&protocol).is_tls() {
                found.add(block, format!("{path}.tls: a port that is neither HTTPS nor TLS takes none"));
            }
        }
        if let Some(to) = text(entry, "defaultEndpoint") {
            found.check(entry, default_endpoint(&to));
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
            Some(own) if own.get("number").and_then(Node::number).unwrap_or(0) == 0 => {
                declared(own, &path, found);
                socket(entry, &path, &mut sockets, found);
            }
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

/// A port of the pod's own: on loopback, on its address, or a socket.
fn default_endpoint(to: &str) -> Result<(), String> {
    if let Some(path) = to.strip_prefix("unix://") {
        return names::socket(path);
    }
    let (host, port) = to.rsplit_once(':').unwrap_or((to, ""));
    let own = matches!(host, "" | "127.0.0.1" | "0.0.0.0" | "[::1]" | "[::]");
    if own && port.parse::<u16>().is_ok_and(|port| port > 0) {
        Ok(())
    } else {
        Err(format!("defaultEndpoint '{to}' is no port of the pod itself"))
    }
}

/// Istio: `validateSidecarOutboundTrafficPolicy`.
fn outbound_policy(policy: &Node, found: &mut Refusals) {
    let path = "spec.outboundTrafficPolicy";
    if text(policy, "mode").as_deref() == Some("ALLOW_ANY_DYNAMIC_DNS") {
        found.add(policy, format!("{path}: ALLOW_ANY_DYNAMIC_DNS is for the mesh alone"));
    }
    let Some(proxy) = policy.get("egressProxy") else { return };
    if text(policy, "mode").as_deref() != Some("ALLOW_ANY") {
        return found.add(policy, format!("{path}: egressProxy goes with ALLOW_ANY only"));
    }
    let host = text(proxy, "host").unwrap_or_default();
    if names::whole(&host).is_err() {
        found.add(proxy, format!("{path}.egressProxy: '{host}' is no whole name of a host"));
    } else if proxy.get("port").is_none() {
        found.add(proxy, format!("{path}.egressProxy has no port"));
    } else {
        virtual_service::destination(proxy, &format!("{path}.egressProxy"), found);
    }
}

/// What a listener's port declares.
fn declared(own: &Node, path: &str, found: &mut Refusals) {
    if let Some(name) = text(own, "name").filter(|name| !names::is_label(name)) {
        found.add(own, format!("{path}.port.name '{name}' is no DNS label"));
    }
    if let Some(protocol) = text(own, "protocol").filter(|protocol| !is_protocol(protocol)) {
        found.add(own, format!("{path}.port.protocol '{protocol}' is unknown"));
    }
    if own.get("targetPort").and_then(Node::number).is_some_and(|target| target > 0) {
        found.add(own, format!("{path}.port.targetPort has no meaning in a Sidecar"));
    }
}

/// Istio: `validateSidecarIngressPortAndBind`, `validateSidecarEgressPortBindAndCaptureMode`.
fn listener(entry: &Node, own: &Node, path: &str, numbers: &mut Vec<i64>, found: &mut Refusals) {
    declared(own, path, found);
    let number = own.get("number").and_then(Node::number).unwrap_or(0);
    port(own.get("number"), own, &format!("{path}.port.number"), found);
    if let Some(bind) = text(entry, "bind").filter(|bind| !names::is_address(bind)) {
        found.add(entry, format!("{path}.bind '{bind}' is no address"));
    }
    if numbers.contains(&number) {
        found.add(own, format!("{path}.port.number: another entry has {number}"));
    }
    numbers.push(number);
}

/// An egress entry without a number listens on a socket, which nothing can be redirected to.
fn socket(entry: &Node, path: &str, sockets: &mut Vec<String>, found: &mut Refusals) {
    let bind = text(entry, "bind").unwrap_or_default();
    match bind.strip_prefix("unix://") {
        Some(socket) => found.check(entry, names::socket(socket)),
        None => found.add(entry, format!("{path}.port.number 0 is for sockets only")),
    }
    if text(entry, "captureMode").is_some_and(|mode| mode == "IPTABLES") {
        found.add(entry, format!("{path}.captureMode: nothing is redirected to a socket"));
    }
    if sockets.contains(&bind) {
        found.add(entry, format!("{path}.bind: another entry has '{bind}'"));
    }
    sockets.push(bind);
}

fn tls(block: &Node, path: &str, found: &mut Refusals) {
    let listed = |field| block.get(field).is_some_and(|list| !list.items().is_empty());
    let set = [
        ("subjectAltNames", listed("subjectAltNames")),
        ("credentialName", text(block, "credentialName").is_some()),
        ("credentialNames", listed("credentialNames")),
        ("tlsCertificates", listed("tlsCertificates")),
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
