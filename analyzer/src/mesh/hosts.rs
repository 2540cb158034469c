//! Every host that a client can name: Services and ServiceEntries, made alike.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use flow::Timestamp;
use ipnet::IpNet;

use crate::mesh::Mesh;
use crate::mesh::entry_visibility::Ceiling;
use crate::mesh::meta::Labels;
use crate::mesh::pod::Pod;
use crate::mesh::service::{EndpointSlice, Protocol, Service, ServicePort, TargetPort};
use crate::mesh::service_entry::{EntryPort, Resolution, ServiceEntry, WorkloadEntry};
use crate::policy::outbound::istio_sni;

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
    /// Addresses behind it, in order.
    pub endpoints: Vec<HostEndpoint>,
    /// Namespaces it is visible in; empty for all.
    pub export_to: Vec<String>,
    /// Whether istiod does not know it.
    pub undiscovered: bool,
    /// Whether another namespace declares a host of this very name.
    pub rivalled: bool,
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
    /// Whether proxies send to it: not where its readiness is withdrawn.
    pub ready: bool,
    /// Its labels.
    pub labels: Labels,
    /// The network that it is of; absent where nothing says so.
    pub network: Option<String>,
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

impl Behind<'_> {
    /// Tells how closely the declaration names an address, in bits: an endpoint, or a whole address, closest of all.
    ///
    /// Rule `client.closest-range`. Istio: `serviceentry_simulation_test.go`, `TestServiceEntry`.
    #[must_use]
    pub fn closeness(&self, ip: IpAddr) -> u8 {
        let ranges = self.host.addresses.iter().filter(|range| range.contains(&ip));
        let bits = ranges.map(IpNet::prefix_len).max();
        if self.endpoint.is_some() { u8::MAX } else { bits.unwrap_or_default() }
    }

    /// Tells whether the destination is the east-west gateway of a network that nothing here declares: the place of such a gateway
    /// ([`Mesh::is_east_west`]), an address that the host does not have, and an SNI of Istio's own, which only names the host.
    ///
    /// Rule `client.other-network`. Istio: `pilot/pkg/xds/endpoints/ep_filters.go`, `EndpointsByNetworkFilter`.
    #[must_use]
    pub fn is_elsewhere(&self, mesh: &Mesh, ip: IpAddr, port: u16, sni: Option<&str>) -> bool {
        mesh.is_east_west(ip, port)
            && self.endpoint.is_none()
            && !self.host.addresses.iter().any(|range| range.contains(&ip))
            && sni.and_then(istio_sni).is_some_and(|(_, _, host)| host == self.host.host)
    }
}

impl HostService {
    /// Returns the endpoints at an address.
    #[must_use]
    pub fn endpoints_at(&self, ip: IpAddr) -> &[HostEndpoint] {
        let from = self.endpoints.partition_point(|endpoint| endpoint.ip < ip);
        let to = self.endpoints.partition_point(|endpoint| endpoint.ip <= ip);
        self.endpoints.get(from..to).unwrap_or_default()
    }
}

impl Mesh {
    pub(super) fn build_hosts(
        &self,
        slices: &[EndpointSlice],
        endpoints: &[EndpointSlice],
    ) -> Vec<HostService> {
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
        let mut hosts: Vec<(bool, Timestamp, HostService)> = Vec::new();
        for (index, service) in self.services.iter().enumerate() {
            let slices = by_service
                .get(&(&*service.meta.namespace, &*service.meta.name))
                .map_or(&[][..], Vec::as_slice);
            let host = self.service_host(index, service, slices);
            hosts.push((service.meta.created.is_none(), service.meta.created.unwrap_or_default(), host));
        }
        for (index, entry) in self.service_entries.iter().enumerate() {
            for name in &entry.hosts {
                let host = self.entry_host(index, entry, name);
                hosts.push((entry.meta.created.is_none(), entry.meta.created.unwrap_or_default(), host));
            }
        }
        hosts.sort_by(|a, b| {
            (a.0, &a.1, &a.2.host, &a.2.namespace).cmp(&(b.0, &b.1, &b.2.host, &b.2.namespace))
        });
        let mut hosts: Vec<HostService> = hosts.into_iter().map(|(_, _, host)| host).collect();
        let mut namespaces: HashMap<&str, BTreeSet<&str>> = HashMap::new();
        for host in &hosts {
            namespaces.entry(&host.host).or_default().insert(&host.namespace);
        }
        let rivalled: Vec<bool> =
            hosts.iter().map(|host| namespaces.get(&*host.host).is_some_and(|all| all.len() > 1)).collect();
        for (host, rivalled) in hosts.iter_mut().zip(rivalled) {
            host.rivalled = rivalled;
        }
        hosts
    }

    fn service_host(&self, index: usize, service: &Service, slices: &[&EndpointSlice]) -> HostService {
        let mut endpoints: BTreeMap<IpAddr, HostEndpoint> = BTreeMap::new();
        let sheds = !service.meta.labels.contains_key(PERSISTENT_SESSION);
        let mut add = |ip: IpAddr, pod: Option<usize>, ready: bool, port: u16, wire: u16| {
            let labels =
                pod.and_then(|pod| self.pods.get(pod)).map(|pod| pod.meta.labels.clone()).unwrap_or_default();
            let tls_mode_istio = pod.and_then(|pod| self.pods.get(pod)).is_some_and(Pod::tls_mode_istio);
            let network = pod.and_then(|pod| self.network_of_pod(self.pods.get(pod)?, ip)).map(str::to_owned);
            let ready = ready && !(sheds && is_draining(&labels));
            let endpoint = endpoints.entry(ip).or_insert_with(|| HostEndpoint {
                ip,
                pod,
                tls_mode_istio,
                ready,
                labels,
                network,
                ports: BTreeMap::new(),
            });
            endpoint.ports.entry(port).or_insert(wire);
        };
        let selected: Vec<(usize, &Pod)> =
            if slices.is_empty() { self.selected(service).collect() } else { Vec::new() };
        for port in &service.ports {
            for (place, pod) in &selected {
                let wire = match &port.target {
                    TargetPort::Number(number) => Some(*number),
                    TargetPort::Name(name) => pod.named_port(name),
                };
                for ip in &pod.ips {
                    if let Some(wire) = wire {
                        add(*ip, Some(*place), true, port.port, wire);
                    }
                }
            }
            for slice in slices.iter().filter(|_| service.external_name.is_none()) {
                let wire = slice
                    .ports
                    .iter()
                    .find(|(name, _)| {
                        name.as_deref().unwrap_or_default() == port.name.as_deref().unwrap_or_default()
                    })
                    .map(|(_, number)| *number);
                for address in &slice.addresses {
                    if let Some(wire) = wire {
                        let pod = self.pod_place(address.ip, &slice.meta.namespace, address.pod.as_deref());
                        add(address.ip, pod, address.ready, port.port, wire);
                    }
                }
            }
        }
        let mut endpoints: Vec<HostEndpoint> = endpoints.into_values().collect();
        endpoints.extend(self.machines_behind(service));
        endpoints.sort_by_key(|endpoint| endpoint.ip);
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
            external: service.external_name.is_some(),
            original_destination: service.headless,
            addresses: service.cluster_ips.iter().copied().map(IpNet::from).collect(),
            ports,
            endpoints,
            undiscovered: service.undiscovered,
            rivalled: false,
            export_to: service.export_to.clone().unwrap_or_else(|| self.config.service_export_to.clone()),
        }
    }

    /// Returns the WorkloadEntries that a Service of Kubernetes selects: no EndpointSlice tells of them.
    fn machines_behind(&self, service: &Service) -> Vec<HostEndpoint> {
        let Some(selector) = service.selector.as_ref().filter(|_| service.external_name.is_none()) else {
            return Vec::new();
        };
        let wire = |workload: &WorkloadEntry, port: &ServicePort| {
            let named = |name: &String| workload.endpoint.ports.get(name).copied();
            port.name.as_ref().and_then(named).or_else(|| match &port.target {
                TargetPort::Number(number) => Some(*number),
                TargetPort::Name(name) => named(name),
            })
        };
        self.workload_entries_with(&service.meta.namespace, selector)
            .filter_map(|workload| {
                let ports = service.ports.iter().filter_map(|port| Some((port.port, wire(workload, port)?)));
                of_workload(workload, ports.collect())
            })
            .collect()
    }

    fn entry_host(&self, index: usize, entry: &ServiceEntry, name: &str) -> HostService {
        let mut endpoints = Vec::new();
        for endpoint in &entry.endpoints {
            if let Some(ip) = endpoint.ip {
                endpoints.push(HostEndpoint {
                    ip,
                    pod: self.pod_place(ip, &entry.meta.namespace, None),
                    tls_mode_istio: endpoint.tls_mode_istio(),
                    ready: true,
                    labels: endpoint.labels.clone(),
                    network: endpoint.network.clone(),
                    ports: entry.ports.iter().map(|port| (port.number, endpoint.wire_port(port))).collect(),
                });
            }
        }
        if let Some(selector) = &entry.workload_selector {
            for (place, pod) in self.pods_with(&entry.meta.namespace, selector) {
                for ip in &pod.ips {
                    endpoints.push(HostEndpoint {
                        ip: *ip,
                        pod: Some(place),
                        tls_mode_istio: pod.tls_mode_istio(),
                        ready: true,
                        labels: pod.meta.labels.clone(),
                        network: self.network_of_pod(pod, *ip).map(str::to_owned),
                        ports: entry.ports.iter().map(|port| (port.number, pod_port(pod, port))).collect(),
                    });
                }
            }
            for workload in self.workload_entries_with(&entry.meta.namespace, selector) {
                let ports = entry.ports.iter().map(|port| (port.number, workload.endpoint.wire_port(port)));
                endpoints.extend(of_workload(workload, ports.collect()));
            }
        }
        endpoints.sort_by_key(|endpoint| endpoint.ip);
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
            addresses: entry.addresses_of(name, &self.config),
            ports,
            endpoints,
            undiscovered: false,
            rivalled: false,
            export_to: {
                let own = if entry.export_to.is_empty() {
                    self.config.service_export_to.clone()
                } else {
                    entry.export_to.clone()
                };
                self.ceiling(&entry.meta.namespace).limit(own, &entry.meta.namespace)
            },
        }
    }

    /// Returns how far the ServiceEntries of a namespace are seen at most. Of one that is not declared the name is known.
    pub(crate) fn ceiling(&self, namespace: &str) -> Ceiling {
        let Some(visibility) = &self.config.entry_visibility else { return Ceiling::Public };
        match self.namespaces.get(namespace) {
            Some((_, labels)) => visibility.of(labels),
            None => visibility
                .of(&Labels::from([("kubernetes.io/metadata.name".to_owned(), namespace.to_owned())])),
        }
    }
}

/// The label of a Service whose clients keep to their endpoints, those that drain as well.
const PERSISTENT_SESSION: &str = "istio.io/persistent-session";

/// Tells whether an endpoint's label has proxies send to it no longer.
///
/// Rule `client.ready-endpoints`. Istio: `endpoint_builder.go`, `filterIstioEndpoint`.
fn is_draining(labels: &Labels) -> bool {
    labels.get("istio.io/draining").is_some_and(|value| !value.is_empty())
}

/// Returns the port of a pod behind a ServiceEntry: the one that it names alike, else the target port, else the number.
///
/// Istio: `pilot/pkg/serviceregistry/serviceentry/conversion.go`, `convertWorkloadInstanceToServiceInstance`.
fn pod_port(pod: &Pod, port: &EntryPort) -> u16 {
    pod.named_port(&port.name).or(port.target).unwrap_or(port.number)
}

fn of_workload(workload: &WorkloadEntry, ports: BTreeMap<u16, u16>) -> Option<HostEndpoint> {
    Some(HostEndpoint {
        ip: workload.endpoint.ip?,
        pod: None,
        tls_mode_istio: workload.endpoint.tls_mode_istio(),
        ready: true,
        labels: workload.endpoint.labels.clone(),
        network: workload.endpoint.network.clone(),
        ports,
    })
}

/// Returns a Service's full name.
pub(crate) fn fqdn(service: &Service, domain: &str) -> String {
    format!("{}.{}.svc.{domain}", service.meta.name, service.meta.namespace)
}
