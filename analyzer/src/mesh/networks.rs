//! Networks: which one an endpoint is of, and which gateways lead to those of another.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use crate::mesh::Mesh;
use crate::mesh::hosts::{HostEndpoint, HostService};
use crate::mesh::lookup::all_at;
use crate::mesh::meta::{Labels, port};
use crate::mesh::node::Node;
use crate::mesh::pod::Pod;
use crate::mesh::service::Service;
use crate::policy::inbound::HBONE;
use crate::policy::outbound::EAST_WEST;
use crate::report::PartyKind;

/// The ports at which a Gateway passes on what is for its network.
#[derive(Debug, Clone, Default)]
pub(crate) struct Passing {
    /// Those of sidecars.
    pub(crate) mtls: Vec<u16>,
    /// Those of HBONE.
    pub(crate) hbone: Vec<u16>,
}

/// What is declared of networks: by MeshNetworks, and by Gateways of the Gateway API with the label of one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks {
    /// Those that have a gateway, and whether it takes the sidecars' mTLS.
    with_gateways: Vec<(String, bool)>,
    /// Where gateways are, by address and port.
    gateways: Vec<SocketAddr>,
    /// Where gateways take HBONE, by address and port.
    hbone: Vec<SocketAddr>,
    /// Where gateways are, by the full names of their Services, and port: in the clusters that the network names.
    services: Vec<(String, u16, Vec<String>)>,
    /// The networks of addresses: `fromCidr`.
    ranges: Vec<(IpNet, String)>,
    /// The networks of whole clusters: `fromRegistry`.
    clusters: Vec<(String, String)>,
}

impl Networks {
    /// Takes `data.meshNetworks`. A gateway by the name of a Service is looked for in the clusters of `fromRegistry` alone, so that
    /// without any there is none.
    ///
    /// Source: MeshNetworks, `networks[].endpoints[]`, `networks[].gateways[]`. Istio:
    /// `pilot/pkg/serviceregistry/kube/controller/network.go`, `reloadMeshNetworks`.
    pub(crate) fn take(&mut self, declared: &Node) {
        for (name, network) in declared.get("networks").map(Node::entries).unwrap_or_default() {
            let list = |field: &str| network.get(field).map(Node::items).unwrap_or_default();
            let mut registries = Vec::new();
            for endpoints in list("endpoints") {
                let text = |field: &str| endpoints.get(field).and_then(Node::scalar);
                let range = text("fromCidr").and_then(|range| range.parse().ok());
                self.ranges.extend(range.map(|range: IpNet| (range, name.clone())));
                registries.extend(text("fromRegistry"));
            }
            self.clusters.extend(registries.iter().map(|cluster| (cluster.clone(), name.clone())));
            let mut has_gateway = false;
            for gateway in list("gateways") {
                let text = |field: &str| gateway.get(field).and_then(Node::scalar);
                let Some(port) = port(gateway.get("port")) else { continue };
                let (address, service) = (text("address"), text("registryServiceName"));
                has_gateway |= address.is_some() || (service.is_some() && !registries.is_empty());
                let ip = address.and_then(|address| address.parse::<IpAddr>().ok());
                self.gateways.extend(ip.map(|ip| SocketAddr::new(ip, port)));
                self.services.extend(service.map(|name| (name, port, registries.clone())));
            }
            if has_gateway {
                self.with_gateways.push((name.clone(), true));
            }
        }
    }

    /// Takes a Gateway of the Gateway API that has the label of a network: it leads there by these ports at each of its addresses.
    ///
    /// Istio: `pilot/pkg/serviceregistry/kube/controller/network.go`, `handleGatewayResource`.
    pub(crate) fn take_gateway(&mut self, labels: &Labels, document: &Node, ports: &Passing) {
        let addresses = document.at(&["spec", "addresses"]).map(Node::items).unwrap_or_default();
        let passes = !addresses.is_empty() && (!ports.mtls.is_empty() || !ports.hbone.is_empty());
        let Some(network) = network_in(labels).filter(|_| passes) else { return };
        self.with_gateways.push((network.to_owned(), !ports.mtls.is_empty()));
        let ips: Vec<IpAddr> =
            addresses.iter().filter_map(|address| address.get("value")?.text()?.parse().ok()).collect();
        let places = |ports: &[u16]| -> Vec<SocketAddr> {
            ips.iter().flat_map(|ip| ports.iter().map(|port| SocketAddr::new(*ip, *port))).collect()
        };
        self.gateways.extend(places(&ports.mtls));
        self.hbone.extend(places(&ports.hbone));
    }

    /// Returns the network that an address of a cluster is of: what is said of the whole cluster comes first.
    ///
    /// Istio: `pilot/pkg/serviceregistry/kube/controller/network.go`, `networkFromMeshNetworks`.
    fn of(&self, cluster: &str, ip: IpAddr) -> Option<&str> {
        let whole = self.clusters.iter().find(|(name, _)| name == cluster).map(|(_, network)| network);
        let ranges = self.ranges.iter().filter(|(range, _)| range.contains(&ip));
        // From the widest range to the narrowest.
        let ranged = ranges.min_by_key(|(range, _)| range.prefix_len()).map(|(_, network)| network);
        whole.or(ranged).map(String::as_str)
    }
}

impl Mesh {
    /// Tells whether this is the place of another network's gateway, where nothing declares it: the port of such gateways, what
    /// MeshNetworks or a Gateway names, or where a Service with the label of a network is published.
    ///
    /// Istio: `pilot/pkg/serviceregistry/kube/controller/network.go`, `extractGatewaysInner`.
    #[must_use]
    pub fn is_east_west(&self, ip: IpAddr, port: u16) -> bool {
        let networks = &self.config.networks;
        let by_service = |host: &HostService| {
            let cluster = self.control_plane.cluster();
            let named = networks.services.iter().any(|(name, own, registries)| {
                (name, *own) == (&host.host, port) && registries.iter().any(|registry| registry == cluster)
            });
            let labelled = self.service_of(host).is_some_and(|service| gateway_port(service) == Some(port));
            named || labelled
        };
        port == EAST_WEST
            || networks.gateways.contains(&SocketAddr::new(ip, port))
            || all_at(&self.hosts, self.places.published.at(&ip)).any(by_service)
    }

    /// Tells whether another network's gateway takes HBONE here: ztunnels and waypoints send through it in a tunnel of its own.
    ///
    /// Rule `ambient.hbone`. Istio: `pilot/pkg/serviceregistry/kube/controller/network.go`, `getGatewayDetails`.
    #[must_use]
    pub fn is_hbone_gateway(&self, ip: IpAddr, port: u16) -> bool {
        let published = || {
            all_at(&self.hosts, self.places.published.at(&ip)).any(|host| {
                self.service_of(host).is_some_and(|service| {
                    network_in(&service.meta.labels).is_some()
                        && service.ports.iter().any(|own| own.port == HBONE)
                })
            })
        };
        self.config.networks.hbone.contains(&SocketAddr::new(ip, port)) || (port == HBONE && published())
    }

    /// Returns the network of an endpoint that a client of another one reaches through a gateway only: since 1.30 one whose own
    /// network nobody tells as well. To sidecars a gateway that takes HBONE alone is none since 1.29.
    ///
    /// Rule `client.other-network`. Istio: `pilot/pkg/xds/endpoints/ep_filters.go`, `EndpointsByNetworkFilter`,
    /// `selectNetworkGateways`; istio/istio pull request 58613, issue 57878.
    #[must_use]
    pub fn network_apart<'a>(&'a self, client: &Pod, endpoint: &'a HostEndpoint) -> Option<&'a str> {
        let server = endpoint.network.as_deref()?;
        let version = self.control_plane.version;
        let apart = match client.network.as_deref().or_else(|| self.network_of_system()) {
            Some(own) => own != server,
            None => version.takes_gateways_from_nowhere(),
        };
        let hbone = client.proxy != PartyKind::Sidecar || !version.spares_sidecars_hbone_gateways();
        let labelled = |service: &Service| {
            let tunnel = || hbone && service.ports.iter().any(|own| own.port == HBONE);
            let leads = gateway_port(service).is_some() || tunnel();
            leads && !service.published.is_empty() && network_in(&service.meta.labels) == Some(server)
        };
        let named = || {
            let gateways = self.config.networks.with_gateways.iter();
            gateways.filter(|(_, mtls)| *mtls || hbone).any(|(network, _)| network == server)
        };
        (apart && (named() || self.services.iter().any(labelled))).then_some(server)
    }

    /// Returns the network that a pod is of as an endpoint.
    ///
    /// Istio: `pilot/pkg/serviceregistry/kube/controller/network.go`, `Network`.
    pub(crate) fn network_of_pod<'a>(&'a self, pod: &'a Pod, ip: IpAddr) -> Option<&'a str> {
        network_in(&pod.meta.labels)
            .or_else(|| self.network_of_system())
            .or_else(|| self.config.networks.of(self.control_plane.cluster(), ip))
    }

    /// Returns the network that the namespace of Istio says the cluster is of.
    fn network_of_system(&self) -> Option<&str> {
        let system = self.namespaces.get(&*self.config.root_namespace);
        system.and_then(|(_, labels)| network_in(labels))
    }
}

/// Returns the port at which a Service with the label of a network takes what is for that network; absent where it has no such port.
///
/// Istio: `pilot/pkg/serviceregistry/kube/controller/network.go`, `getGatewayDetails`.
fn gateway_port(service: &Service) -> Option<u16> {
    let labels = &service.meta.labels;
    network_in(labels)?;
    let declared = labels.get("networking.istio.io/gatewayPort").and_then(|port| port.parse().ok());
    let port = declared.unwrap_or(EAST_WEST);
    service.ports.iter().any(|own| own.port == port).then_some(port)
}

/// Returns the network that labels name.
pub(crate) fn network_in(labels: &Labels) -> Option<&str> {
    labels.get("topology.istio.io/network").map(String::as_str).filter(|network| !network.is_empty())
}
