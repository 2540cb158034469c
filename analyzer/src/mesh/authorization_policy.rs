//! AuthorizationPolicy (security.istio.io): the identities that it names. Who is allowed what is not looked at.

use crate::mesh::meta::{Meta, texts};
use crate::mesh::node::Node;

/// The identities of an AuthorizationPolicy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorizationPolicy {
    /// Metadata.
    pub meta: Meta,
    /// `principals` and `notPrincipals` of all sources, as written: `cluster.local/ns/shop/sa/web`; with their lines.
    pub principals: Vec<(String, u32)>,
}

impl AuthorizationPolicy {
    /// Reads an AuthorizationPolicy.
    pub(crate) fn read(meta: Meta, document: &Node) -> Self {
        let rules = document.at(&["spec", "rules"]).map(Node::items).unwrap_or_default();
        let sources = rules
            .iter()
            .flat_map(|rule| rule.get("from").map(Node::items).unwrap_or_default())
            .filter_map(|from| from.get("source"));
        let lists =
            sources.flat_map(|source| ["principals", "notPrincipals"].map(|name| source.get(name))).flatten();
        let principals =
            lists.flat_map(|list| texts(Some(list)).into_iter().map(move |text| (text, list.line))).collect();
        Self { meta, principals }
    }
}
