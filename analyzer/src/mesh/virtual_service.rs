//! VirtualService (networking.istio.io): which hosts are routed where, and by which kind of route.

use ipnet::IpNet;

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
    /// What it takes, one of these being enough; empty for everything.
    pub matches: Vec<Match>,
    /// Where it leads, where it copies requests to as well.
    pub destinations: Vec<Destination>,
    /// The VirtualService whose http routes take its place, `namespace` and `name`; of an `http` route.
    pub delegate: Option<(Option<String>, String)>,
    /// Its place in the document's list of routes of its kind.
    pub place: usize,
    /// Line of the route.
    pub line: u32,
}

/// What a route takes: all of this together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Match {
    /// The gateways that it names; empty when it names none.
    pub gateways: Vec<String>,
    /// The port that clients dial; absent for any.
    pub port: Option<u16>,
    /// The SNI hosts; of `tls` routes.
    pub sni_hosts: Vec<String>,
    /// Ranges that the client's destination is in; empty for any. Of `tcp` and `tls` routes.
    pub subnets: Vec<IpNet>,
    /// Namespace of the clients; absent for any.
    pub namespace: Option<String>,
    /// The labels that the clients have.
    pub labels: Labels,
    /// Whether it asks more of a request, as its path.
    pub of_requests: bool,
}

impl Match {
    /// Tells whether it names no gateway, or one of those asked for.
    #[must_use]
    pub fn is_at(&self, gateway: impl Fn(&str) -> bool) -> bool {
        self.gateways.is_empty() || self.gateways.iter().any(|name| gateway(name))
    }

    /// Tells whether it is for a port that clients dial.
    #[must_use]
    pub fn is_on(&self, port: u16) -> bool {
        self.port.is_none_or(|own| own == port)
    }

    /// Tells whether it is for the clients of a namespace that have these labels.
    ///
    /// Istio: `route.go`, `sourceMatchHTTP`; `tls.go`, `matchTLS` and `matchTCP`.
    #[must_use]
    pub fn is_for(&self, namespace: &str, labels: &Labels) -> bool {
        self.namespace.as_deref().is_none_or(|own| own == namespace) && selects(&self.labels, labels)
    }
}

impl Route {
    /// Tells whether it takes everything, or has a match of this kind.
    #[must_use]
    pub fn takes(&self, fits: impl Fn(&Match) -> bool) -> bool {
        self.matches.is_empty() || self.matches.iter().any(fits)
    }

    /// Returns the SNI hosts of its matches.
    pub fn sni_hosts(&self) -> impl Iterator<Item = &String> {
        self.matches.iter().flat_map(|one| &one.sni_hosts)
    }

    /// Tells whether a route brings the hosts that it leads to past the Sidecars of a namespace: an http route whose matches
    /// name namespaces, if that one is among them.
    ///
    /// Istio: `push_context.go`, `virtualServiceDestinationsFilteredBySourceNamespace`.
    #[must_use]
    pub fn brings_to(&self, namespace: &str) -> bool {
        let mut named = self.matches.iter().filter_map(|one| one.namespace.as_deref()).peekable();
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
    /// Whether anything is sent there: not to one without a weight beside others.
    pub used: bool,
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
    let weighs = |target: &Node| target.get("weight").and_then(Node::number).is_some_and(|weight| weight > 0);
    let weighed = targets("route").iter().any(weighs);
    let copies = targets("mirrors").iter().filter(|_| kind == RouteKind::Http);
    let copy = entry.get("mirror").filter(|_| kind == RouteKind::Http);
    let routed =
        targets("route").iter().map(|target| (target.get("destination"), !weighed || weighs(target)));
    let copied = copies.map(|target| target.get("destination")).chain([copy]).map(|target| (target, true));
    let destinations = routed.chain(copied).filter_map(|(target, used)| destination(target?, used)).collect();
    let matches = matches.iter().map(|entry| matched(kind, entry)).collect();
    let text = |field: &str| entry.at(&["delegate", field]).and_then(Node::scalar);
    let delegate = text("name").filter(|_| kind == RouteKind::Http);
    let delegate = delegate.map(|name| (text("namespace").filter(|name| !name.is_empty()), name));
    Route { kind, matches, destinations, delegate, place, line: entry.line }
}

fn destination(node: &Node, used: bool) -> Option<Destination> {
    Some(Destination {
        host: node.get("host").and_then(Node::scalar)?,
        subset: node.get("subset").and_then(Node::scalar),
        port: port(node.at(&["port", "number"])),
        used,
    })
}

fn matched(kind: RouteKind, entry: &Node) -> Match {
    const STATIC: [&str; 6] = ["name", "statPrefix", "gateways", "port", "sourceNamespace", "sourceLabels"];
    let http = kind == RouteKind::Http;
    let gateways = texts(entry.get("gateways"));
    // Of an http match that names gateways these alone decide.
    let by_gateway = http && !gateways.is_empty();
    let namespace = entry.get("sourceNamespace").and_then(Node::scalar).filter(|name| !name.is_empty());
    let asks = |(key, value): &(String, Node)| !STATIC.contains(&key.as_str()) && !is_any_path(key, value);
    Match {
        port: port(entry.get("port")),
        sni_hosts: texts(entry.get("sniHosts")),
        subnets: texts(entry.get("destinationSubnets")).iter().filter_map(|text| range(text)).collect(),
        namespace: namespace.filter(|_| !by_gateway),
        labels: if by_gateway { Labels::new() } else { labels(entry.get("sourceLabels")) },
        of_requests: http && entry.entries().iter().any(asks),
        gateways,
    }
}

/// Tells whether a part of a match takes every path. Istio: `route.go`, `IsCatchAllRoute`.
fn is_any_path(key: &str, value: &Node) -> bool {
    let prefix = || value.get("prefix").and_then(Node::text) == Some("/");
    value.is_null() || (key == "uri" && prefix()) || (key == "ignoreUriCase")
}

/// Reads a range, or a single address.
fn range(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<std::net::IpAddr>().ok().map(IpNet::from))
}
