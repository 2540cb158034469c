//! VirtualService (networking.istio.io): which hosts are routed where, and by which kind of route.

use crate::mesh::meta::{Labels, Meta, labels, port, selects, texts};
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
    /// The clients that its matches are for, each; empty for all.
    pub sources: Vec<Source>,
    /// Where it leads, where it copies requests to as well.
    pub destinations: Vec<Destination>,
    /// Its place in the document's list of routes of its kind.
    pub place: usize,
    /// Line of the route.
    pub line: u32,
}

/// Clients that a route is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Their namespace; absent for any.
    pub namespace: Option<String>,
    /// The labels that they have.
    pub labels: Labels,
}

impl Route {
    /// Tells whether a route is for the clients of a namespace that have these labels.
    ///
    /// Istio: `route.go`, `sourceMatchHTTP`; `tls.go`, `matchTLS` and `matchTCP`.
    #[must_use]
    pub fn is_for(&self, namespace: &str, labels: &Labels) -> bool {
        let fits = |source: &Source| {
            source.namespace.as_deref().is_none_or(|own| own == namespace) && selects(&source.labels, labels)
        };
        self.sources.is_empty() || self.sources.iter().any(fits)
    }

    /// Tells whether a route brings the hosts that it leads to past the Sidecars of a namespace: an http route whose matches
    /// name namespaces, if that one is among them.
    ///
    /// Istio: `push_context.go`, `virtualServiceDestinationsFilteredBySourceNamespace`.
    #[must_use]
    pub fn brings_to(&self, namespace: &str) -> bool {
        let mut named = self.sources.iter().filter_map(|source| source.namespace.as_deref()).peekable();
        self.kind != RouteKind::Http || named.peek().is_none() || named.any(|named| named == namespace)
    }
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
    let targets = |name: &str| entry.get(name).map(Node::items).unwrap_or_default();
    let copies = targets("mirrors").iter().filter(|_| kind == RouteKind::Http);
    let copy = entry.get("mirror").filter(|_| kind == RouteKind::Http);
    let destinations = targets("route")
        .iter()
        .chain(copies)
        .filter_map(|target| target.get("destination"))
        .chain(copy)
        .filter_map(destination)
        .collect();
    let sources = matches
        .iter()
        .map(|entry| {
            // Of an http match that names gateways these alone decide.
            let by_gateway = kind == RouteKind::Http && !texts(entry.get("gateways")).is_empty();
            if by_gateway { Source { namespace: None, labels: Labels::new() } } else { source(entry) }
        })
        .collect();
    Route {
        kind,
        sources,
        sni_hosts: matches.iter().flat_map(|entry| texts(entry.get("sniHosts"))).collect(),
        gateways: matches.iter().flat_map(|entry| texts(entry.get("gateways"))).collect(),
        ports: matches.iter().filter_map(|entry| port(entry.get("port"))).collect(),
        destinations,
        place,
        line: entry.line,
    }
}

fn destination(node: &Node) -> Option<Destination> {
    Some(Destination {
        host: node.get("host").and_then(Node::scalar)?,
        subset: node.get("subset").and_then(Node::scalar),
        port: port(node.at(&["port", "number"])),
    })
}

fn source(entry: &Node) -> Source {
    Source {
        namespace: entry.get("sourceNamespace").and_then(Node::scalar).filter(|name| !name.is_empty()),
        labels: labels(entry.get("sourceLabels")),
    }
}
