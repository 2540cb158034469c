//! ServiceEntry. Istio: `ValidateServiceEntry`.

use super::{Refusals, export_to, is_protocol, names, port, selector, text, workload_entry};
use crate::mesh::node::Node;
use crate::mesh::service::Protocol;

pub(super) fn check(spec: &Node, namespace: &str, found: &mut Refusals) {
    let list = |field: &str| spec.get(field).map(Node::items).unwrap_or_default();
    let resolution = text(spec, "resolution").unwrap_or_else(|| "NONE".to_owned());
    let endpoints = list("endpoints");
    if let Some(workloads) = spec.get("workloadSelector") {
        selector(workloads.get("labels"), "spec.workloadSelector.labels", found);
        if !endpoints.is_empty() {
            found.add(workloads, "spec has both workloadSelector and endpoints");
        }
    }
    let hosts = list("hosts");
    if hosts.is_empty() {
        found.add(spec, "spec.hosts is empty");
    }
    for host in hosts {
        match host.scalar().unwrap_or_default().as_str() {
            "*" => found.add(host, "spec.hosts: '*' is no host"),
            name => found.check(host, names::wildcard(name)),
        }
    }
    for address in list("addresses") {
        let text = address.scalar().unwrap_or_default();
        found.check(address, names::subnet(&text));
        if text.contains('/') && !matches!(resolution.as_str(), "NONE" | "STATIC") {
            found.add(
                address,
                format!("spec.addresses '{text}': ranges go with the resolutions NONE and STATIC only"),
            );
        }
    }
    let ports = ports(list("ports"), found);
    self::endpoints(endpoints, hosts, &resolution, &ports, found);
    let told_apart = |entry: &&Node| {
        let protocol = Protocol::parse(&text(entry, "protocol").unwrap_or_default());
        !protocol.is_http() && !protocol.is_tls()
    };
    if resolution != "NONE"
        && hosts.len() > 1
        && let Some(entry) = list("ports").iter().find(told_apart)
    {
        found.add(
            entry,
            "spec.hosts: connections to a port that is neither HTTP nor TLS do not tell several hosts apart",
        );
    }
    export_to(spec, namespace, true, found);
}

/// Checks the ports and returns their names.
fn ports(list: &[Node], found: &mut Refusals) -> Vec<String> {
    let (mut seen, mut numbers): (Vec<String>, Vec<i64>) = (Vec::new(), Vec::new());
    for (place, entry) in list.iter().enumerate() {
        let path = format!("spec.ports[{place}]");
        let name = text(entry, "name").unwrap_or_default();
        let number = entry.get("number").and_then(Node::number).unwrap_or(0);
        if !names::is_label(&name) {
            found.add(entry, format!("{path}.name '{name}' is no DNS label"));
        } else if seen.contains(&name) {
            found.add(entry, format!("{path}.name: another port is called '{name}'"));
        }
        if numbers.contains(&number) {
            found.add(entry, format!("{path}.number: another port has {number}"));
        }
        port(entry.get("number"), entry, &format!("{path}.number"), found);
        if let Some(target) = entry.get("targetPort").filter(|target| target.number() != Some(0)) {
            port(Some(target), target, &format!("{path}.targetPort"), found);
        }
        if let Some(protocol) = text(entry, "protocol").filter(|protocol| !is_protocol(protocol)) {
            found.add(entry, format!("{path}.protocol '{protocol}' is unknown"));
        }
        seen.push(name);
        numbers.push(number);
    }
    seen
}

fn endpoints(list: &[Node], hosts: &[Node], resolution: &str, ports: &[String], found: &mut Refusals) {
    let path = |place: usize| format!("spec.endpoints[{place}]");
    match resolution {
        "NONE" => {
            if let Some(first) = list.first() {
                found.add(
                    first,
                    "spec.endpoints goes with another resolution than NONE, which is also what none means",
                );
            }
        }
        "STATIC" => {
            for (place, node) in list.iter().enumerate() {
                workload_entry::endpoint(node, &path(place), Some(ports), false, found);
            }
        }
        "DNS" | "DNS_ROUND_ROBIN" => {
            for host in hosts.iter().filter(|_| list.is_empty()) {
                let name = host.scalar().unwrap_or_default();
                if names::whole(&name).is_err() {
                    let why = format!(
                        "spec.hosts '{name}': DNS resolves whole names only; name endpoints for others"
                    );
                    found.add(host, why);
                }
            }
            if let Some(second) = list.get(1).filter(|_| resolution == "DNS_ROUND_ROBIN") {
                found.add(second, "spec.endpoints: DNS_ROUND_ROBIN takes one endpoint at most");
            }
            for (place, node) in list.iter().enumerate() {
                let address = text(node, "address").unwrap_or_default();
                if address.is_empty() || address.starts_with("unix://") {
                    let why = format!(
                        "{}.address '{address}': DNS takes addresses and names of hosts",
                        path(place)
                    );
                    found.add(node, why);
                } else {
                    workload_entry::endpoint(node, &path(place), Some(ports), true, found);
                }
            }
        }
        _ => {}
    }
}
