//! The mesh as one immutable value, with the lookups that judging takes.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::mesh::destination_rule::DestinationRule;
use crate::mesh::gateway::Gateway;
use crate::mesh::gateway_api;
use crate::mesh::manifest::{Manifest, Resources};
use crate::mesh::mesh_config::MeshConfig;
use crate::mesh::meta::{Labels, Meta, selects};
use crate::mesh::peer_authentication::PeerAuthentication;
use crate::mesh::pod::Pod;
use crate::mesh::service::{EndpointSlice, Protocol, Service, TargetPort};
use crate::mesh::service_entry::{Resolution, ServiceEntry, WorkloadEntry};
use crate::mesh::sidecar::Sidecar;
use crate::mesh::virtual_service::VirtualService;
use crate::policy::outbound::istio_sni;
use crate::policy::visibility::covers;
use crate::report::{InputError, PartyKind};

/// A snapshot of all declarations. Whatever it refers to and does not hold is simply not there: lookups say so.
#[derive(Debug, Default)]
pub struct Mesh {
    /// MeshConfig, with Istio's defaults where nothing is declared.
    pub config: MeshConfig,
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
    /// Every host that a client can name: Services and ServiceEntries, oldest first.
    pub hosts: Vec<HostService>,
    nodes: HashMap<IpAddr, Arc<str>>,
    pods_by_ip: HashMap<IpAddr, Vec<usize>>,
    hosts_by_ip: HashMap<IpAddr, Vec<usize>>,
    ranges: Vec<(IpNet, usize)>,
}

/// What a host of the mesh was declared by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// A Service of Kubernetes, by its place in [`Mesh::services`].
    Service(usize),
    /// A ServiceEntry, by its place in [`Mesh::service_entries`].
    Entry(usize),
}

/// One host that a client can name, however it was declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostService {
    /// The full name: `reviews.default.svc.cluster.local`, or the ServiceEntry's host.
    pub host: String,
    /// The namespace it was declared in.
    pub namespace: Arc<str>,
    /// What declared it.
    pub owner: Owner,
    /// Whether it stands outside the mesh.
    pub external: bool,
    /// Whether the client's own address is used: headless, or resolution NONE.
    pub original_destination: bool,
    /// Virtual addresses.
    pub addresses: Vec<IpNet>,
    /// Ports.
    pub ports: Vec<HostPort>,
    /// Addresses behind it.
    pub endpoints: Vec<HostEndpoint>,
    /// Namespaces it is visible in; empty for all.
    pub export_to: Vec<String>,
}

/// One port of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    /// The port that clients dial.
    pub number: u16,
    /// Its name.
    pub name: Option<String>,
    /// The protocol that its declaration selects.
    pub protocol: Protocol,
    /// The port on the wire where there is no endpoint to tell it.
    pub target: u16,
    /// Line of the declaration.
    pub line: u32,
}

/// One address behind a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostEndpoint {
    /// The address.
    pub ip: IpAddr,
    /// The pod, by its place in [`Mesh::pods`].
    pub pod: Option<usize>,
    /// Whether clients may send Istio mTLS to it.
    pub tls_mode_istio: bool,
    /// Its labels.
    pub labels: Labels,
    /// The port on the wire for each port of the host, by the host's port number.
    pub ports: BTreeMap<u16, u16>,
}

/// What stands behind a destination on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Behind<'a> {
    /// The host.
    pub host: &'a HostService,
    /// The port that clients dial.
    pub port: &'a HostPort,
    /// The endpoint, where the destination is one.
    pub endpoint: Option<&'a HostEndpoint>,
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
            for (mut rule, section) in gateway_api::backend_tls_policy(meta, node, &mesh.config.domain) {
                if let Some(section) = section {
                    let number = mesh
                        .services
                        .iter()
                        .filter(|service| {
                            service.meta.namespace == meta.namespace
                                && fqdn(service, &mesh.config.domain) == rule.host
                        })
                        .flat_map(|service| &service.ports)
                        .find(|port| port.name.as_deref() == Some(&section))
                        .map(|port| port.port);
                    for policy in rule.policy.iter_mut().flat_map(|policy| &mut policy.ports) {
                        policy.port = number;
                    }
                }
                mesh.destination_rules.push(rule);
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
        // The address of a pod that has ended may belong to another one by now.
        for (index, pod) in mesh.pods.iter().enumerate().filter(|(_, pod)| !pod.ended) {
            for ip in &pod.ips {
                mesh.pods_by_ip.entry(*ip).or_default().push(index);
            }
        }
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
                if !places.contains(&index) {
                    places.push(index);
                }
            }
        }
        mesh
    }

    fn build_hosts(&self, slices: &[EndpointSlice], endpoints: &[EndpointSlice]) -> Vec<HostService> {
        let mut by_service: HashMap<(&str, &str), Vec<&EndpointSlice>> = HashMap::new();
        for slice in endpoints {
            by_service.entry((&slice.meta.namespace, &slice.service)).or_default().push(slice);
        }
        let mut sliced: HashMap<(&str, &str), Vec<&EndpointSlice>> = HashMap::new();
        for slice in slices {
            sliced.entry((&slice.meta.namespace, &slice.service)).or_default().push(slice);
        }
        // Slices say the same as the older Endpoints, and more.
        by_service.extend(sliced);
        let mut hosts: Vec<(bool, String, HostService)> = Vec::new();
        for (index, service) in self.services.iter().enumerate() {
            let slices = by_service
                .get(&(&*service.meta.namespace, &*service.meta.name))
                .map_or(&[][..], Vec::as_slice);
            let host = self.service_host(index, service, slices);
            hosts.push((
                service.meta.created.is_none(),
                service.meta.created.clone().unwrap_or_default(),
                host,
            ));
        }
        for (index, entry) in self.service_entries.iter().enumerate() {
            for name in &entry.hosts {
                let host = self.entry_host(index, entry, name);
                hosts.push((
                    entry.meta.created.is_none(),
                    entry.meta.created.clone().unwrap_or_default(),
                    host,
                ));
            }
        }
        hosts.sort_by(|a, b| {
            (a.0, &a.1, &a.2.host, &a.2.namespace).cmp(&(b.0, &b.1, &b.2.host, &b.2.namespace))
        });
        hosts.into_iter().map(|(_, _, host)| host).collect()
    }

    fn service_host(&self, index: usize, service: &Service, slices: &[&EndpointSlice]) -> HostService {
        let mut endpoints: BTreeMap<IpAddr, HostEndpoint> = BTreeMap::new();
        let mut add = |ip: IpAddr, pod: Option<usize>, port: u16, wire: u16| {
            let labels =
                pod.and_then(|pod| self.pods.get(pod)).map(|pod| pod.meta.labels.clone()).unwrap_or_default();
            let tls_mode_istio = pod.and_then(|pod| self.pods.get(pod)).is_some_and(Pod::tls_mode_istio);
            let endpoint = endpoints.entry(ip).or_insert_with(|| HostEndpoint {
                ip,
                pod,
                tls_mode_istio,
                labels,
                ports: BTreeMap::new(),
            });
            endpoint.ports.entry(port).or_insert(wire);
        };
        for port in &service.ports {
            if slices.is_empty() {
                for (place, pod) in self.selected(service) {
                    let wire = match &port.target {
                        TargetPort::Number(number) => Some(*number),
                        TargetPort::Name(name) => pod.named_port(name),
                    };
                    for ip in &pod.ips {
                        if let Some(wire) = wire {
                            add(*ip, Some(place), port.port, wire);
                        }
                    }
                }
            }
            for slice in slices {
                let wire = slice
                    .ports
                    .iter()
                    .find(|(name, _)| {
                        name.as_deref().unwrap_or_default() == port.name.as_deref().unwrap_or_default()
                    })
                    .map(|(_, number)| *number);
                for (ip, pod) in &slice.addresses {
                    if let Some(wire) = wire {
                        add(*ip, self.pod_place(*ip, &slice.meta.namespace, pod.as_deref()), port.port, wire);
                    }
                }
            }
        }
        let ports = service
            .ports
            .iter()
            .map(|port| HostPort {
                number: port.port,
                name: port.name.clone(),
                protocol: port.protocol,
                target: match &port.target {
                    TargetPort::Number(number) => *number,
                    TargetPort::Name(_) => port.port,
                },
                line: port.line,
            })
            .collect();
        HostService {
            host: fqdn(service, &self.config.domain),
            namespace: service.meta.namespace.clone(),
            owner: Owner::Service(index),
            external: false,
            original_destination: service.headless,
            addresses: service.cluster_ips.iter().copied().map(IpNet::from).collect(),
            ports,
            endpoints: endpoints.into_values().collect(),
            export_to: service.export_to.clone().unwrap_or_else(|| self.config.service_export_to.clone()),
        }
    }

    fn entry_host(&self, index: usize, entry: &ServiceEntry, name: &str) -> HostService {
        let mut endpoints = Vec::new();
        for endpoint in &entry.endpoints {
            if let Some(ip) = endpoint.ip {
                endpoints.push(HostEndpoint {
                    ip,
                    pod: self.pod_place(ip, &entry.meta.namespace, None),
                    tls_mode_istio: endpoint.tls_mode_istio(),
                    labels: endpoint.labels.clone(),
                    ports: entry.ports.iter().map(|port| (port.number, endpoint.wire_port(port))).collect(),
                });
            }
        }
        if let Some(selector) = &entry.workload_selector {
            for (place, pod) in self.pods.iter().enumerate() {
                if !pod.ended
                    && pod.meta.namespace == entry.meta.namespace
                    && selects(selector, &pod.meta.labels)
                {
                    for ip in &pod.ips {
                        endpoints.push(HostEndpoint {
                            ip: *ip,
                            pod: Some(place),
                            tls_mode_istio: pod.tls_mode_istio(),
                            labels: pod.meta.labels.clone(),
                            ports: entry
                                .ports
                                .iter()
                                .map(|port| (port.number, port.target.unwrap_or(port.number)))
                                .collect(),
                        });
                    }
                }
            }
            for workload in &self.workload_entries {
                if let (true, Some(ip)) = (
                    workload.meta.namespace == entry.meta.namespace
                        && selects(selector, &workload.endpoint.labels),
                    workload.endpoint.ip,
                ) {
                    endpoints.push(HostEndpoint {
                        ip,
                        pod: None,
                        tls_mode_istio: workload.endpoint.tls_mode_istio(),
                        labels: workload.endpoint.labels.clone(),
                        ports: entry
                            .ports
                            .iter()
                            .map(|port| (port.number, workload.endpoint.wire_port(port)))
                            .collect(),
                    });
                }
            }
        }
        let ports = entry
            .ports
            .iter()
            .map(|port| HostPort {
                number: port.number,
                name: Some(port.name.clone()),
                protocol: port.protocol,
                target: port.target.unwrap_or(port.number),
                line: port.line,
            })
            .collect();
        HostService {
            host: name.to_owned(),
            namespace: entry.meta.namespace.clone(),
            owner: Owner::Entry(index),
            external: !entry.internal,
            original_destination: entry.resolution == Resolution::None,
            addresses: entry.addresses.clone(),
            ports,
            endpoints,
            export_to: if entry.export_to.is_empty() {
                self.config.service_export_to.clone()
            } else {
                entry.export_to.clone()
            },
        }
    }

    /// Returns the pods that a Service's selector chooses.
    pub fn selected<'a>(&'a self, service: &'a Service) -> impl Iterator<Item = (usize, &'a Pod)> {
        self.pods.iter().enumerate().filter(|(_, pod)| {
            !pod.ended
                && pod.meta.namespace == service.meta.namespace
                && service.selector.as_ref().is_some_and(|selector| selects(selector, &pod.meta.labels))
        })
    }

    fn pod_place(&self, ip: IpAddr, namespace: &str, name: Option<&str>) -> Option<usize> {
        let places = self.pods_by_ip.get(&ip)?;
        let named = places.iter().copied().find(|place| {
            self.pods.get(*place).is_some_and(|pod| {
                name.is_some_and(|name| &*pod.meta.name == name) && &*pod.meta.namespace == namespace
            })
        });
        named.or(if let [only] = places.as_slice() { Some(*only) } else { None })
    }

    /// Returns the pod that an address and port belong to. Pods that share their node's address are told apart by the
    /// port they declare; where that does not tell, there is no answer.
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
                    _ => None,
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
    /// on the wire. The oldest first.
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
                let endpoint = host.endpoints.iter().find(|endpoint| {
                    endpoint.ip == ip && endpoint.ports.get(&host_port.number) == Some(&port)
                });
                // With resolution NONE the client's own destination is used, but a target port still applies.
                let virtual_address = host.addresses.iter().any(|range| range.contains(&ip))
                    && (host_port.number == port || (host.original_destination && host_port.target == port));
                if endpoint.is_some() || virtual_address {
                    found.push(Behind { host, port: host_port, endpoint });
                }
            }
        }
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
                    || host.endpoints.iter().any(|endpoint| {
                        endpoint.ip == ip && endpoint.ports.get(&declared.number) == Some(&port)
                    })
            })
        })
    }

    /// Returns every host that a connection may mean: those behind the destination, else those that the SNI names. An
    /// address that a ServiceEntry's name resolved to is in no declaration, and an east-west gateway's stands for the
    /// services behind it; there the name in the ClientHello is all that tells.
    #[must_use]
    pub fn meant(&self, ip: IpAddr, port: u16, sni: Option<&str>) -> Vec<Behind<'_>> {
        let behind = self.behind(ip, port);
        let Some(sni) = sni else { return behind };
        let pod = self.pod_at(ip, Some(port));
        if let Some((service_port, _, host)) = istio_sni(sni) {
            let through_gateway = pod.is_some_and(|pod| pod.proxy == PartyKind::Gateway)
                && !behind.iter().any(|found| found.host.host == host);
            return if through_gateway {
                self.ports_of(|found| found.host == host, |found| found.number == service_port)
            } else {
                behind
            };
        }
        if !behind.is_empty() || pod.is_some() {
            return behind;
        }
        self.ports_of(
            |found| matches!(found.owner, Owner::Entry(_)) && covers(&found.host, sni),
            |found| found.number == port || found.target == port,
        )
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

    /// Returns the Services whose port leads to a pod's container port, the oldest first.
    #[must_use]
    pub fn services_of(&self, pod: &Pod, port: u16) -> Vec<(&HostService, &HostPort)> {
        let mut places: Vec<usize> =
            pod.ips.iter().filter_map(|ip| self.hosts_by_ip.get(ip)).flatten().copied().collect();
        places.sort_unstable();
        places.dedup();
        let mut found = Vec::new();
        for host in places.into_iter().filter_map(|place| self.hosts.get(place)) {
            for host_port in &host.ports {
                let leads = host.endpoints.iter().any(|endpoint| {
                    pod.ips.contains(&endpoint.ip) && endpoint.ports.get(&host_port.number) == Some(&port)
                });
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

/// Returns a Service's full name.
pub(crate) fn fqdn(service: &Service, domain: &str) -> String {
    format!("{}.{}.svc.{domain}", service.meta.name, service.meta.namespace)
}
