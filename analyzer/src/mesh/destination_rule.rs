//! DestinationRule (networking.istio.io).

use crate::mesh::meta::{Labels, Meta, labels, port, texts};
use crate::mesh::node::Node;
use crate::report::ClientTls;

/// A DestinationRule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DestinationRule {
    /// Metadata. A BackendTLSPolicy, or an XBackend, stands here as a rule of its own kind.
    pub meta: Meta,
    /// The host it is for, as written.
    pub host: String,
    /// Line of the host.
    pub host_line: u32,
    /// Namespaces it is visible in; empty for the mesh's default.
    pub export_to: Vec<String>,
    /// The client workloads it is for; absent for all. A selector without labels chooses all of its namespace, and is a
    /// selector all the same: the rule is private.
    pub workload_selector: Option<Labels>,
    /// The policy at the top.
    pub policy: Option<TrafficPolicy>,
    /// Subsets, in order.
    pub subsets: Vec<Subset>,
}

/// A named subset with its own policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subset {
    /// Its place in the document's list.
    pub place: usize,
    /// Its name.
    pub name: String,
    /// Labels of the endpoints in it.
    pub labels: Labels,
    /// Its policy.
    pub policy: Option<TrafficPolicy>,
}

/// The parts of a traffic policy that bear on TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrafficPolicy {
    /// The tls block.
    pub tls: Option<TlsSettings>,
    /// Whether the load balancer is PASSTHROUGH.
    pub passthrough: bool,
    /// Per-port policies, by Service port.
    pub ports: Vec<PortPolicy>,
    /// Line of the policy.
    pub line: u32,
}

/// A policy for one Service port. It replaces the whole policy above it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortPolicy {
    /// The Service port; absent for an entry without one, which matches nothing.
    pub port: Option<u16>,
    /// Its tls block.
    pub tls: Option<TlsSettings>,
    /// Whether its load balancer is PASSTHROUGH.
    pub passthrough: bool,
    /// Line of the entry.
    pub line: u32,
}

/// A client's tls block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSettings {
    /// The mode in force: no mode means DISABLE, the zero value.
    pub mode: ClientTls,
    /// Whether the mode was written.
    pub mode_written: bool,
    /// Line of the mode, else of the block.
    pub line: u32,
    /// The SNI to send.
    pub sni: Option<String>,
    /// `credentialName`.
    pub credential_name: Option<String>,
    /// Whether a client certificate and key are named as files.
    pub client_certificate: bool,
    /// Whether a CA is named.
    pub ca_certificates: bool,
    /// Whether the server's certificate is not verified.
    pub insecure_skip_verify: bool,
    /// Accepted names of the server.
    pub subject_alt_names: Vec<String>,
}

impl DestinationRule {
    /// Reads a DestinationRule; absent without a host.
    pub(crate) fn read(meta: Meta, document: &Node, notes: &mut Vec<(u32, String)>) -> Option<Self> {
        let spec = document.get("spec")?;
        let host = spec.get("host")?;
        let subsets = spec
            .get("subsets")
            .map(Node::items)
            .unwrap_or_default()
            .iter()
            .enumerate()
            .filter_map(|(place, entry)| {
                Some(Subset {
                    place,
                    name: entry.get("name").and_then(Node::scalar)?,
                    labels: labels(entry.get("labels")),
                    policy: entry.get("trafficPolicy").map(|node| policy(node, notes)),
                })
            })
            .collect();
        Some(Self {
            host: host.scalar()?,
            host_line: host.line,
            export_to: texts(spec.get("exportTo")),
            workload_selector: spec.get("workloadSelector").map(|node| labels(node.get("matchLabels"))),
            policy: spec.get("trafficPolicy").map(|node| policy(node, notes)),
            subsets,
            meta,
        })
    }

    /// Tells whether a BackendTLSPolicy or an XBackend stands here.
    #[must_use]
    pub fn is_backend_policy(&self) -> bool {
        matches!(&*self.meta.kind, "BackendTLSPolicy" | "XBackend")
    }

    /// Tells whether the rule is for its own namespace only: exported to `.`, or bound to workloads.
    #[must_use]
    pub fn is_private(&self) -> bool {
        self.workload_selector.is_some()
            || (!self.export_to.is_empty()
                && self.export_to.iter().all(|to| to == "." || *to == *self.meta.namespace))
    }
}

impl TrafficPolicy {
    /// Returns the port-level entry for a Service port.
    #[must_use]
    pub fn for_port(&self, number: u16) -> Option<&PortPolicy> {
        self.ports.iter().find(|entry| entry.port == Some(number))
    }
}

fn policy(node: &Node, notes: &mut Vec<(u32, String)>) -> TrafficPolicy {
    TrafficPolicy {
        tls: node.get("tls").map(|node| tls(node, notes)),
        passthrough: passthrough(node),
        ports: node
            .get("portLevelSettings")
            .map(Node::items)
            .unwrap_or_default()
            .iter()
            .map(|entry| PortPolicy {
                port: port(entry.at(&["port", "number"])),
                tls: entry.get("tls").map(|node| tls(node, notes)),
                passthrough: passthrough(entry),
                line: entry.line,
            })
            .collect(),
        line: node.line,
    }
}

fn passthrough(node: &Node) -> bool {
    node.at(&["loadBalancer", "simple"]).and_then(Node::text) == Some("PASSTHROUGH")
}

fn tls(node: &Node, notes: &mut Vec<(u32, String)>) -> TlsSettings {
    let mode = node.get("mode");
    let written = mode.and_then(Node::scalar);
    let parsed = written.as_deref().map(str::parse::<ClientTls>);
    if let (Some(Err(_)), Some(node), Some(text)) = (&parsed, mode, &written) {
        notes.push((
            node.line,
            format!("tls mode '{text}' is none of DISABLE, SIMPLE, MUTUAL, ISTIO_MUTUAL; taken as DISABLE"),
        ));
    }
    let text = |field: &str| node.get(field).and_then(Node::scalar).filter(|text| !text.is_empty());
    TlsSettings {
        mode: parsed.and_then(Result::ok).unwrap_or(ClientTls::Disable),
        mode_written: mode.is_some(),
        line: mode.map_or(node.line, |node| node.line),
        sni: text("sni"),
        credential_name: text("credentialName"),
        client_certificate: text("clientCertificate").is_some() && text("privateKey").is_some(),
        ca_certificates: text("caCertificates").is_some(),
        insecure_skip_verify: node.get("insecureSkipVerify").and_then(Node::bool).unwrap_or(false),
        subject_alt_names: texts(node.get("subjectAltNames")),
    }
}
