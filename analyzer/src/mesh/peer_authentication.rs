//! PeerAuthentication (security.istio.io).

use std::collections::BTreeMap;

use crate::mesh::meta::{Labels, Meta, labels};
use crate::mesh::node::Node;
use crate::report::ServerMode;

/// A PeerAuthentication that Istio would accept, or one that it would not: see `rejected`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerAuthentication {
    /// Metadata.
    pub meta: Meta,
    /// The workloads it is for; empty for the whole namespace (or mesh).
    pub selector: Labels,
    /// Line of the selector, else of the document.
    pub selector_line: u32,
    /// The mode at the top; absent for UNSET and for none at all: inherited.
    pub mode: Option<ServerMode>,
    /// Line of the mode, else of the document.
    pub mode_line: u32,
    /// Modes by container port; absent for UNSET: the workload's mode.
    pub ports: BTreeMap<u16, (Option<ServerMode>, u32)>,
    /// Whether `portLevelMtls` is written, even if nothing usable is in it.
    pub has_ports: bool,
    /// Line of `portLevelMtls`, else of the document.
    pub ports_line: u32,
}

impl PeerAuthentication {
    /// Reads a PeerAuthentication; what is odd goes to `notes` with its line.
    pub(crate) fn read(meta: Meta, document: &Node, notes: &mut Vec<(u32, String)>) -> Self {
        let spec = document.get("spec");
        let selector = labels(spec.and_then(|spec| spec.at(&["selector", "matchLabels"])));
        let mode_node = spec.and_then(|spec| spec.at(&["mtls", "mode"]));
        let mode = mode_node.and_then(|node| mode(node, notes));
        let ports_node = spec.and_then(|spec| spec.get("portLevelMtls"));
        let mut ports = BTreeMap::new();
        for (key, entry) in ports_node.map(Node::entries).unwrap_or_default() {
            let Some(number) = key.parse::<u16>().ok().filter(|number| *number > 0) else {
                notes.push((
                    entry.line,
                    format!("portLevelMtls: '{key}' is no port from 1 to 65535; Istio rejects the policy"),
                ));
                continue;
            };
            let entry_mode = entry.get("mode");
            let line = entry_mode.map_or(entry.line, |node| node.line);
            ports.insert(number, (entry_mode.and_then(|node| self::mode(node, notes)), line));
        }
        Self {
            selector,
            selector_line: spec.and_then(|spec| spec.get("selector")).map_or(meta.line, |node| node.line),
            mode,
            mode_line: mode_node.map_or(meta.line, |node| node.line),
            ports,
            has_ports: ports_node.is_some(),
            ports_line: ports_node.map_or(meta.line, |node| node.line),
            meta,
        }
    }

    /// Tells whether it is for chosen workloads rather than a whole namespace.
    #[must_use]
    pub fn is_for_workloads(&self) -> bool {
        !self.selector.is_empty()
    }
}

fn mode(node: &Node, notes: &mut Vec<(u32, String)>) -> Option<ServerMode> {
    let text = node.scalar()?;
    match text.as_str() {
        "UNSET" | "" => None,
        other => other
            .parse()
            .map_err(|_| {
                notes.push((
                    node.line,
                    format!("mode '{other}' is none of UNSET, DISABLE, PERMISSIVE, STRICT; taken as UNSET"),
                ));
            })
            .ok(),
    }
}
