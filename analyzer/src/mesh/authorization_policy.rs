//! AuthorizationPolicy (security.istio.io): the identities that it names. Whether a request is allowed is not looked at.

use crate::mesh::meta::{Labels, Meta, labels, texts};
use crate::mesh::node::Node;

/// The identities of an AuthorizationPolicy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorizationPolicy {
    /// Metadata.
    pub meta: Meta,
    /// `principals` and `notPrincipals` of all sources, as written: `cluster.local/ns/shop/sa/web`; with their lines.
    pub principals: Vec<(String, u32)>,
    /// The workloads of its namespace that it is for; empty for all of them, absent where it is for waypoints.
    pub selector: Option<Labels>,
    /// Those of the `principals` that it lets in, with action ALLOW: callers that somebody knows of.
    pub callers: Vec<String>,
}

impl AuthorizationPolicy {
    /// Reads an AuthorizationPolicy.
    pub(crate) fn read(meta: Meta, document: &Node) -> Self {
        let rules = document.at(&["spec", "rules"]).map(Node::items).unwrap_or_default();
        let sources = rules
            .iter()
            .flat_map(|rule| rule.get("from").map(Node::items).unwrap_or_default())
            .filter_map(|from| from.get("source"));
        let allows =
            document.at(&["spec", "action"]).and_then(Node::text).is_none_or(|action| action == "ALLOW");
        let callers =
            sources.clone().filter(|_| allows).flat_map(|source| texts(source.get("principals"))).collect();
        let targets = ["targetRefs", "targetRef"].iter().any(|field| document.at(&["spec", field]).is_some());
        let selector = labels(document.at(&["spec", "selector", "matchLabels"]));
        let lists =
            sources.flat_map(|source| ["principals", "notPrincipals"].map(|name| source.get(name))).flatten();
        let principals =
            lists.flat_map(|list| texts(Some(list)).into_iter().map(move |text| (text, list.line))).collect();
        Self { meta, principals, selector: (!targets).then_some(selector), callers }
    }
}
