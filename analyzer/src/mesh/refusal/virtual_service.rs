//! VirtualService: its hosts, its gateways, and its tls and tcp routes. Istio: `ValidateVirtualService`, `validateTLSRoute`,
//! `validateTCPRoute`, `validateGatewayNames`.

use super::{Refusals, export_to, http_route, labels, names, port};
use crate::mesh::node::Node;
use crate::policy::visibility::covers;

pub(super) fn check(spec: &Node, namespace: &str, found: &mut Refusals) {
    let list = |field: &str| spec.get(field).map(Node::items).unwrap_or_default();
    let texts = |field: &str| -> Vec<String> { list(field).iter().filter_map(Node::scalar).collect() };
    let (hosts, gateways) = (texts("hosts"), texts("gateways"));
    if hosts.is_empty() {
        for field in ["gateways", "tls", "tcp"] {
            if let Some(node) = spec.get(field).filter(|node| !node.items().is_empty()) {
                found.add(node, format!("spec.{field} without hosts: only http routes are delegated"));
            }
        }
    }
    gateway_names(spec, found);
    let mesh = gateways.is_empty() || gateways.iter().any(|name| name == "mesh");
    let by_sni = list("tls").iter().any(|route| {
        let matches = route.get("match").map(Node::items).unwrap_or_default();
        matches.iter().any(|one| one.get("sniHosts").is_some_and(|names| !names.items().is_empty()))
    });
    let mut valid = true;
    for host in list("hosts") {
        let name = host.scalar().unwrap_or_default();
        let checked = match names::wildcard(&name) {
            Err(_) if !mesh && by_sni && is_for_cluster(&name) => Ok(()),
            Ok(()) if mesh && name == "*" => {
                Err("spec.hosts: '*' is for Gateways, not for the mesh".to_owned())
            }
            Err(_) if names::is_address(&name) => Ok(()),
            checked => checked,
        };
        valid &= checked.is_ok();
        found.check(host, checked);
    }
    for (place, host) in list("hosts").iter().enumerate().filter(|_| valid) {
        let before = hosts.get(..place).unwrap_or_default();
        let name = host.scalar().unwrap_or_default();
        if let Some(other) = before.iter().find(|other| overlap(other, &name)) {
            found.add(host, format!("spec.hosts: '{other}' and '{name}' are the same to a route"));
        }
    }
    if ["http", "tls", "tcp"].iter().all(|field| list(field).is_empty()) {
        found.add(spec, "spec has no http, tls or tcp route");
    }
    for (place, route) in list("tls").iter().enumerate() {
        let path = format!("spec.tls[{place}]");
        let matches = route.get("match").map(Node::items).unwrap_or_default();
        if matches.is_empty() {
            found.add(route, format!("{path}.match is empty"));
        }
        for one in matches {
            sni(one, &path, &hosts, mesh, found);
            matched(one, &path, found);
        }
        destinations(route, &path, found);
    }
    for (place, route) in list("tcp").iter().enumerate() {
        let path = format!("spec.tcp[{place}]");
        for one in route.get("match").map(Node::items).unwrap_or_default() {
            matched(one, &path, found);
        }
        destinations(route, &path, found);
    }
    for (place, route) in list("http").iter().enumerate() {
        let path = format!("spec.http[{place}]");
        http_route::check(route, &path, found);
        if let Some(delegate) = route.get("delegate").filter(|_| hosts.is_empty()) {
            found.add(
                delegate,
                format!("{path}.delegate without spec.hosts: what is delegated delegates no further"),
            );
        }
        if mesh {
            http_route::claims(route, &path, found);
        }
    }
    export_to(spec, namespace, false, found);
}

/// Checks names of gateways up to the first without a namespace, behind which Istio looks at none.
///
/// Istio: `validateGatewayNames`.
pub(super) fn gateway_names(node: &Node, found: &mut Refusals) {
    for name in node.get("gateways").map(Node::items).unwrap_or_default() {
        let text = name.scalar().unwrap_or_default();
        match text.split_once('/') {
            None => return found.check(name, names::whole(&text)),
            Some((namespace, own)) if !names::is_label(namespace) || !names::is_label(own) => {
                found.add(name, format!("spec.gateways '{text}' is not of the form namespace/name"));
            }
            Some(_) => {}
        }
    }
}

/// Istio: `validateTLSMatch`, `validateSniHost`.
fn sni(one: &Node, path: &str, hosts: &[String], mesh: bool, found: &mut Refusals) {
    let names = one.get("sniHosts").map(Node::items).unwrap_or_default();
    if names.is_empty() {
        found.add(one, format!("{path}.match has no sniHosts"));
    }
    for node in names {
        let name = node.scalar().unwrap_or_default();
        match names::wildcard(&name) {
            Err(_) if names::is_address(&name) || (!mesh && is_for_cluster(&name)) => {}
            Err(why) => found.add(node, why),
            Ok(()) if hosts.iter().any(|host| covers(host, &name)) => {}
            Ok(()) => found.add(node, format!("{path}.match.sniHosts '{name}' is within none of spec.hosts")),
        }
    }
}

/// Tells whether a host is a name that Istio makes itself for its own connections, which no DNS label holds:
/// `outbound_.80_._.host`, with a port that has a digit and a host that has a letter.
///
/// Istio: `ValidateWildcardDomainForVirtualServiceBoundToGateway`.
fn is_for_cluster(host: &str) -> bool {
    let parts: Vec<&str> = host.split('_').collect();
    match parts.as_slice() {
        ["outbound", port, _, host, ..] => {
            port.contains(|letter: char| letter.is_ascii_digit())
                && host.contains(|letter: char| letter.is_ascii_alphabetic())
        }
        _ => false,
    }
}

fn destinations(route: &Node, path: &str, found: &mut Refusals) {
    if route.get("route").is_none_or(|route| route.items().is_empty()) {
        found.add(route, format!("{path}.route is empty"));
    }
    targets(route, path, found);
}

/// Istio: `validateRouteDestinations`, `validateWeight`.
pub(super) fn targets(route: &Node, path: &str, found: &mut Refusals) {
    let entries = route.get("route").map(Node::items).unwrap_or_default();
    let weight = |entry: &Node| entry.get("weight").and_then(Node::number).unwrap_or(0);
    if let Some(entry) = entries.iter().find(|entry| weight(entry) < 0) {
        found.add(entry, format!("{path}.route has a negative weight"));
    } else if entries.len() > 1 && entries.iter().all(|entry| weight(entry) == 0) {
        found.add(route, format!("{path}.route has several destinations and no weight"));
    }
    for entry in entries {
        match entry.get("destination") {
            Some(to) => destination(to, &format!("{path}.route"), found),
            None => found.add(entry, format!("{path}.route has no destination")),
        }
    }
}

/// Istio: `validateDestination`.
pub(super) fn destination(to: &Node, path: &str, found: &mut Refusals) {
    match to.get("host").and_then(Node::scalar).unwrap_or_default().as_str() {
        "*" => found.add(to, format!("{path}: '*' is no destination")),
        host => found.check(to, names::wildcard(host)),
    }
    if let Some(subset) = super::text(to, "subset").filter(|subset| !names::is_label(subset)) {
        found.add(to, format!("{path}: the subset '{subset}' is no DNS label"));
    }
    if let Some(own) = to.get("port") {
        port(own.get("number"), own, &format!("{path}: the destination's port"), found);
    }
}

/// What the matches of tls and tcp routes have in common. Istio: `validateTLSMatch`, `validateTCPMatch`.
fn matched(one: &Node, path: &str, found: &mut Refusals) {
    for subnet in one.get("destinationSubnets").map(Node::items).unwrap_or_default() {
        found.check(subnet, names::subnet(&subnet.scalar().unwrap_or_default()));
    }
    if let Some(number) = one.get("port").filter(|number| number.number() != Some(0)) {
        port(Some(number), number, &format!("{path}.match.port"), found);
    }
    labels(one.get("sourceLabels"), &format!("{path}.match.sourceLabels"), found);
    gateway_names(one, found);
}

/// Tells whether one of two hosts is within the other.
fn overlap(one: &str, other: &str) -> bool {
    covers(one, other) || covers(other, one)
}
