//! The mesh as one immutable value, with the lookups that judging takes.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::mesh::authorization_policy::AuthorizationPolicy;
use crate::mesh::control_plane::ControlPlane;
use crate::mesh::destination_rule::DestinationRule;
use crate::mesh::gateway::Gateway;
use crate::mesh::gateway_api::{self, Target};
use crate::mesh::hosts::{Behind, HostEndpoint, HostPort, HostService, Owner, fqdn};
use crate::mesh::manifest::{Manifest, Resources};
use crate::mesh::mesh_config::MeshConfig;
use crate::mesh::meta::{Labels, Meta, selects};
use crate::mesh::network_policy::NetworkPolicy;
use crate::mesh::peer_authentication::PeerAuthentication;
use crate::mesh::pod::Pod;
use crate::mesh::service::{Protocol, Service};
use crate::mesh::service_entry::{Resolution, ServiceEntry, WorkloadEntry};
use crate::mesh::sidecar::Sidecar;
use crate::mesh::virtual_service::VirtualService;
use crate::policy::gateway::{configures, listens_on};
use crate::policy::outbound::istio_sni;
use crate::policy::visibility::covers;
use crate::report::{InputError, PartyKind};

/// A snapshot of all declarations. Whatever it refers to and does not hold is simply not there: lookups say so.
#[derive(Debug, Default)]
pub struct Mesh {
    /// MeshConfig, with Istio's defaults where nothing is declared.
    pub config: MeshConfig,
    /// What is known of istiod. A caller that knows better may set it: no lookup is made from it beforehand.
    pub control_plane: ControlPlane,
    /// Labels of the namespaces, by name.
    pub namespaces: BTreeMap<Arc<str>, (Meta, Labels)>,
    /// Pods.
    pub pods: Vec<Pod>,
    /// Services of Kubernetes, as declared.
    pub services: Vec<Service>,
    /// PeerAuthentications, oldest first.
    pub peer_authentications: Vec<PeerAuthentication>,
    /// DestinationRules, oldest first; those made of BackendTLSPolicies last.
    pub destination_rules: Vec<DestinationRule>,
    /// Gateways, oldest first.
    pub gateways: Vec<Gateway>,
    /// VirtualServices, oldest first.
    pub virtual_services: Vec<VirtualService>,
    /// ServiceEntries, oldest first.
    pub service_entries: Vec<ServiceEntry>,
    /// WorkloadEntries.
    pub workload_entries: Vec<WorkloadEntry>,
    /// Sidecars, oldest first.
    pub sidecars: Vec<Sidecar>,
    /// NetworkPolicies.
    pub network_policies: Vec<NetworkPolicy>,
    /// AuthorizationPolicies.
    pub authorization_policies: Vec<AuthorizationPolicy>,
    /// Every host that a client can name: Services and ServiceEntries, oldest first.
    pub hosts: Vec<HostService>,
    machines: Vec<Pod>,
    nodes: HashMap<IpAddr, Arc<str>>,
    places: Places,
    gateway_ports: HashMap<(IpAddr, u16), usize>,
    pods_by_ip: HashMap<IpAddr, Vec<usize>>,
    hosts_by_ip: HashMap<IpAddr, Vec<usize>>,
    ranges: Vec<(IpNet, usize)>,
}

/// Where the resources of each namespace stand, oldest first where they compete.
#[derive(Debug, Default)]
struct Places {
    pods: HashMap<Arc<str>, PodPlaces>,
    peer_authentications: HashMap<Arc<str>, Vec<usize>>,
    destination_rules: HashMap<Arc<str>, Vec<usize>>,
    sidecars: HashMap<Arc<str>, Vec<usize>>,
    workload_entries: HashMap<Arc<str>, Vec<usize>>,
}

/// The pods of a namespace that have not ended: all of them, and by each of their labels.
#[derive(Debug, Default)]
struct PodPlaces {
    all: Vec<usize>,
    by_label: HashMap<String, Vec<usize>>,
}

fn label(key: &str, value: &str) -> String {
    format!("{key}={value}")
}

fn by_namespace<'a>(metas: impl Iterator<Item = &'a Meta>) -> HashMap<Arc<str>, Vec<usize>> {
    let mut places: HashMap<Arc<str>, Vec<usize>> = HashMap::new();
    for (place, meta) in metas.enumerate() {
        places.entry(meta.namespace.clone()).or_default().push(place);
    }
    places
}

fn at<'a, T>(
    all: &'a [T],
    places: &'a HashMap<Arc<str>, Vec<usize>>,
    namespace: &str,
) -> impl DoubleEndedIterator<Item = &'a T> + use<'a, T> {
    places.get(namespace).map_or(&[][..], Vec::as_slice).iter().filter_map(|place| all.get(*place))
}

impl Mesh {
    /// Reads manifests. What cannot be read is reported and costs nothing else.
    #[must_use]
    pub fn load(manifests: Vec<Manifest>) -> (Self, Vec<InputError>) {
        let mut resources = Resources::read(&manifests);
        drop(manifests);
        let errors = std::mem::take(&mut resources.errors);
        (Self::of(resources), errors)
    }

    fn of(resources: Resources) -> Self {
        let config = resources.config.unwrap_or_default();
        let mut mesh = Self {
            namespaces: resources
                .namespaces
                .into_iter()
                .map(|(meta, labels)| (meta.name.clone(), (meta, labels)))
                .collect(),
            pods: resources.pods,
            services: resources.services,
            peer_authentications: resources.peer_authentications,
            destination_rules: resources.destination_rules,
            gateways: resources.gateways,
            virtual_services: resources.virtual_services,
            service_entries: resources.service_entries,
            workload_entries: resources.workload_entries,
            sidecars: resources.sidecars,
            network_policies: resources.network_policies,
            authorization_policies: resources.authorization_policies,
            control_plane: resources.control_plane.unwrap_or_default(),
            config,
            ..Self::default()
        };
        for pod in mesh.pods.iter_mut().filter(|pod| pod.proxy == PartyKind::Gateway) {
            // The pods of a Gateway carry its name; its class is in the Gateway alone in older versions.
            if let Some(name) = pod.meta.labels.get("gateway.networking.k8s.io/gateway-name")
                && resources.waypoints.contains(&(pod.meta.namespace.to_string(), name.clone()))
            {
                pod.proxy = PartyKind::Waypoint;
            }
        }
        mesh.peer_authentications.sort_by(|a, b| a.meta.age().cmp(&b.meta.age()));
        mesh.gateways.sort_by(|a, b| a.meta.age().cmp(&b.meta.age()));
        mesh.virtual_services.sort_by(|a, b| a.meta.age().cmp(&b.meta.age()));
        mesh.service_entries.sort_by(|a, b| a.meta.age().cmp(&b.meta.age()));
        mesh.sidecars.sort_by(|a, b| a.meta.age().cmp(&b.meta.age()));
        mesh.services.sort_by(|a, b| a.meta.age().cmp(&b.meta.age()));
        for (meta, node) in &resources.backend_tls {
            for (target, rule) in gateway_api::backend_tls_policy(meta, node) {
                let rules = mesh.targeted(meta, &target, &rule);
                mesh.destination_rules.extend(rules);
            }
        }
        mesh.destination_rules.sort_by(|a, b| {
            let rank = |rule: &DestinationRule| &*rule.meta.kind == "BackendTLSPolicy";
            (rank(a), a.workload_selector.is_none(), a.meta.age()).cmp(&(
                rank(b),
                b.workload_selector.is_none(),
                b.meta.age(),
            ))
        });
        for (meta, addresses) in resources.nodes {
            for ip in addresses {
                mesh.nodes.insert(ip, meta.name.clone());
            }
        }
        mesh.machines = mesh.workload_entries.iter().filter_map(Pod::of_workload).collect();
        // The address of a pod that has ended may belong to another one by now.
        for (index, pod) in mesh.pods.iter().enumerate().filter(|(_, pod)| !pod.ended) {
            for ip in &pod.ips {
                mesh.pods_by_ip.entry(*ip).or_default().push(index);
            }
            let places = mesh.places.pods.entry(pod.meta.namespace.clone()).or_default();
            places.all.push(index);
            for (key, value) in &pod.meta.labels {
                places.by_label.entry(label(key, value)).or_default().push(index);
            }
        }
        mesh.places.peer_authentications =
            by_namespace(mesh.peer_authentications.iter().map(|policy| &policy.meta));
        mesh.places.destination_rules = by_namespace(mesh.destination_rules.iter().map(|rule| &rule.meta));
        mesh.places.workload_entries = by_namespace(mesh.workload_entries.iter().map(|entry| &entry.meta));
        mesh.places.sidecars = by_namespace(mesh.sidecars.iter().map(|sidecar| &sidecar.meta));
        let slices = resources.slices;
        let endpoints = resources.endpoints;
        mesh.hosts = mesh.build_hosts(&slices, &endpoints);
        for (index, host) in mesh.hosts.iter().enumerate() {
            for network in &host.addresses {
                if network.prefix_len() == network.max_prefix_len() {
                    mesh.hosts_by_ip.entry(network.addr()).or_default().push(index);
                } else {
                    mesh.ranges.push((*network, index));
                }
            }
            for endpoint in &host.endpoints {
                let places = mesh.hosts_by_ip.entry(endpoint.ip).or_default();
                if places.last() != Some(&index) {
                    places.push(index);
                }
            }
        }
        mesh.gateway_ports = mesh.ports_of_gateways();
        mesh
    }

    /// Returns the rules that a BackendTLSPolicy comes to for one of its targets: none where there is no such target, or it
    /// has no such port.
    ///
    /// Rule `destination-rule.backend-tls-policy`. Istio: `backend_policies.go`, `BackendTLSPolicyCollection`.
    fn targeted(&self, meta: &Meta, target: &Target, rule: &DestinationRule) -> Vec<DestinationRule> {
        let found: Vec<(String, Option<u16>)> = match target {
            Target::Host(host) => vec![(host.clone(), None)],
            Target::Service { name, section } => self
                .services
                .iter()
                .filter(|service| service.meta.namespace == meta.namespace && *service.meta.name == **name)
                .filter_map(|service| {
                    let named = |section: &String| {
                        service.ports.iter().find(|port| port.name.as_ref() == Some(section))
                    };
                    let port = section.as_ref().map(named);
                    (port != Some(None))
                        .then(|| (fqdn(service, &self.config.domain), port.flatten().map(|port| port.port)))
                })
                .collect(),
            Target::ServiceEntry { name, section } => self
                .service_entries
                .iter()
                .filter(|entry| entry.meta.namespace == meta.namespace && *entry.meta.name == **name)
                .flat_map(|entry| {
                    let named = |section: &String| entry.ports.iter().find(|port| port.name == *section);
                    let port = section.as_ref().map(named);
                    let hosts = if port == Some(None) { &[][..] } else { entry.hosts.as_slice() };
                    let number = port.flatten().map(|port| port.number);
                    hosts.iter().map(move |host| (host.clone(), number))
                })
                .collect(),
        };
        found
            .into_iter()
            .map(|(host, port)| {
                let mut rule = DestinationRule { host, ..rule.clone() };
                for entry in rule.policy.iter_mut().flat_map(|policy| &mut policy.ports) {
                    entry.port = port;
                }
                rule
            })
            .collect()
    }

    /// Lists the ports that Gateways open on pods of the host network: such pods need not declare them.
    fn ports_of_gateways(&self) -> HashMap<(IpAddr, u16), usize> {
        let mut ports = HashMap::new();
        let hosted = |pod: &Pod| pod.host_network && !pod.ended && pod.proxy == PartyKind::Gateway;
        for (place, pod) in self.pods.iter().enumerate().filter(|(_, pod)| hosted(pod)) {
            for gateway in self.gateways.iter().filter(|gateway| configures(self, gateway, pod)) {
                for port in
                    gateway.servers.iter().flat_map(|server| listens_on(self, gateway, pod, server.port))
                {
                    for ip in &pod.ips {
                        ports.entry((*ip, port)).or_insert(place);
                    }
                }
            }
        }
        ports
    }

    /// Returns the PeerAuthentications of a namespace, oldest first.
    pub fn peer_authentications_in(
        &self,
        namespace: &str,
    ) -> impl DoubleEndedIterator<Item = &PeerAuthentication> {
        at(&self.peer_authentications, &self.places.peer_authentications, namespace)
    }

    /// Returns the DestinationRules of a namespace in the order in which they compete; what a BackendTLSPolicy declares
    /// last.
    pub fn destination_rules_in(&self, namespace: &str) -> impl DoubleEndedIterator<Item = &DestinationRule> {
        at(&self.destination_rules, &self.places.destination_rules, namespace)
    }

    /// Returns the Sidecars of a namespace, oldest first.
    pub fn sidecars_in(&self, namespace: &str) -> impl DoubleEndedIterator<Item = &Sidecar> {
        at(&self.sidecars, &self.places.sidecars, namespace)
    }

    /// Returns the pods that a Service's selector chooses.
    pub fn selected<'a>(&'a self, service: &'a Service) -> impl Iterator<Item = (usize, &'a Pod)> {
        let selector = service.selector.as_ref().filter(|_| service.external_name.is_none());
        selector.into_iter().flat_map(|selector| self.pods_with(&service.meta.namespace, selector))
    }

    /// Returns the pods of a namespace that have all these labels; no labels are those of every pod.
    pub fn pods_with<'a>(
        &'a self,
        namespace: &str,
        selector: &'a Labels,
    ) -> impl Iterator<Item = (usize, &'a Pod)> + use<'a> {
        let places = self.places.pods.get(namespace).map_or(&[][..], |pods| {
            let with = |(key, value): (&String, &String)| {
                pods.by_label.get(&label(key, value)).map_or(&[][..], Vec::as_slice)
            };
            // The rarest label leaves the fewest pods to look at.
            selector.iter().map(with).min_by_key(|places| places.len()).unwrap_or(&pods.all)
        });
        places
            .iter()
            .filter_map(|place| self.pods.get(*place).map(|pod| (*place, pod)))
            .filter(|(_, pod)| selects(selector, &pod.meta.labels))
    }

    /// Returns the WorkloadEntries of a namespace that have all these labels.
    pub fn workload_entries_with<'a>(
        &'a self,
        namespace: &str,
        selector: &'a Labels,
    ) -> impl Iterator<Item = &'a WorkloadEntry> + use<'a> {
        at(&self.workload_entries, &self.places.workload_entries, namespace)
            .filter(|entry| selects(selector, &entry.endpoint.labels))
    }

    pub(super) fn pod_place(&self, ip: IpAddr, namespace: &str, name: Option<&str>) -> Option<usize> {
        let places = self.pods_by_ip.get(&ip)?;
        let named = places.iter().copied().find(|place| {
            self.pods.get(*place).is_some_and(|pod| {
                name.is_some_and(|name| &*pod.meta.name == name) && &*pod.meta.namespace == namespace
            })
        });
        named.or(if let [only] = places.as_slice() { Some(*only) } else { None })
    }

    /// Returns the workload that opens connections from an address: a pod, or one outside Kubernetes that has a proxy.
    #[must_use]
    pub fn client_at(&self, ip: IpAddr) -> Option<&Pod> {
        let machine = || self.machines.iter().find(|machine| machine.ips.contains(&ip));
        self.pod_at(ip, None).or_else(|| machine().filter(|_| !self.pods_by_ip.contains_key(&ip)))
    }

    /// Returns the pod that an address and port belong to. Pods that share their node's address are told apart by the
    /// port they declare, else by the one that a Gateway opens; where that does not tell, there is no answer.
    #[must_use]
    pub fn pod_at(&self, ip: IpAddr, port: Option<u16>) -> Option<&Pod> {
        let places = self.pods_by_ip.get(&ip)?;
        let pods: Vec<&Pod> = places.iter().filter_map(|place| self.pods.get(*place)).collect();
        match pods.as_slice() {
            [pod] if !pod.host_network => Some(pod),
            pods => {
                let own: Vec<_> = pods.iter().filter(|pod| !pod.host_network).collect();
                if let [pod] = own.as_slice() {
                    return Some(pod);
                }
                let port = port?;
                let mut declared =
                    pods.iter().filter(|pod| pod.ports.iter().any(|(_, number)| *number == port));
                match (declared.next(), declared.next()) {
                    (Some(pod), None) => Some(pod),
                    (None, _) => self.gateway_ports.get(&(ip, port)).and_then(|place| self.pods.get(*place)),
                    (Some(_), Some(_)) => None,
                }
            }
        }
    }

    /// Tells whether pods of the host network share this address.
    #[must_use]
    pub fn is_node(&self, ip: IpAddr) -> bool {
        self.nodes.contains_key(&ip)
            || self.pods_by_ip.get(&ip).is_some_and(|places| {
                places.iter().any(|place| self.pods.get(*place).is_some_and(|pod| pod.host_network))
            })
    }

    /// Returns the node's name at this address.
    #[must_use]
    pub fn node_at(&self, ip: IpAddr) -> Option<&str> {
        self.nodes.get(&ip).map(|name| &**name)
    }

    /// Returns every host that stands behind a destination: by virtual address and Service port, by endpoint and port
    /// on the wire. The closest range first, of equals the oldest.
    #[must_use]
    pub fn behind(&self, ip: IpAddr, port: u16) -> Vec<Behind<'_>> {
        let mut places: Vec<usize> = self.hosts_by_ip.get(&ip).cloned().unwrap_or_default();
        places.extend(self.ranges.iter().filter(|(range, _)| range.contains(&ip)).map(|(_, place)| *place));
        places.sort_unstable();
        places.dedup();
        let mut found = Vec::new();
        for host in places.into_iter().filter_map(|place| self.hosts.get(place)) {
            for host_port in &host.ports {
                if host_port.protocol == Protocol::Udp {
                    continue;
                }
                let endpoint = host
                    .endpoints_at(ip)
                    .iter()
                    .find(|endpoint| endpoint.ports.get(&host_port.number) == Some(&port));
                // With resolution NONE the client's own destination is used, but a target port still applies.
                let virtual_address = host.addresses.iter().any(|range| range.contains(&ip))
                    && (host_port.number == port || (host.original_destination && host_port.target == port));
                if endpoint.is_some() || virtual_address {
                    found.push(Behind { host, port: host_port, endpoint });
                }
            }
        }
        found.sort_by_key(|behind| std::cmp::Reverse(behind.closeness(ip)));
        found
    }

    /// Returns every host with this address: its own, or an endpoint's.
    pub fn hosts_at(&self, ip: IpAddr) -> impl Iterator<Item = &HostService> {
        self.hosts_by_ip.get(&ip).into_iter().flatten().filter_map(|place| self.hosts.get(*place))
    }

    /// Tells whether a port is declared as UDP: then no proxy listens for it, and no policy knows it by a protocol.
    #[must_use]
    pub fn is_udp(&self, ip: IpAddr, port: u16) -> bool {
        self.hosts_at(ip).any(|host| {
            host.ports.iter().filter(|declared| declared.protocol == Protocol::Udp).any(|declared| {
                let virtual_address = host.addresses.iter().any(|range| range.contains(&ip));
                (virtual_address && declared.number == port)
                    || host
                        .endpoints_at(ip)
                        .iter()
                        .any(|endpoint| endpoint.ports.get(&declared.number) == Some(&port))
            })
        })
    }

    /// Returns every host that a connection may mean: those behind the destination, else those that the SNI names. An
    /// address that a ServiceEntry's name resolved to is in no declaration, and an east-west gateway's stands for the
    /// services behind it; there the name in the ClientHello is all that tells. A TCP entry without addresses stands behind
    /// every address that is otherwise unknown, by its port.
    #[must_use]
    pub fn meant(&self, ip: IpAddr, port: u16, sni: Option<&str>) -> Vec<Behind<'_>> {
        let behind = self.behind(ip, port);
        let pod = self.pod_at(ip, Some(port));
        let unknown = behind.is_empty() && pod.is_none();
        let Some(sni) = sni else {
            return if unknown { self.capturing(port) } else { behind };
        };
        if let Some((service_port, _, host)) = istio_sni(sni) {
            let through_gateway = pod.is_some_and(|pod| pod.proxy == PartyKind::Gateway)
                && !behind.iter().any(|found| found.host.host == host);
            return if through_gateway {
                self.ports_of(|found| found.host == host, |found| found.number == service_port)
            } else {
                behind
            };
        }
        if !unknown {
            return behind;
        }
        let named = self.ports_of(
            |found| matches!(found.owner, Owner::Entry(_)) && covers(&found.host, sni),
            |found| found.number == port || found.target == port,
        );
        if named.is_empty() { self.capturing(port) } else { named }
    }

    /// Returns the TCP entries that take every connection to a port, whatever its address: those without addresses.
    ///
    /// Rule `client.whole-port`. Istio: ServiceEntry, `addresses`; analysis message IST0134.
    fn capturing(&self, port: u16) -> Vec<Behind<'_>> {
        let whole = |found: &HostService| {
            let Owner::Entry(index) = found.owner else { return false };
            let resolved = self.service_entries.get(index).is_some_and(|entry| {
                entry.resolution != Resolution::Static && entry.workload_selector.is_none()
            });
            resolved && found.addresses.is_empty() && found.endpoints.is_empty()
        };
        let opaque = |found: &HostPort| !found.protocol.is_http() && !found.protocol.is_tls();
        self.ports_of(whole, |found| {
            opaque(found)
                && found.protocol != Protocol::Unsupported
                && (found.number == port || found.target == port)
        })
    }

    fn ports_of(
        &self,
        host: impl Fn(&HostService) -> bool,
        port: impl Fn(&HostPort) -> bool,
    ) -> Vec<Behind<'_>> {
        let hosts = self.hosts.iter().filter(|found| host(found));
        hosts
            .flat_map(|host| host.ports.iter().map(move |port| Behind { host, port, endpoint: None }))
            .filter(|behind| behind.port.protocol != Protocol::Udp && port(behind.port))
            .collect()
    }

    /// Returns the hosts that a pod stands behind, the oldest first.
    pub fn hosts_of(&self, pod: &Pod) -> impl Iterator<Item = &HostService> {
        let mut places: Vec<usize> =
            pod.ips.iter().filter_map(|ip| self.hosts_by_ip.get(ip)).flatten().copied().collect();
        places.sort_unstable();
        places.dedup();
        places.into_iter().filter_map(|place| self.hosts.get(place))
    }

    /// Returns the Services whose port leads to a pod's container port, the oldest first.
    #[must_use]
    pub fn services_of(&self, pod: &Pod, port: u16) -> Vec<(&HostService, &HostPort)> {
        let mut found = Vec::new();
        for host in self.hosts_of(pod) {
            for host_port in &host.ports {
                let leads = pod
                    .ips
                    .iter()
                    .flat_map(|ip| host.endpoints_at(*ip))
                    .any(|endpoint| endpoint.ports.get(&host_port.number) == Some(&port));
                if leads && host_port.protocol != Protocol::Udp {
                    found.push((host, host_port));
                }
            }
        }
        found
    }

    /// Returns the host's declaration: its metadata.
    #[must_use]
    pub fn declaration(&self, host: &HostService) -> Option<&Meta> {
        match host.owner {
            Owner::Service(index) => self.services.get(index).map(|service| &service.meta),
            Owner::Entry(index) => self.service_entries.get(index).map(|entry| &entry.meta),
        }
    }

    /// Returns an endpoint's pod.
    #[must_use]
    pub fn pod_of(&self, endpoint: &HostEndpoint) -> Option<&Pod> {
        endpoint.pod.and_then(|place| self.pods.get(place))
    }

    /// Tells whether ztunnel runs in this mesh: then istiod knows HBONE.
    #[must_use]
    pub fn has_ambient(&self) -> bool {
        self.pods.iter().any(|pod| pod.proxy == PartyKind::Ambient)
    }
}
