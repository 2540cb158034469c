//! Gateway (networking.istio.io), and what a Kubernetes Gateway API Gateway becomes.

use std::sync::Arc;

use crate::mesh::meta::{Age, Labels, Meta, labels, port, texts};
use crate::mesh::node::Node;
use crate::mesh::service::Protocol;

flow::named! {
    /// A Gateway server's tls mode.
    pub enum ServerTlsMode {
        /// The connection is routed by SNI and not terminated. Also what no mode means.
        Passthrough = "PASSTHROUGH",
        /// One-way TLS.
        Simple = "SIMPLE",
        /// A client certificate is required.
        Mutual = "MUTUAL",
        /// Routed by an SNI of the form `outbound_...`, not terminated.
        AutoPassthrough = "AUTO_PASSTHROUGH",
        /// A mesh certificate is required.
        IstioMutual = "ISTIO_MUTUAL",
        /// A client certificate is asked for, not required.
        OptionalMutual = "OPTIONAL_MUTUAL",
    }
}

/// A Gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    /// Metadata.
    pub meta: Meta,
    /// Namespace of its pods and Services where it is bound to one: its own, of a ListenerSet its parent's.
    pub namespace: Arc<str>,
    /// Labels of the gateway pods that it configures.
    pub selector: Labels,
    /// Line of the selector, else of the document.
    pub selector_line: u32,
    /// Services whose pods it configures instead: the addresses of a Gateway of the Gateway API, or the annotation
    /// `internal.istio.io/gateway-service`.
    pub services: Vec<String>,
    /// Its servers, in order.
    pub servers: Vec<Server>,
}

/// One server of a Gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// The Service port that it listens on.
    pub port: u16,
    /// The port's name.
    pub port_name: Option<String>,
    /// The protocol as written.
    pub protocol_text: String,
    /// The protocol.
    pub protocol: Protocol,
    /// Hosts, namespace prefixes stripped.
    pub hosts: Vec<String>,
    /// The namespace whose VirtualServices each of the hosts is for, in the same order; `*` for all.
    pub host_namespaces: Vec<String>,
    /// The address or socket that it listens on; absent for every address.
    pub bind: Option<String>,
    /// The tls block.
    pub tls: Option<ServerTls>,
    /// Its place in the document's list of servers or listeners.
    pub place: usize,
    /// Line of the server.
    pub line: u32,
}

/// A server's tls block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTls {
    /// The mode in force: no mode means PASSTHROUGH, the zero value.
    pub mode: ServerTlsMode,
    /// Whether the mode was written.
    pub mode_written: bool,
    /// Line of the mode, else of the block.
    pub line: u32,
    /// Whether plaintext requests are redirected to HTTPS.
    pub https_redirect: bool,
    /// Whether `httpsRedirect` is all that the block holds.
    pub only_redirect: bool,
    /// `credentialName`, or the first of `credentialNames`.
    pub credential_name: Option<String>,
    /// Whether a server certificate is named as a file.
    pub server_certificate: bool,
    /// The server certificate's file, where named.
    pub server_certificate_file: Option<String>,
    /// Whether a CA is named, as a file or a credential.
    pub ca_certificates: bool,
    /// The lowest version, as Istio writes it: `TLSV1_2`.
    pub min_version: Option<String>,
    /// The highest version.
    pub max_version: Option<String>,
    /// Suites by OpenSSL name.
    pub cipher_suites: Vec<String>,
}

impl Gateway {
    /// Reads a Gateway of networking.istio.io.
    pub(crate) fn read(meta: Meta, document: &Node, notes: &mut Vec<(u32, String)>) -> Self {
        let spec = document.get("spec");
        let servers = spec
            .and_then(|spec| spec.get("servers"))
            .map(Node::items)
            .unwrap_or_default()
            .iter()
            .enumerate()
            .filter_map(|(place, entry)| {
                let bind = entry.get("bind").and_then(Node::scalar).filter(|bind| !bind.is_empty());
                let Some(number) = port(entry.at(&["port", "number"])) else {
                    // A socket has no number, and nothing of it is ever on a wire.
                    if bind.as_ref().is_some_and(|bind| bind.starts_with("unix://")) {
                        return None;
                    }
                    notes.push((entry.line, "a server without port.number is left out".to_owned()));
                    return None;
                };
                let protocol_text = entry
                    .at(&["port", "protocol"])
                    .and_then(Node::scalar)
                    .unwrap_or_else(|| "TCP".to_owned());
                let hosts = texts(entry.get("hosts"));
                Some(Server {
                    port: number,
                    port_name: entry.at(&["port", "name"]).and_then(Node::scalar),
                    protocol: Protocol::parse(&protocol_text),
                    protocol_text,
                    host_namespaces: hosts
                        .iter()
                        .map(|host| match host.split_once('/') {
                            Some((".", _)) => meta.namespace.to_string(),
                            Some((namespace, _)) => namespace.to_owned(),
                            None => "*".to_owned(),
                        })
                        .collect(),
                    hosts: hosts.iter().map(|host| strip_namespace(host)).collect(),
                    bind,
                    tls: entry.get("tls").map(|node| server_tls(node, notes)),
                    place,
                    line: entry.line,
                })
            })
            .collect();
        Self {
            selector: labels(spec.and_then(|spec| spec.get("selector"))),
            selector_line: spec.and_then(|spec| spec.get("selector")).map_or(meta.line, |node| node.line),
            services: meta
                .annotations
                .get("internal.istio.io/gateway-service")
                .map(|list| list.split(',').map(|name| name.trim().to_owned()).collect())
                .unwrap_or_default(),
            servers,
            namespace: meta.namespace.clone(),
            meta,
        }
    }

    /// What it competes by with others: the listeners of a ListenerSet come after a Gateway's own.
    #[must_use]
    pub fn age(&self) -> (bool, Age<'_>) {
        (self.meta.kind.ends_with("ListenerSet"), self.meta.age())
    }
}

impl Server {
    /// Returns the hosts that VirtualServices of a namespace may be bound to.
    pub fn hosts_for(&self, namespace: &str) -> impl Iterator<Item = &String> {
        let scopes = self.host_namespaces.iter();
        self.hosts
            .iter()
            .zip(scopes)
            .filter(move |(_, scope)| *scope == "*" || *scope == namespace)
            .map(|(host, _)| host)
    }
}

fn strip_namespace(host: &str) -> String {
    host.split_once('/').map_or(host, |(_, name)| name).to_owned()
}

fn server_tls(node: &Node, notes: &mut Vec<(u32, String)>) -> ServerTls {
    let mode = node.get("mode");
    let written = mode.and_then(Node::scalar);
    let parsed = written.as_deref().map(str::parse::<ServerTlsMode>);
    if let (Some(Err(_)), Some(node), Some(text)) = (&parsed, mode, &written) {
        notes.push((node.line, format!("tls mode '{text}' is unknown to Istio; taken as PASSTHROUGH")));
    }
    let text = |field: &str| node.get(field).and_then(Node::scalar).filter(|text| !text.is_empty());
    // TLS_AUTO is the zero value, as good as none.
    let version = |field: &str| text(field).filter(|version| version != "TLS_AUTO");
    let https_redirect = node.get("httpsRedirect").and_then(Node::bool).unwrap_or(false);
    let credential = text("credentialName").or_else(|| texts(node.get("credentialNames")).into_iter().next());
    ServerTls {
        mode: parsed.and_then(Result::ok).unwrap_or(ServerTlsMode::Passthrough),
        mode_written: mode.is_some(),
        line: mode.map_or(node.line, |node| node.line),
        https_redirect,
        // PASSTHROUGH is what no mode means: written out, it changes nothing.
        only_redirect: node.entries().iter().all(|(key, value)| {
            key == "httpsRedirect" || (https_redirect && key == "mode" && value.text() == Some("PASSTHROUGH"))
        }),
        credential_name: credential,
        server_certificate: text("serverCertificate").is_some()
            || !node.get("tlsCertificates").map(Node::items).unwrap_or_default().is_empty(),
        server_certificate_file: text("serverCertificate"),
        ca_certificates: text("caCertificates").is_some() || text("caCertCredentialName").is_some(),
        min_version: version("minProtocolVersion"),
        max_version: version("maxProtocolVersion"),
        cipher_suites: texts(node.get("cipherSuites")),
    }
}
