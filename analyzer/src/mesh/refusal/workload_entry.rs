//! WorkloadEntry, also as the endpoint of a ServiceEntry. Istio: `ValidateWorkloadEntry`, `validateWorkloadEntry`.

use super::{Refusals, labels, names, port, text};
use crate::mesh::node::Node;

pub(super) fn check(spec: &Node, found: &mut Refusals) {
    endpoint(spec, "spec", None, true, found);
}

/// Checks an endpoint; `ports` are the names of the ports that it may speak of, absent where any will do.
pub(super) fn endpoint(
    node: &Node,
    path: &str,
    ports: Option<&[String]>,
    by_name: bool,
    found: &mut Refusals,
) {
    let address = text(node, "address").unwrap_or_default();
    let own = node.get("ports").map(Node::entries).unwrap_or_default();
    if let Some(socket) = address.strip_prefix("unix://") {
        found.check(node, names::socket(socket));
        if !own.is_empty() {
            found.add(node, format!("{path}.ports beside a socket"));
        }
        if ports.is_some_and(|ports| ports.len() != 1) {
            found.add(node, format!("{path}: a socket needs exactly one port of its ServiceEntry"));
        }
    } else if address.is_empty() {
        if text(node, "network").is_none() {
            found.add(node, format!("{path}.address is missing"));
            return;
        }
    } else if !names::is_address(&address) && (!by_name || names::whole(&address).is_err()) {
        let wanted = if by_name { "neither an address nor a host's name" } else { "no address" };
        found.add(node, format!("{path}.address '{address}' is {wanted}"));
    }
    labels(node.get("labels"), &format!("{path}.labels"), found);
    for (name, number) in own {
        if ports.is_some_and(|ports| !ports.contains(name)) {
            found.add(number, format!("{path}.ports: the ServiceEntry has no port '{name}'"));
        }
        if !names::is_label(name) {
            found.add(number, format!("{path}.ports: '{name}' is no DNS label"));
        }
        port(Some(number), number, &format!("{path}.ports.{name}"), found);
    }
}
