//! PeerAuthentication. Istio: `ValidatePeerAuthentication`.

use super::{Refusals, selector};
use crate::mesh::node::Node;

pub(super) fn check(spec: &Node, found: &mut Refusals) {
    let labels = spec.at(&["selector", "matchLabels"]);
    selector(labels, "spec.selector.matchLabels", found);
    let Some(ports) = spec.get("portLevelMtls") else { return };
    if ports.entries().is_empty() {
        found.add(ports, "spec.portLevelMtls is empty");
    } else if labels.is_none_or(|labels| labels.entries().is_empty()) {
        found.add_known(ports, "PA01", "spec.portLevelMtls needs a selector with labels");
    }
}
