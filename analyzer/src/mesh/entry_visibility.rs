//! How far ServiceEntries are seen at most, by the mesh's administrator: MeshConfig, `serviceEntryVisibility` (Istio 1.31).

use crate::mesh::mesh_config::json_name;
use crate::mesh::meta::Labels;
use crate::mesh::network_policy::Selector;
use crate::mesh::node::Node;

/// How far a ServiceEntry is seen at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ceiling {
    /// As far as its `exportTo` says.
    Public,
    /// In its own namespace.
    Namespace,
    /// Nowhere.
    Nowhere,
}

impl Ceiling {
    fn read(node: Option<&Node>) -> Self {
        match node.and_then(Node::text) {
            Some("NAMESPACE") => Self::Namespace,
            Some("NONE") => Self::Nowhere,
            Some(_) | None => Self::Public,
        }
    }

    /// Returns what is left of an `exportTo` of an entry in `namespace`.
    ///
    /// Rule `sidecar.egress`. Istio: ServiceEntry visibility, "Extending visibility to sidecars and gateways".
    pub(super) fn limit(self, export_to: Vec<String>, namespace: &str) -> Vec<String> {
        let to_all = export_to.is_empty() || export_to.iter().any(|to| to == "*");
        let own: Vec<String> = match self {
            Self::Public => return export_to,
            Self::Namespace if to_all => vec![".".to_owned()],
            Self::Namespace => {
                export_to.into_iter().filter(|to| to == "." || to == "~" || to == namespace).collect()
            }
            Self::Nowhere => Vec::new(),
        };
        if own.is_empty() { vec!["~".to_owned()] } else { own }
    }
}

/// What decides for entries of a namespace, by its labels: the first of these all of whose rules select it. A rule that is no
/// selector of namespaces selects none.
///
/// Istio: `pilot/pkg/model`, `CompileServiceEntryVisibility`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryVisibility {
    default: Ceiling,
    policies: Vec<(Ceiling, Vec<Option<Selector>>)>,
}

impl EntryVisibility {
    /// Reads it where it holds for sidecars and gateways. ztunnel follows it always, which changes nothing that it sends.
    pub(super) fn read(mesh: &Node) -> Option<Self> {
        let own = field(mesh, "serviceEntryVisibility")?;
        field(own, "applyToSidecars").and_then(Node::bool).filter(|applies| *applies)?;
        let policies = items(own, "policies").iter().map(|policy| {
            let selectors = items(policy, "matchingRules")
                .iter()
                .map(|rule| field(rule, "namespaceSelector").map(|selector| Selector::read(Some(selector))));
            (Ceiling::read(field(policy, "visibility")), selectors.collect())
        });
        Some(Self { default: Ceiling::read(field(own, "defaultVisibility")), policies: policies.collect() })
    }

    pub(crate) fn of(&self, namespace: &Labels) -> Ceiling {
        let selects = |rule: &Option<Selector>| rule.as_ref().is_some_and(|rule| rule.selects(namespace));
        let policy = self.policies.iter().find(|(_, rules)| rules.iter().all(selects));
        policy.map_or(self.default, |(ceiling, _)| *ceiling)
    }
}

/// Finds a field by its name in JSON. The names of labels stay as they are written.
fn field<'a>(node: &'a Node, name: &str) -> Option<&'a Node> {
    node.entries().iter().find(|(key, _)| json_name(key) == name).map(|(_, value)| value)
}

fn items<'a>(node: &'a Node, name: &str) -> &'a [Node] {
    field(node, name).map(Node::items).unwrap_or_default()
}
