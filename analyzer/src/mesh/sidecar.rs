//! Sidecar (networking.istio.io): what a workload listens on and which hosts it knows.

use std::net::IpAddr;

use crate::mesh::meta::{Labels, Meta, labels, port, texts};
use crate::mesh::node::Node;
use crate::mesh::service::Protocol;

/// A Sidecar resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sidecar {
    /// Metadata.
    pub meta: Meta,
    /// The workloads it is for; absent for the whole namespace.
    pub selector: Option<Labels>,
    /// Listeners in place of the Services' ports; absent when there is no `ingress` list.
    pub ingress: Option<Vec<Ingress>>,
    /// Hosts that the workload knows; absent when there is no `egress` list: all.
    pub egress: Option<Vec<Egress>>,
    /// Whether unknown destinations are dropped; absent for the mesh's setting.
    pub registry_only: Option<bool>,
}

/// Hosts that a workload knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Egress {
    /// The place of its entry in the document's list.
    pub place: usize,
    /// Their pattern, `namespace/host`.
    pub host: String,
    /// Whether the entry leaves these out of what it lists besides (written with `~` before the namespace).
    pub excludes: bool,
    /// The port they are known by; absent for all.
    pub port: Option<u16>,
}

/// One inbound listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ingress {
    /// Its place in the document's list.
    pub place: usize,
    /// The container port.
    pub port: u16,
    /// Its protocol.
    pub protocol: Protocol,
    /// Its tls mode.
    pub tls_mode: Option<String>,
    /// Whether the proxy opens the port itself where nothing is redirected to it: not one that is bound to loopback or to be
    /// redirected.
    pub opens: bool,
    /// Line of the entry.
    pub line: u32,
}

impl Sidecar {
    /// Reads a Sidecar.
    pub(crate) fn read(meta: Meta, document: &Node) -> Self {
        let spec = document.get("spec");
        let field = |name: &str| spec.and_then(|spec| spec.get(name));
        let ingress = field("ingress").map(|list| {
            list.items()
                .iter()
                .enumerate()
                .filter_map(|(place, entry)| {
                    Some(Ingress {
                        place,
                        port: port(entry.at(&["port", "number"]))?,
                        protocol: Protocol::parse(
                            &entry.at(&["port", "protocol"]).and_then(Node::scalar).unwrap_or_default(),
                        ),
                        tls_mode: entry.at(&["tls", "mode"]).and_then(Node::scalar),
                        opens: opens(entry),
                        line: entry.line,
                    })
                })
                .collect::<Vec<_>>()
        });
        let egress = field("egress")
            .filter(|list| !list.items().is_empty())
            .map(|list| list.items().iter().enumerate().flat_map(egress_of).collect());
        let registry_only = spec
            .and_then(|spec| spec.get("outboundTrafficPolicy"))
            // No mode is REGISTRY_ONLY, the zero value.
            .map(|policy| policy.get("mode").and_then(Node::text).is_none_or(|mode| mode == "REGISTRY_ONLY"));
        Self {
            selector: field("workloadSelector")
                .map(|node| labels(node.get("labels")))
                .filter(|labels| !labels.is_empty()),
            ingress: ingress.filter(|list| !list.is_empty()),
            egress,
            registry_only,
            meta,
        }
    }
}

/// Istio: `listener_inbound.go`, `getBindToPort`.
fn opens(entry: &Node) -> bool {
    let text = |field: &str| entry.get(field).and_then(Node::text);
    let bind = text("bind").and_then(|bind| bind.parse::<IpAddr>().ok());
    text("captureMode") != Some("IPTABLES") && bind.is_none_or(|bind| !bind.is_loopback())
}

/// An HTTP proxy's listener takes every port of its hosts; any other takes its own. One without hosts lists nothing.
fn egress_of((place, entry): (usize, &Node)) -> impl Iterator<Item = Egress> {
    let proxy = entry
        .at(&["port", "protocol"])
        .and_then(Node::text)
        .is_some_and(|protocol| protocol.eq_ignore_ascii_case("HTTP_PROXY"));
    let port = port(entry.at(&["port", "number"])).filter(|_| !proxy);
    let mut hosts = texts(entry.get("hosts"));
    if hosts.is_empty() {
        hosts.push("~/*".to_owned());
    }
    hosts.into_iter().map(move |host| {
        let (host, excludes) = listed(&host);
        Egress { place, host, excludes, port }
    })
}

/// Reads what an egress entry says of hosts: their pattern, and whether it leaves them out. `~` alone stands for every namespace.
///
/// Rule `sidecar.egress`. Istio: `sidecar.go`, `convertIstioListenerToWrapper`; istio/istio pull request 60581.
pub(crate) fn listed(host: &str) -> (String, bool) {
    match host.strip_prefix('~').and_then(|rest| rest.split_once('/')) {
        Some(("", name)) => (["*/", name].concat(), true),
        Some((namespace, name)) => ([namespace, "/", name].concat(), true),
        None => (host.to_owned(), false),
    }
}
