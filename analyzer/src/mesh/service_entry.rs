//! ServiceEntry and WorkloadEntry (networking.istio.io): hosts and addresses that no Service stands for.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::mesh::mesh_config::MeshConfig;
use crate::mesh::meta::{Labels, Meta, labels, port, texts};
use crate::mesh::node::Node;
use crate::mesh::service::Protocol;

flow::named! {
    /// How a ServiceEntry's endpoints are found.
    pub enum Resolution {
        /// The address that the client dialled. Also what no resolution means.
        None = "NONE",
        /// The endpoints as written.
        Static = "STATIC",
        /// By DNS.
        Dns = "DNS",
        /// By DNS, one address at a time.
        DnsRoundRobin = "DNS_ROUND_ROBIN",
        /// By DNS, as the request names it.
        DynamicDns = "DYNAMIC_DNS",
    }
}

/// A ServiceEntry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceEntry {
    /// Metadata.
    pub meta: Meta,
    /// Hosts.
    pub hosts: Vec<String>,
    /// Virtual addresses and ranges.
    pub addresses: Vec<IpNet>,
    /// Ports.
    pub ports: Vec<EntryPort>,
    /// Whether the service is part of the mesh. No location means outside.
    pub internal: bool,
    /// Whether the location was written.
    pub location_written: bool,
    /// Line of the location, else of the document.
    pub location_line: u32,
    /// How endpoints are found.
    pub resolution: Resolution,
    /// Endpoints written in it.
    pub endpoints: Vec<Endpoint>,
    /// The addresses that Istio has assigned to its hosts, which it writes into the status.
    pub assigned: Vec<(String, IpNet)>,
    /// Labels of pods and WorkloadEntries behind it, in its namespace.
    pub workload_selector: Option<Labels>,
    /// Namespaces it is visible in; empty for the mesh's default.
    pub export_to: Vec<String>,
}

/// A ServiceEntry's port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryPort {
    /// The port that clients dial.
    pub number: u16,
    /// Its name.
    pub name: String,
    /// The declared protocol: the field, not the name.
    pub protocol: Protocol,
    /// The port on the wire; absent when it is the number.
    pub target: Option<u16>,
    /// Its place in the document's list of ports.
    pub place: usize,
    /// Line of the entry.
    pub line: u32,
}

/// An address behind a ServiceEntry: one of its endpoints, or a WorkloadEntry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The address, where it is one and not a name.
    pub ip: Option<IpAddr>,
    /// The address as written.
    pub address: String,
    /// Ports on the wire, by port name.
    pub ports: BTreeMap<String, u16>,
    /// Labels.
    pub labels: Labels,
    /// The network that it is of, which nothing but this field says. Istio: `workloadEntryNetwork`.
    pub network: Option<String>,
    /// Service account; with one, the endpoint is taken to speak Istio mTLS.
    pub service_account: Option<String>,
    /// Line of the endpoint.
    pub line: u32,
}

/// A WorkloadEntry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkloadEntry {
    /// Metadata.
    pub meta: Meta,
    /// What it declares.
    pub endpoint: Endpoint,
}

impl ServiceEntry {
    /// Reads a ServiceEntry.
    pub(crate) fn read(meta: Meta, document: &Node, notes: &mut Vec<(u32, String)>) -> Self {
        let spec = document.get("spec");
        let field = |name: &str| spec.and_then(|spec| spec.get(name));
        let resolution = field("resolution").and_then(|node| {
            let text = node.scalar()?;
            text.parse()
                .map_err(|_| {
                    notes.push((node.line, format!("resolution '{text}' is unknown; taken as NONE")))
                })
                .ok()
        });
        let ports = field("ports")
            .map(Node::items)
            .unwrap_or_default()
            .iter()
            .enumerate()
            .filter_map(|(place, entry)| {
                Some(EntryPort {
                    number: port(entry.get("number"))?,
                    name: entry.get("name").and_then(Node::scalar).unwrap_or_default(),
                    protocol: Protocol::parse(
                        &entry.get("protocol").and_then(Node::scalar).unwrap_or_default(),
                    ),
                    target: port(entry.get("targetPort")),
                    place,
                    line: entry.line,
                })
            })
            .collect();
        Self {
            hosts: texts(field("hosts")),
            addresses: texts(field("addresses")).iter().filter_map(|text| network(text)).collect(),
            ports,
            internal: field("location").and_then(Node::text) == Some("MESH_INTERNAL"),
            location_written: field("location").is_some(),
            location_line: field("location").map_or(meta.line, |node| node.line),
            resolution: resolution.unwrap_or(Resolution::None),
            endpoints: field("endpoints")
                .map(Node::items)
                .unwrap_or_default()
                .iter()
                .map(Endpoint::read)
                .collect(),
            assigned: document
                .at(&["status", "addresses"])
                .map(Node::items)
                .unwrap_or_default()
                .iter()
                .filter_map(|entry| {
                    Some((entry.get("host")?.scalar()?, network(entry.get("value")?.text()?)?))
                })
                .collect(),
            workload_selector: field("workloadSelector").map(|node| labels(node.get("labels"))),
            export_to: texts(field("exportTo")),
            meta,
        }
    }
}

impl ServiceEntry {
    /// Tells whether proxies that answer DNS themselves tell its hosts apart by addresses that Istio assigns to them: to
    /// whole names that DNS resolves.
    ///
    /// Rule `client.whole-port`. Istio: `serviceentry.go` of `pkg/config/analysis`, `ProtocolAddressesAnalyzer`.
    #[must_use]
    pub fn is_told_by_assigned_addresses(&self, config: &MeshConfig) -> bool {
        let whole = self.hosts.iter().all(|host| !host.starts_with('*'));
        config.dns_capture && (!self.assigned.is_empty() || (whole && self.resolution != Resolution::None))
    }

    /// Returns the virtual addresses of one of its hosts: those written in it, else what proxies that answer DNS themselves say.
    ///
    /// Rule `client.whole-port`. Istio: `pilot/pkg/model/service.go`, `getAllAddressesForProxy`.
    #[must_use]
    pub fn addresses_of(&self, host: &str, config: &MeshConfig) -> Vec<IpNet> {
        if !self.addresses.is_empty() || !config.dns_capture {
            return self.addresses.clone();
        }
        self.assigned.iter().filter(|(name, _)| name == host).map(|(_, address)| *address).collect()
    }
}

impl WorkloadEntry {
    /// Reads a WorkloadEntry.
    pub(crate) fn read(meta: Meta, document: &Node) -> Option<Self> {
        let mut endpoint = Endpoint::read(document.get("spec")?);
        // Labels of the object count as those of the endpoint, and before them. Istio: `convertWorkloadEntry`.
        endpoint.labels.extend(meta.labels.clone());
        Some(Self { meta, endpoint })
    }
}

impl Endpoint {
    fn read(node: &Node) -> Self {
        let address = node.get("address").and_then(Node::scalar).unwrap_or_default();
        Self {
            ip: address.parse().ok(),
            address,
            ports: node
                .get("ports")
                .map(Node::entries)
                .unwrap_or_default()
                .iter()
                .filter_map(|(name, number)| port(Some(number)).map(|number| (name.clone(), number)))
                .collect(),
            labels: labels(node.get("labels")),
            network: node.get("network").and_then(Node::scalar).filter(|name| !name.is_empty()),
            service_account: node
                .get("serviceAccount")
                .and_then(Node::scalar)
                .filter(|name| !name.is_empty()),
            line: node.line,
        }
    }

    /// Tells whether clients may send Istio mTLS to it: by its label, else by its service account.
    ///
    /// Rule `auto-mtls.workload-entry`. Istio: `getTLSModeFromWorkloadEntry`.
    #[must_use]
    pub fn tls_mode_istio(&self) -> bool {
        self.labels
            .get("security.istio.io/tlsMode")
            .map_or_else(|| self.service_account.is_some(), |mode| mode == "istio")
    }

    /// Returns the port on the wire for a service port.
    #[must_use]
    pub fn wire_port(&self, port: &EntryPort) -> u16 {
        self.ports.get(&port.name).copied().or(port.target).unwrap_or(port.number)
    }
}

fn network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}
