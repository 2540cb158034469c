//! ReferenceGrant (gateway.networking.k8s.io): which listeners may use certificates and CAs of other namespaces.

use crate::mesh::gateway::Gateway;
use crate::mesh::gateway_api::{frontend, listener_port};
use crate::mesh::meta::Meta;
use crate::mesh::node::Node;

const GROUP: &str = "gateway.networking.k8s.io";

/// What a namespace lets objects of others refer to.
#[derive(Debug, Clone)]
pub(crate) struct ReferenceGrant {
    pub(crate) meta: Meta,
    /// Kinds of the Gateway API, with the namespaces that they are in.
    from: Vec<(String, String)>,
    /// Kinds of the core group; without a name all of them.
    to: Vec<(String, Option<String>)>,
}

impl ReferenceGrant {
    pub(super) fn read(meta: Meta, document: &Node) -> Self {
        let list = |field: &str| document.at(&["spec", field]).map(Node::items).unwrap_or_default();
        let text = |node: &Node, field: &str| node.get(field).and_then(Node::scalar).unwrap_or_default();
        // A ListenerSet was an experiment of another group.
        let own =
            |node: &&Node| [GROUP, "gateway.networking.x-k8s.io"].contains(&text(node, "group").as_str());
        let from = list("from").iter().filter(own);
        let to = list("to").iter().filter(|node| text(node, "group").is_empty());
        Self {
            from: from.map(|node| (text(node, "kind"), text(node, "namespace"))).collect(),
            to: to
                .map(|node| (text(node, "kind"), Some(text(node, "name")).filter(|name| !name.is_empty())))
                .collect(),
            meta,
        }
    }

    fn allows(&self, kind: &str, namespace: &str, reference: &Reference) -> bool {
        *self.meta.namespace == *reference.namespace
            && self.from.iter().any(|(own, from)| own == kind && from == namespace)
            && self.to.iter().any(|(own, name)| {
                *own == reference.kind && name.as_ref().is_none_or(|name| *name == reference.name)
            })
    }
}

/// What a listener uses.
struct Reference {
    kind: String,
    namespace: String,
    name: String,
}

/// Returns what a listener uses of other namespaces: its certificates, and the CA of its Gateway for its port.
fn foreign(meta: &Meta, listener: &Node, declared: &Node) -> Vec<Reference> {
    let certificates = listener.at(&["tls", "certificateRefs"]).map(Node::items).unwrap_or_default();
    let port = listener_port(listener);
    let validation = port.and_then(|port| frontend(declared.get("spec"), port));
    let cas = validation.and_then(|own| own.get("caCertificateRefs")).map(Node::items).unwrap_or_default();
    let text = |node: &Node, field: &str| node.get(field).and_then(Node::scalar);
    let all =
        certificates.iter().map(|node| (node, "Secret")).chain(cas.iter().map(|node| (node, "ConfigMap")));
    all.filter_map(|(node, kind)| {
        Some(Reference {
            kind: text(node, "kind").unwrap_or_else(|| kind.to_owned()),
            namespace: text(node, "namespace").filter(|namespace| *namespace != *meta.namespace)?,
            name: text(node, "name").unwrap_or_default(),
        })
    })
    .collect()
}

/// Leaves out the listeners of a Gateway or ListenerSet that use what nobody grants them, and says so: lines and reasons.
///
/// Rule `gateway.reference-grant`. Istio: `pilot/pkg/config/kube/gateway`, `buildTLS`, `ReferenceGrants.SecretAllowed`.
pub(super) fn leave_out_ungranted(
    grants: &[ReferenceGrant],
    gateway: &mut Gateway,
    document: &Node,
    declared: &Node,
) -> Vec<(u32, String)> {
    let kind = document.get("kind").and_then(Node::scalar).unwrap_or_default();
    let listeners = document.at(&["spec", "listeners"]).map(Node::items).unwrap_or_default();
    let mut left_out = Vec::new();
    for (place, listener) in listeners.iter().enumerate() {
        let Some(tls) = listener.get("tls") else { continue };
        if tls.get("mode").and_then(Node::text) == Some("Passthrough") {
            continue;
        }
        let uses = foreign(&gateway.meta, listener, declared);
        let namespace = &gateway.meta.namespace;
        let granted = |own: &&Reference| grants.iter().any(|grant| grant.allows(&kind, namespace, own));
        if let Some(Reference { kind, namespace, name }) = uses.iter().find(|own| !granted(own)) {
            gateway.servers.retain(|server| server.place != place);
            let own = listener.get("name").and_then(Node::scalar).unwrap_or_default();
            let why = format!("no ReferenceGrant of {namespace} lets it use {kind} {name}");
            left_out.push((
                listener.line,
                format!("{}: the listener '{own}' is left out: {why}", gateway.meta.id()),
            ));
        }
    }
    left_out
}
