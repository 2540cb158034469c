//! Services and the endpoints behind them.

use std::net::IpAddr;

use crate::mesh::meta::{Labels, Meta, labels, port, texts};
use crate::mesh::node::Node;

/// A Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Metadata.
    pub meta: Meta,
    /// Virtual addresses; none for a headless one.
    pub cluster_ips: Vec<IpAddr>,
    /// Addresses that it is published at outside the cluster: `externalIPs`, and its load balancer's.
    pub published: Vec<IpAddr>,
    /// Whether `clusterIP` is `None`.
    pub headless: bool,
    /// The name outside that it is an alias of (`type: ExternalName`): then it stands outside the mesh and has no endpoints.
    pub external_name: Option<String>,
    /// What it selects pods by; absent when endpoints are kept by hand.
    pub selector: Option<Labels>,
    /// Its ports.
    pub ports: Vec<ServicePort>,
    /// Whether only endpoints on the client's own node are sent to: `internalTrafficPolicy: Local`.
    pub node_local: bool,
    /// Namespaces it is exported to (annotation `networking.istio.io/exportTo`); absent for the mesh's default.
    pub export_to: Option<Vec<String>>,
    /// Whether istiod does not know it: its namespace is in none of MeshConfig's `discoverySelectors`.
    pub undiscovered: bool,
}

/// One port of a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePort {
    /// Its name.
    pub name: Option<String>,
    /// The port that clients dial.
    pub port: u16,
    /// The port that it is published at on every node.
    pub node_port: Option<u16>,
    /// The container port behind it.
    pub target: TargetPort,
    /// The protocol that its declaration selects.
    pub protocol: Protocol,
    /// Its place in the document's list of ports.
    pub place: usize,
    /// Line of the name, else of the port.
    pub line: u32,
}

/// A Service's `targetPort`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetPort {
    /// A container port.
    Number(u16),
    /// The name of a container port.
    Name(String),
}

flow::named! {
    /// The protocol that a port's declaration selects (Istio: protocol selection).
    pub enum Protocol {
        /// HTTP/1.1.
        Http = "HTTP",
        /// HTTP/2.
        Http2 = "HTTP2",
        /// gRPC.
        Grpc = "GRPC",
        /// gRPC-Web.
        GrpcWeb = "GRPC-Web",
        /// HTTPS: TLS that is passed on.
        Https = "HTTPS",
        /// TLS that is passed on.
        Tls = "TLS",
        /// TCP.
        Tcp = "TCP",
        /// MongoDB.
        Mongo = "Mongo",
        /// MySQL.
        Mysql = "MySQL",
        /// Redis.
        Redis = "Redis",
        /// UDP.
        Udp = "UDP",
        /// Undeclared: Istio looks at the bytes.
        Unsupported = "Unsupported",
    }
}

impl Protocol {
    /// Tells whether the port is routed as HTTP.
    #[must_use]
    pub const fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::Http2 | Self::Grpc | Self::GrpcWeb)
    }

    /// Tells whether the port declares TLS that Istio passes on.
    #[must_use]
    pub const fn is_tls(self) -> bool {
        matches!(self, Self::Https | Self::Tls)
    }

    /// Reads a protocol as Istio's own resources spell it (`Gateway`, `ServiceEntry`, `Sidecar`).
    ///
    /// Rule `protocol-selection.parse`. Istio: `pkg/config/protocol`, `Parse`.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text.to_ascii_lowercase().as_str() {
            "tcp" => Self::Tcp,
            "udp" => Self::Udp,
            "grpc" => Self::Grpc,
            "grpc-web" => Self::GrpcWeb,
            "http" => Self::Http,
            "http2" => Self::Http2,
            "https" => Self::Https,
            "tls" => Self::Tls,
            "mongo" => Self::Mongo,
            "mysql" => Self::Mysql,
            "redis" => Self::Redis,
            _ => Self::Unsupported,
        }
    }

    /// Selects the protocol of a Service port: UDP, else `appProtocol`, else the name's part before the first dash.
    ///
    /// Rule `protocol-selection.service-port`. Istio: `pkg/config/kube`, `ConvertProtocol`.
    #[must_use]
    pub fn of_service_port(
        port: u16,
        transport: &str,
        app_protocol: Option<&str>,
        name: Option<&str>,
    ) -> Self {
        if transport.eq_ignore_ascii_case("UDP") {
            return Self::Udp;
        }
        let declared = match app_protocol {
            Some("kubernetes.io/h2c") => return Self::Http2,
            Some("kubernetes.io/ws") => return Self::Http,
            Some("kubernetes.io/wss") => return Self::Https,
            Some(declared) => Some(declared),
            None => name,
        };
        let declared = declared.unwrap_or_default().to_ascii_lowercase();
        let selected = if declared.starts_with("grpc-web") {
            Self::GrpcWeb
        } else {
            Self::parse(declared.split('-').next().unwrap_or_default())
        };
        // Protocols whose server speaks first would hang while Istio waits for the client's bytes.
        match (selected, port) {
            (Self::Unsupported, 25 | 53 | 3306 | 27017) => Self::Tcp,
            (selected, _) => selected,
        }
    }
}

impl Service {
    /// Reads a Service.
    pub(crate) fn read(meta: Meta, document: &Node) -> Self {
        let spec = document.get("spec");
        let field = |name: &str| spec.and_then(|spec| spec.get(name));
        let single = field("clusterIP").and_then(Node::scalar);
        let mut cluster_ips: Vec<IpAddr> = Vec::new();
        for ip in
            single.iter().cloned().chain(texts(field("clusterIPs"))).filter_map(|text| text.parse().ok())
        {
            if !cluster_ips.contains(&ip) {
                cluster_ips.push(ip);
            }
        }
        let ports = field("ports")
            .map(Node::items)
            .unwrap_or_default()
            .iter()
            .enumerate()
            .filter_map(|(place, entry)| service_port(place, entry))
            .collect();
        let export_to = meta.annotations.get("networking.istio.io/exportTo").map(|list| {
            list.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
        });
        let external = field("type").and_then(Node::text) == Some("ExternalName");
        let balancers =
            document.at(&["status", "loadBalancer", "ingress"]).map(Node::items).unwrap_or_default();
        Self {
            external_name: field("externalName").and_then(Node::scalar).filter(|_| external),
            headless: single.as_deref() == Some("None"),
            cluster_ips,
            published: texts(field("externalIPs"))
                .into_iter()
                .chain(balancers.iter().filter_map(|entry| entry.get("ip").and_then(Node::scalar)))
                .filter_map(|text| text.parse().ok())
                .collect(),
            selector: field("selector")
                .map(|selector| labels(Some(selector)))
                .filter(|labels| !labels.is_empty()),
            ports,
            node_local: field("internalTrafficPolicy").and_then(Node::text) == Some("Local"),
            export_to,
            undiscovered: false,
            meta,
        }
    }

    /// Returns the port with this number.
    #[must_use]
    pub fn port(&self, number: u16) -> Option<&ServicePort> {
        self.ports.iter().find(|port| port.port == number)
    }
}

fn service_port(place: usize, entry: &Node) -> Option<ServicePort> {
    let number = port(entry.get("port"))?;
    let name = entry.get("name").and_then(Node::scalar);
    let target = match entry.get("targetPort") {
        None => TargetPort::Number(number),
        Some(node) => match (port(Some(node)), node.scalar()) {
            (Some(number), _) => TargetPort::Number(number),
            (None, Some(name)) => TargetPort::Name(name),
            (None, None) => TargetPort::Number(number),
        },
    };
    let text = |field: &str| entry.get(field).and_then(Node::scalar);
    let transport = text("protocol").unwrap_or_else(|| "TCP".to_owned());
    let app_protocol = text("appProtocol");
    Some(ServicePort {
        protocol: Protocol::of_service_port(number, &transport, app_protocol.as_deref(), name.as_deref()),
        line: entry.get("name").or_else(|| entry.get("port")).map_or(entry.line, |node| node.line),
        place,
        name,
        port: number,
        node_port: port(entry.get("nodePort")),
        target,
    })
}

/// An EndpointSlice, or the older Endpoints: addresses behind a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointSlice {
    /// Metadata.
    pub meta: Meta,
    /// The Service's name, in the same namespace.
    pub service: String,
    /// Addresses.
    pub addresses: Vec<SliceAddress>,
    /// Ports: the Service port's name and the container port.
    pub ports: Vec<(Option<String>, u16)>,
}

/// One address behind a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SliceAddress {
    /// The address.
    pub ip: IpAddr,
    /// The pod's name, where it is one.
    pub pod: Option<String>,
    /// Whether it takes connections; no condition means that it does.
    pub ready: bool,
}

impl EndpointSlice {
    /// Reads an EndpointSlice; absent when it belongs to no Service.
    pub(crate) fn read(meta: Meta, document: &Node) -> Option<Self> {
        let service = meta.labels.get("kubernetes.io/service-name")?.clone();
        let mut addresses = Vec::new();
        for endpoint in document.get("endpoints").map(Node::items).unwrap_or_default() {
            let pod = pod_name(endpoint);
            let ready = endpoint.at(&["conditions", "ready"]).and_then(Node::bool).unwrap_or(true);
            for ip in texts(endpoint.get("addresses")).iter().filter_map(|text| text.parse().ok()) {
                addresses.push(SliceAddress { ip, pod: pod.clone(), ready });
            }
        }
        let ports = named_ports(document.get("ports"));
        Some(Self { meta, service, addresses, ports })
    }

    /// Reads an Endpoints object, a slice for each of its subsets.
    pub(crate) fn read_endpoints(meta: &Meta, document: &Node) -> Vec<Self> {
        let subsets = document.get("subsets").map(Node::items).unwrap_or_default();
        subsets
            .iter()
            .map(|subset| Self {
                meta: meta.clone(),
                service: meta.name.to_string(),
                addresses: [("addresses", true), ("notReadyAddresses", false)]
                    .into_iter()
                    .flat_map(|(list, ready)| {
                        let entries = subset.get(list).map(Node::items).unwrap_or_default().iter();
                        entries.filter_map(move |entry| {
                            let ip = entry.get("ip").and_then(Node::scalar)?.parse().ok()?;
                            Some(SliceAddress { ip, pod: pod_name(entry), ready })
                        })
                    })
                    .collect(),
                ports: named_ports(subset.get("ports")),
            })
            .collect()
    }
}

fn pod_name(entry: &Node) -> Option<String> {
    let target = entry.get("targetRef")?;
    (target.get("kind").and_then(Node::text) == Some("Pod"))
        .then(|| target.get("name").and_then(Node::scalar))
        .flatten()
}

fn named_ports(ports: Option<&Node>) -> Vec<(Option<String>, u16)> {
    ports
        .map(Node::items)
        .unwrap_or_default()
        .iter()
        .filter_map(|entry| {
            port(entry.get("port")).map(|number| (entry.get("name").and_then(Node::scalar), number))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::Protocol;

    #[test]
    fn a_service_port_selects_its_protocol() {
        let check = |port, transport, app, name, expected| {
            assert_eq!(
                Protocol::of_service_port(port, transport, app, name),
                expected,
                "{port} {transport} {app:?} {name:?}"
            );
        };
        check(80, "TCP", None, Some("http"), Protocol::Http);
        check(80, "TCP", None, Some("HTTP-web"), Protocol::Http);
        check(80, "TCP", None, Some("httpfoo"), Protocol::Unsupported);
        check(80, "TCP", None, Some("http2-x"), Protocol::Http2);
        check(80, "TCP", None, Some("grpc-web"), Protocol::GrpcWeb);
        check(80, "TCP", None, Some("grpc-web-x"), Protocol::GrpcWeb);
        check(80, "TCP", None, Some("grpc-x"), Protocol::Grpc);
        check(80, "TCP", None, Some("grpcweb-x"), Protocol::Unsupported);
        check(80, "TCP", None, None, Protocol::Unsupported);
        check(3306, "TCP", None, None, Protocol::Tcp);
        check(3306, "TCP", None, Some("mysql"), Protocol::Mysql);
        check(80, "UDP", Some("http"), Some("http"), Protocol::Udp);
        check(80, "TCP", Some("tls"), Some("http"), Protocol::Tls);
        check(80, "TCP", Some("kubernetes.io/h2c"), None, Protocol::Http2);
        check(80, "TCP", Some("kubernetes.io/ws"), None, Protocol::Http);
        check(80, "TCP", Some("kubernetes.io/wss"), None, Protocol::Https);
    }
}
