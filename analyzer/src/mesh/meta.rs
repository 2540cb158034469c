//! What every object has: its name, and where it was read.

use std::collections::BTreeMap;
use std::sync::Arc;

use flow::Timestamp;

use crate::mesh::node::Node;

/// Labels, or a selector over them.
pub type Labels = BTreeMap<String, String>;

/// The file of a document, shared by all that was read from it.
pub type File = Arc<str>;

/// An object's metadata, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// `apiVersion`, as written.
    pub version: Arc<str>,
    /// Kind, as written.
    pub kind: Arc<str>,
    /// Namespace; empty for cluster-wide kinds.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
    /// Labels.
    pub labels: Labels,
    /// Annotations.
    pub annotations: Labels,
    /// `creationTimestamp`; absent, or not RFC 3339, sorts last: such an object is the newest.
    pub created: Option<Timestamp>,
    /// The file it was read from.
    pub file: File,
    /// Line of the document's first key, from 1.
    pub line: u32,
    /// The document as read, for patches to it; absent for the kinds that nobody writes by hand and meshes have most of
    /// (pods, nodes, endpoints), and for ConfigMaps other than the mesh's.
    pub source: Option<Arc<serde_json::Value>>,
}

/// How objects compete in Istio: the oldest first, then by name, then by namespace.
pub type Age<'a> = (bool, Timestamp, &'a str, &'a str);

impl Meta {
    /// Reads `metadata` of a document; absent when it has no name.
    pub(crate) fn read(kind: &str, document: &Node, file: &File) -> Option<Self> {
        let metadata = document.get("metadata");
        let field = |name: &str| metadata.and_then(|metadata| metadata.get(name));
        // What is only handed to istioctl needs no name.
        let unnamed = || (kind == "IstioOperator").then(|| "istio".to_owned());
        let name = field("name").and_then(Node::scalar).or_else(unnamed)?;
        let namespace = field("namespace").and_then(Node::scalar);
        let clusterwide = matches!(kind, "Namespace" | "Node" | "GatewayClass" | "Istio");
        let written = !matches!(kind, "Pod" | "Node" | "Endpoints" | "EndpointSlice" | "ConfigMap");
        Some(Self {
            version: document.get("apiVersion").and_then(Node::text).unwrap_or_default().into(),
            kind: kind.into(),
            namespace: if clusterwide { "".into() } else { namespace.as_deref().unwrap_or("default").into() },
            name: name.as_str().into(),
            labels: labels(field("labels")),
            annotations: labels(field("annotations")),
            created: field("creationTimestamp").and_then(Node::text).and_then(|text| text.parse().ok()),
            file: file.clone(),
            line: document.entries().first().map_or(document.line, |(_, node)| node.line),
            source: written.then(|| Arc::new(document.json())),
        })
    }

    /// Returns `Kind/namespace/name`, or `Kind/name` for cluster-wide kinds.
    #[must_use]
    pub fn id(&self) -> String {
        // Put together rather than formatted: it is made for every citation.
        if self.namespace.is_empty() {
            [&self.kind, "/", &*self.name].concat()
        } else {
            [&self.kind, "/", &*self.namespace, "/", &self.name].concat()
        }
    }

    /// Returns what this object competes by with others of its kind.
    #[must_use]
    pub fn age(&self) -> Age<'_> {
        (self.created.is_none(), self.created.unwrap_or_default(), &self.name, &self.namespace)
    }
}

/// Reads a mapping of strings; anything else gives none.
pub(crate) fn labels(node: Option<&Node>) -> Labels {
    node.map(|node| {
        node.entries()
            .iter()
            .filter_map(|(key, value)| value.scalar().map(|value| (key.clone(), value)))
            .collect()
    })
    .unwrap_or_default()
}

/// Tells whether `labels` have every label of `selector`; an empty selector matches all.
#[must_use]
pub fn selects(selector: &Labels, labels: &Labels) -> bool {
    selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// Reads a list of strings; anything else gives none.
pub(crate) fn texts(node: Option<&Node>) -> Vec<String> {
    node.map(|node| node.items().iter().filter_map(Node::scalar).collect()).unwrap_or_default()
}

/// Reads a port number.
pub(crate) fn port(node: Option<&Node>) -> Option<u16> {
    node.and_then(Node::number).and_then(|number| u16::try_from(number).ok()).filter(|port| *port > 0)
}
