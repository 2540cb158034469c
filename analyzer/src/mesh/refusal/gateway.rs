//! Gateway. Istio: `ValidateGateway`, `validateServer`, `validateServerPort`, `validateServerBind`, `validateTLSOptions`.

use super::{Refusals, is_protocol, names, port, text};
use crate::mesh::node::Node;
use crate::mesh::service::Protocol;

pub(super) fn check(object: &Node, spec: &Node, found: &mut Refusals) {
    let name = object.at(&["metadata", "name"]).and_then(Node::scalar).unwrap_or_default();
    if !names::is_label(&name) {
        found.add(object, format!("metadata.name '{name}' is no DNS label"));
    }
    let servers = spec.get("servers").map(Node::items).unwrap_or_default();
    if servers.is_empty() {
        found.add(spec, "spec.servers is empty");
    }
    let mut seen: Vec<String> = Vec::new();
    for (place, entry) in servers.iter().enumerate() {
        let path = format!("spec.servers[{place}]");
        server(entry, &path, found);
        if let Some(name) = entry.get("port").and_then(|port| text(port, "name")) {
            if seen.contains(&name) {
                found.add(entry, format!("{path}.port.name: another server's port is called '{name}'"));
            }
            seen.push(name);
        }
    }
}

fn server(entry: &Node, path: &str, found: &mut Refusals) {
    let hosts = entry.get("hosts").map(Node::items).unwrap_or_default();
    if hosts.is_empty() {
        found.add(entry, format!("{path}.hosts is empty"));
    }
    for host in hosts {
        found.check(host, names::with_namespace(&host.scalar().unwrap_or_default(), true));
    }
    let bind = text(entry, "bind").unwrap_or_default();
    let socket = bind.strip_prefix("unix://");
    let number = entry.at(&["port", "number"]).and_then(Node::number).unwrap_or(0);
    let at = entry.get("bind").unwrap_or(entry);
    match socket {
        Some(socket) => {
            found.check(at, names::socket(socket));
            if number != 0 {
                found.add(at, format!("{path} has both a socket and a port number"));
            }
        }
        None if !bind.is_empty() && !names::is_address(&bind) => {
            found.add(at, format!("{path}.bind '{bind}' is no address"));
        }
        None => {}
    }
    let block = entry.get("tls");
    if let Some(block) = block {
        tls(block, &format!("{path}.tls"), found);
    }
    let Some(own) = entry.get("port") else {
        return found.add(entry, format!("{path}.port is missing"));
    };
    let protocol = text(own, "protocol").unwrap_or_default();
    if number != 0 || socket.is_none() {
        port(own.get("number"), own, &format!("{path}.port.number"), found);
    }
    if text(own, "name").is_none() {
        found.add(own, format!("{path}.port.name is missing"));
    }
    if own.get("targetPort").and_then(Node::number).is_some_and(|target| target > 0) {
        found.add(own, format!("{path}.port.targetPort has no meaning in a Gateway"));
    }
    if !is_protocol(&protocol) {
        return found.add(own, format!("{path}.port.protocol '{protocol}' is unknown"));
    }
    let protocol = Protocol::parse(&protocol);
    match block {
        None if protocol.is_tls() => {
            found.add_known(entry, "GW01", format!("{path}: HTTPS and TLS need a tls block"))
        }
        Some(block) if !protocol.is_tls() && (!protocol.is_http() || !only_redirects(block)) => {
            let why =
                format!("{path}.tls: a port that is neither HTTPS nor TLS takes no more than httpsRedirect");
            found.add_known(block, "GW02", why);
        }
        _ => {}
    }
}

/// Tells whether a block does no more than to redirect, as one without a mode and certificates does.
fn only_redirects(block: &Node) -> bool {
    let passes =
        text(block, "mode").is_none_or(|mode| matches!(mode.as_str(), "PASSTHROUGH" | "AUTO_PASSTHROUGH"));
    passes
        && !["caCertificates", "privateKey", "serverCertificate"]
            .iter()
            .any(|field| text(block, field).is_some())
}

/// Istio: `validateTLSOptions`.
pub(super) fn tls(block: &Node, path: &str, found: &mut Refusals) {
    let has = |field| text(block, field).is_some();
    let listed = |field| block.get(field).is_some_and(|list| !list.items().is_empty());
    let mode = text(block, "mode").unwrap_or_default();
    if mode == "ISTIO_MUTUAL" {
        let fields = ["serverCertificate", "privateKey", "caCertificates", "credentialName"];
        let lists = ["credentialNames", "tlsCertificates"];
        let field = fields.into_iter().find(|field| has(field));
        if let Some(field) = field.or_else(|| lists.into_iter().find(|field| listed(field))) {
            found.add(
                block,
                format!("{path}: ISTIO_MUTUAL uses the mesh's certificates and takes no {field}"),
            );
        }
        return;
    }
    let files = has("serverCertificate") && has("privateKey");
    let sources = [files, has("credentialName"), listed("credentialNames"), listed("tlsCertificates")];
    if sources.into_iter().filter(|there| *there).count() > 1 {
        let why = "has more than one of credentialName, credentialNames, tlsCertificates and files";
        found.add(block, format!("{path} {why}"));
    }
    let terminates = matches!(mode.as_str(), "SIMPLE" | "MUTUAL" | "OPTIONAL_MUTUAL");
    if !terminates || has("credentialName") || listed("credentialNames") {
        return;
    }
    let whole = |own: &Node| ["serverCertificate", "privateKey"].iter().all(|file| text(own, file).is_some());
    let pairs = block.get("tlsCertificates").map(Node::items).unwrap_or_default();
    if !(if pairs.is_empty() { files } else { pairs.iter().all(whole) }) {
        let why = format!("{path}: {mode} needs serverCertificate and privateKey, or credentialName");
        found.add(block, why);
    }
    if mode == "SIMPLE" {
        if has("caCrl") {
            found.add(block, format!("{path}: SIMPLE takes no caCrl"));
        }
    } else if !has("caCertificates") && !has("caCertCredentialName") {
        let why = format!("{path}: {mode} needs caCertificates, or credentialName");
        if mode == "MUTUAL" {
            found.add_known(block, "GW14", why);
        } else {
            found.add(block, why);
        }
    }
}
