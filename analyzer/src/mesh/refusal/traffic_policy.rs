//! The traffic policies of a DestinationRule, and the connection pools that a Sidecar has as well. Istio:
//! `validateTrafficPolicy`, `validatePortTrafficPolicies`.

use super::destination_rule::tls;
use super::{Refusals, duration, names, port, text};
use crate::mesh::node::Node;

/// The fields of a policy of which one at least is there, beside those that a port's policy may not have.
const EITHER: &[&str] = &["outlierDetection", "connectionPool", "loadBalancer", "tls"];

pub(super) fn check(node: &Node, namespace: &str, path: &str, found: &mut Refusals) {
    let beside = ["portLevelSettings", "tunnel", "proxyProtocol", "retryBudget"];
    if !EITHER.iter().chain(&beside).any(|field| node.get(field).is_some()) {
        found.add(node, format!("{path} has no field"));
    }
    if node.get("tunnel").is_some() && node.get("proxyProtocol").is_some() {
        found.add(node, format!("{path} has both tunnel and proxyProtocol"));
    } else if let Some(node) = node.get("tunnel") {
        tunnel(node, &format!("{path}.tunnel"), found);
    }
    settings(node, namespace, path, found);
    for (place, entry) in list(node, "portLevelSettings").iter().enumerate() {
        let path = format!("{path}.portLevelSettings[{place}]");
        if entry.get("port").is_none() {
            found.add(entry, format!("{path} has no port"));
        }
        if !EITHER.iter().any(|field| entry.get(field).is_some()) {
            found.add(entry, format!("{path} has nothing but its port"));
        }
        settings(entry, namespace, &path, found);
    }
}

fn list<'a>(node: &'a Node, field: &str) -> &'a [Node] {
    node.get(field).map(Node::items).unwrap_or_default()
}

/// What a policy and a port's have in common.
fn settings(node: &Node, namespace: &str, path: &str, found: &mut Refusals) {
    pool(node.get("connectionPool"), &format!("{path}.connectionPool"), found);
    if let Some(node) = node.get("outlierDetection") {
        outliers(node, &format!("{path}.outlierDetection"), found);
    }
    if let Some(node) = node.get("loadBalancer") {
        balancer(node, &format!("{path}.loadBalancer"), found);
    }
    if let Some(block) = node.get("tls") {
        tls(block, namespace, &format!("{path}.tls"), found);
    }
}

/// Istio: `validateConnectionPool`.
pub(super) fn pool(node: Option<&Node>, path: &str, found: &mut Refusals) {
    let Some(node) = node else { return };
    let (tcp, http) = (node.get("tcp"), node.get("http"));
    if tcp.is_none() && http.is_none() {
        found.add(node, format!("{path} has neither http nor tcp"));
    }
    let counts = [
        (tcp, "maxConnections"),
        (http, "http1MaxPendingRequests"),
        (http, "http2MaxRequests"),
        (http, "maxRequestsPerConnection"),
        (http, "maxRetries"),
        (http, "maxConcurrentStreams"),
    ];
    for (block, field) in counts {
        let Some(count) = block.and_then(|block| block.get(field)) else { continue };
        if count.number().is_some_and(|count| count < 0) {
            found.add(count, format!("{path}: {field} is negative"));
        }
    }
    let upgrade = |field| http.and_then(|http| http.get(field));
    let upgraded = upgrade("h2UpgradePolicy").and_then(Node::scalar).as_deref() == Some("UPGRADE");
    if let Some(own) = upgrade("useClientProtocol").filter(|own| upgraded && own.bool() == Some(true)) {
        found.add(own, format!("{path}.http has both useClientProtocol and the UPGRADE to HTTP/2"));
    }
    let times: [(Option<&Node>, &[&str]); 6] = [
        (tcp, &["connectTimeout"]),
        (tcp, &["idleTimeout"]),
        (tcp, &["maxConnectionDuration"]),
        (tcp, &["tcpKeepalive", "time"]),
        (tcp, &["tcpKeepalive", "interval"]),
        (http, &["idleTimeout"]),
    ];
    for (place, (block, field)) in times.into_iter().enumerate() {
        let node = block.and_then(|block| block.at(field));
        // No idle time at all is what switches the limit off, for TCP alone.
        let off = place == 1
            && node.and_then(Node::scalar).is_some_and(|text| super::nanoseconds(&text) == Some(0));
        duration(node.filter(|_| !off), &format!("{path}.{}", field.join(".")), found);
    }
}

/// Istio: `validateOutlierDetection`.
fn outliers(node: &Node, path: &str, found: &mut Refusals) {
    for field in ["interval", "baseEjectionTime"] {
        duration(node.get(field), &format!("{path}.{field}"), found);
    }
    for field in ["maxEjectionPercent", "minHealthPercent"] {
        let Some(share) = node.get(field) else { continue };
        if share.number().is_some_and(|share| !(0..=100).contains(&share)) {
            found.add(share, format!("{path}.{field} is not from 0 to 100"));
        }
    }
    let split = node.get("splitExternalLocalOriginErrors").and_then(Node::bool) == Some(true);
    let local = node.get("consecutiveLocalOriginFailures").filter(|count| count.number().unwrap_or(0) > 0);
    if let Some(count) = local.filter(|_| !split) {
        let why = format!("{path}.consecutiveLocalOriginFailures needs splitExternalLocalOriginErrors");
        found.add(count, why);
    }
}

/// Istio: `validateLoadBalancer`.
fn balancer(node: &Node, path: &str, found: &mut Refusals) {
    let hash = node.get("consistentHash");
    if let Some(cookie) =
        hash.and_then(|hash| hash.get("httpCookie")).filter(|own| text(own, "name").is_none())
    {
        found.add(cookie, format!("{path}.consistentHash.httpCookie has no name"));
    }
    if let Some(hash) = hash {
        let ring = hash.get("minimumRingSize").and_then(Node::number).unwrap_or(0) != 0;
        if ring && (hash.get("maglev").is_some() || hash.get("ringHash").is_some()) {
            found.add(hash, format!("{path}.consistentHash has both minimumRingSize and an algorithm"));
        }
        if let Some(maglev) = hash.get("maglev") {
            let size = maglev.get("tableSize").and_then(Node::number).unwrap_or(0);
            if size >= 5_000_011 || !is_prime(size) {
                found.add(
                    maglev,
                    format!("{path}.consistentHash.maglev.tableSize {size} is no prime below 5000011"),
                );
            }
        }
    }
    if let Some(warmup) = node.get("warmup") {
        match warmup.get("duration") {
            Some(own) => duration(Some(own), &format!("{path}.warmup.duration"), found),
            None => found.add(warmup, format!("{path}.warmup.duration is missing")),
        }
        let value = |field| warmup.get(field).and_then(Node::scalar)?.parse::<f64>().ok();
        if value("minimumPercent").is_some_and(|share| share > 100.0) {
            found.add(warmup, format!("{path}.warmup.minimumPercent is above 100"));
        }
        if value("aggression").is_some_and(|aggression| aggression < 1.0) {
            found.add(warmup, format!("{path}.warmup.aggression is below 1"));
        }
    }
    if let Some(node) = node.get("localityLbSetting") {
        localities(node, &format!("{path}.localityLbSetting"), found);
    }
}

/// Istio: `isPrime`.
fn is_prime(size: i64) -> bool {
    size > 0
        && (size < 4
            || (size % 2 != 0
                && (3..).step_by(2).take_while(|own| own * own <= size).all(|own| size % own != 0)))
}

/// Istio: `ValidateLocalityLbSetting`.
fn localities(node: &Node, path: &str, found: &mut Refusals) {
    let (distribute, failover) = (list(node, "distribute"), list(node, "failover"));
    if !distribute.is_empty() && !failover.is_empty() {
        return found.add(node, format!("{path} has both distribute and failover"));
    }
    let regions =
        ["topology.kubernetes.io/region", "topology.kubernetes.io/zone", "topology.istio.io/subzone"];
    for label in list(node, "failoverPriority").iter().filter(|_| !failover.is_empty()) {
        if regions.contains(&label.scalar().unwrap_or_default().as_str()) {
            found.add(label, format!("{path}.failoverPriority names a place beside failover"));
        }
    }
    let mut from = Vec::new();
    for entry in distribute {
        let to = entry.get("to").map(Node::entries).unwrap_or_default();
        let weights: Vec<i64> = to.iter().map(|(_, weight)| weight.number().unwrap_or(0)).collect();
        if weights.iter().any(|weight| !(1..=100).contains(weight)) || weights.iter().sum::<i64>() != 100 {
            found.add(
                entry,
                format!("{path}.distribute: the weights are not from 1 to 100, and 100 together"),
            );
        }
        apart(entry, &to.iter().map(|(place, _)| place.clone()).collect::<Vec<_>>(), path, found);
        from.push(text(entry, "from").unwrap_or_default());
    }
    apart(node, &from, path, found);
    for entry in failover {
        let (from, to) = (text(entry, "from").unwrap_or_default(), text(entry, "to").unwrap_or_default());
        if from == to || [&from, &to].iter().any(|region| region.contains(['/', '*'])) {
            found.add(entry, format!("{path}.failover: '{from}' and '{to}' are not two regions"));
        }
    }
}

/// Places are wildcards at their end at most, and none is within one before it. Istio: `validateLocalities`.
fn apart(at: &Node, places: &[String], path: &str, found: &mut Refusals) {
    let mut seen: Vec<Vec<&str>> = Vec::new();
    for place in places {
        let stars = place.matches('*').count();
        let parts: Vec<&str> = place.splitn(3, '/').collect();
        if stars > 1 || (stars == 1 && !place.ends_with('*')) || parts.contains(&"") {
            found.add(at, format!("{path}: '{place}' is no place"));
        }
        let own: Vec<&str> = parts.into_iter().filter(|part| *part != "*").collect();
        // A wildcard may stand behind what it has in it.
        if seen.iter().any(|other| own.starts_with(other) || (stars == 0 && other.starts_with(&own))) {
            found.add(at, format!("{path}: '{place}' overlaps another place"));
        }
        seen.push(own);
    }
}

/// Istio: `validateTunnelSettings`.
fn tunnel(node: &Node, path: &str, found: &mut Refusals) {
    if let Some(own) = text(node, "protocol").filter(|own| !matches!(own.as_str(), "CONNECT" | "POST")) {
        found.add(node, format!("{path}.protocol '{own}' is neither CONNECT nor POST"));
    }
    let host = text(node, "targetHost").unwrap_or_default();
    if names::whole(&host).is_err() && !names::is_address(&host) {
        found.add(node, format!("{path}.targetHost '{host}' is neither a host's name nor an address"));
    }
    port(node.get("targetPort"), node, &format!("{path}.targetPort"), found);
}
