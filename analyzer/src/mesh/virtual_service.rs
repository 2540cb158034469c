//! VirtualService (networking.istio.io): which hosts are routed where, and by which kind of route.

use crate::mesh::meta::{Meta, port, texts};
use crate::mesh::node::Node;

flow::named! {
    /// A kind of route.
    pub enum RouteKind {
        /// `http`.
        Http = "http",
        /// `tls`: by SNI, not terminated.
        Tls = "tls",
        /// `tcp`.
        Tcp = "tcp",
    }
}

/// A VirtualService.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VirtualService {
    /// Metadata.
    pub meta: Meta,
    /// Hosts, as written.
    pub hosts: Vec<String>,
    /// Line of the hosts, else of the document.
    pub hosts_line: u32,
    /// Gateways, as written; none means `mesh`.
    pub gateways: Vec<String>,
    /// Namespaces it is visible in; empty for the mesh's default.
    pub export_to: Vec<String>,
    /// All routes.
    pub routes: Vec<Route>,
}

/// One route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Its kind.
    pub kind: RouteKind,
    /// The SNI hosts it matches; for `tls` routes.
    pub sni_hosts: Vec<String>,
    /// The gateways that its matches name; empty when they name none.
    pub gateways: Vec<String>,
    /// The ports that its matches name; empty for all.
    pub ports: Vec<u16>,
    /// Where it leads.
    pub destinations: Vec<Destination>,
    /// Its place in the document's list of routes of its kind.
    pub place: usize,
    /// Line of the route.
    pub line: u32,
}

/// Where a route leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// The host, as written.
    pub host: String,
    /// The subset.
    pub subset: Option<String>,
    /// The Service port.
    pub port: Option<u16>,
}

impl VirtualService {
    /// Reads a VirtualService.
    pub(crate) fn read(meta: Meta, document: &Node) -> Self {
        let spec = document.get("spec");
        let field = |name: &str| spec.and_then(|spec| spec.get(name));
        let routes = RouteKind::ALL
            .iter()
            .flat_map(|&kind| {
                field(kind.name())
                    .map(Node::items)
                    .unwrap_or_default()
                    .iter()
                    .enumerate()
                    .map(move |(place, entry)| route(kind, place, entry))
            })
            .collect();
        Self {
            hosts: texts(field("hosts")),
            hosts_line: field("hosts").map_or(meta.line, |node| node.line),
            gateways: texts(field("gateways")),
            export_to: texts(field("exportTo")),
            routes,
            meta,
        }
    }

    /// Tells whether the named gateway (`namespace/name`) is among those that it is bound to.
    #[must_use]
    pub fn binds(&self, namespace: &str, name: &str) -> bool {
        self.gateways.iter().any(|gateway| match gateway.split_once('/') {
            Some((in_namespace, gateway)) => in_namespace == namespace && gateway == name,
            None => gateway == name && &*self.meta.namespace == namespace,
        })
    }

    /// Tells whether sidecars use it.
    #[must_use]
    pub fn is_for_mesh(&self) -> bool {
        self.gateways.is_empty() || self.gateways.iter().any(|gateway| gateway == "mesh")
    }
}

fn route(kind: RouteKind, place: usize, entry: &Node) -> Route {
    let matches = entry.get("match").map(Node::items).unwrap_or_default();
    let destinations = entry
        .get("route")
        .map(Node::items)
        .unwrap_or_default()
        .iter()
        .filter_map(|target| {
            let destination = target.get("destination")?;
            Some(Destination {
                host: destination.get("host").and_then(Node::scalar)?,
                subset: destination.get("subset").and_then(Node::scalar),
                port: port(destination.at(&["port", "number"])),
            })
        })
        .collect();
    Route {
        kind,
        sni_hosts: matches.iter().flat_map(|entry| texts(entry.get("sniHosts"))).collect(),
        gateways: matches.iter().flat_map(|entry| texts(entry.get("gateways"))).collect(),
        ports: matches.iter().filter_map(|entry| port(entry.get("port"))).collect(),
        destinations,
        place,
        line: entry.line,
    }
}
