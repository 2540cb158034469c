//! The lookups that judging takes.

use std::net::IpAddr;

use crate::mesh::Mesh;
use crate::mesh::destination_rule::DestinationRule;
use crate::mesh::gateway::Gateway;
use crate::mesh::hosts::{Behind, HostEndpoint, HostPort, HostService, Owner};
use crate::mesh::lookup::{BySelector, all_at, label};
use crate::mesh::meta::{Labels, Meta, selects};
use crate::mesh::peer_authentication::PeerAuthentication;
use crate::mesh::pod::Pod;
use crate::mesh::service::{Protocol, Service};
use crate::mesh::service_entry::{Resolution, WorkloadEntry};
use crate::mesh::sidecar::Sidecar;
use crate::mesh::virtual_service::VirtualService;
use crate::policy::inbound::HBONE;
use crate::policy::outbound::istio_sni;
use crate::report::PartyKind;

impl Mesh {
    /// Returns the PeerAuthentications of a namespace, oldest first.
    pub fn peer_authentications_in(
        &self,
        namespace: &str,
    ) -> impl DoubleEndedIterator<Item = &PeerAuthentication> {
        all_at(&self.peer_authentications, self.places.peer_authentications.at(namespace))
    }

    /// Returns the DestinationRules of a namespace in the order in which they compete; what a BackendTLSPolicy declares
    /// last.
    pub fn destination_rules_in(&self, namespace: &str) -> impl DoubleEndedIterator<Item = &DestinationRule> {
        all_at(&self.destination_rules, self.places.destination_rules.at(namespace))
    }

    /// Returns those of them whose host covers a host.
    pub fn destination_rules_for(
        &self,
        namespace: &str,
        host: &str,
    ) -> impl DoubleEndedIterator<Item = &DestinationRule> {
        let places = self.places.destination_rules_by_host.get(namespace).map(|hosts| hosts.covering(host));
        places.unwrap_or_default().into_iter().filter_map(|place| self.destination_rules.get(place))
    }

    /// Returns the rule of this `Kind/namespace/name`.
    #[must_use]
    pub fn destination_rule(&self, id: &str) -> Option<&DestinationRule> {
        self.places.destination_rules_by_id.get(id).and_then(|place| self.destination_rules.get(*place))
    }

    /// Returns the PeerAuthentication of this `Kind/namespace/name`.
    #[must_use]
    pub fn peer_authentication(&self, id: &str) -> Option<&PeerAuthentication> {
        self.places.peer_authentications_by_id.get(id).and_then(|place| self.peer_authentications.get(*place))
    }

    /// Returns the Gateway of this `Kind/namespace/name`.
    #[must_use]
    pub fn gateway(&self, id: &str) -> Option<&Gateway> {
        self.places.gateways_by_id.get(id).and_then(|place| self.gateways.get(*place))
    }

    /// Returns the PeerAuthentications of a namespace without a selector, oldest first.
    pub fn peer_authentications_for_all(&self, namespace: &str) -> impl Iterator<Item = &PeerAuthentication> {
        let selectors = self.places.policies_by_selector.get(namespace);
        all_at(&self.peer_authentications, selectors.map_or(&[][..], BySelector::for_all))
    }

    /// Returns the PeerAuthentications of a namespace that select a workload of these labels, those without a selector
    /// included, oldest first.
    pub fn peer_authentications_selecting<'a, 'l>(
        &'a self,
        namespace: &str,
        labels: &'l Labels,
    ) -> impl Iterator<Item = &'a PeerAuthentication> + use<'a, 'l> {
        let places =
            self.places.policies_by_selector.get(namespace).map(|selectors| selectors.candidates(labels));
        let policies = places.unwrap_or_default().into_iter();
        let policies = policies.filter_map(|place| self.peer_authentications.get(place));
        policies.filter(|policy| selects(&policy.selector, labels))
    }

    /// Returns the Sidecars of a namespace with a selector that selects a workload of these labels, oldest first.
    pub fn sidecars_selecting<'a, 'l>(
        &'a self,
        namespace: &str,
        labels: &'l Labels,
    ) -> impl Iterator<Item = &'a Sidecar> + use<'a, 'l> {
        let selectors = self.places.sidecars_by_selector.get(namespace);
        let places = selectors.map(|selectors| selectors.candidates(labels)).unwrap_or_default();
        let sidecars = places.into_iter().filter_map(|place| self.sidecars.get(place));
        sidecars.filter(|sidecar| sidecar.selector.as_ref().is_some_and(|selector| selects(selector, labels)))
    }

    /// Returns the VirtualServices one of whose hosts, as written or in full, covers a host, oldest first.
    pub fn routes_for(&self, host: &str) -> impl DoubleEndedIterator<Item = &VirtualService> {
        let places = self.places.routes_for.covering(host).into_iter();
        places.filter_map(|place| self.virtual_services.get(place))
    }

    /// Returns the VirtualServices with a route that leads to a host, oldest first.
    pub fn routes_to(&self, host: &str) -> impl DoubleEndedIterator<Item = &VirtualService> {
        all_at(&self.virtual_services, self.places.routes_to.at(host))
    }

    /// Returns the hosts of this very name, the oldest first.
    pub fn hosts_named<'a, 'n>(
        &'a self,
        name: &'n str,
    ) -> impl Iterator<Item = &'a HostService> + use<'a, 'n> {
        all_at(&self.hosts, self.places.hosts.spelled(name)).filter(move |host| host.host == name)
    }

    /// Returns the hosts that are, or as patterns cover, a name, the oldest first.
    pub fn hosts_covering(&self, name: &str) -> impl Iterator<Item = &HostService> {
        self.places.hosts.covering(name).into_iter().filter_map(|place| self.hosts.get(place))
    }

    /// Returns the hosts with a port (the one that clients dial, or the one on the wire) whose addresses no declaration
    /// tells, the oldest first.
    pub fn unresolved_hosts(&self, port: u16) -> impl Iterator<Item = &HostService> {
        all_at(&self.hosts, self.places.unresolved.at(&port))
    }

    /// Returns the WorkloadEntry at an address.
    #[must_use]
    pub fn workload_entry_at(&self, ip: IpAddr) -> Option<&WorkloadEntry> {
        self.places.workload_entries_by_ip.get(&ip).and_then(|place| self.workload_entries.get(*place))
    }

    /// Returns the Sidecars of a namespace, oldest first.
    pub fn sidecars_in(&self, namespace: &str) -> impl DoubleEndedIterator<Item = &Sidecar> {
        all_at(&self.sidecars, self.places.sidecars.at(namespace))
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

    /// Tells whether a Deployment makes pods that have all these labels: in this namespace, or where none is named anywhere.
    #[must_use]
    pub fn makes_pods_with(&self, namespace: Option<&str>, selector: &Labels) -> bool {
        self.templates.iter().any(|(own, labels)| {
            namespace.is_none_or(|namespace| **own == *namespace) && selects(selector, labels)
        })
    }

    /// Returns the WorkloadEntries of a namespace that have all these labels.
    pub fn workload_entries_with<'a>(
        &'a self,
        namespace: &str,
        selector: &'a Labels,
    ) -> impl Iterator<Item = &'a WorkloadEntry> + use<'a> {
        all_at(&self.workload_entries, self.places.workload_entries.at(namespace))
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
        self.pod_at(ip, None).or_else(|| self.machine_at(ip))
    }

    /// Returns the ztunnel of an ambient pod: that of its node, else the one that was made last.
    #[must_use]
    pub fn ztunnel_of(&self, pod: Option<&Pod>) -> Option<&Pod> {
        let node = pod.and_then(|pod| pod.node.as_deref());
        let ztunnels = all_at(&self.pods, &self.places.ztunnels);
        ztunnels.max_by_key(|own| (node.is_some() && own.node.as_deref() == node, own.meta.created))
    }

    /// Returns the machines that have a proxy: WorkloadEntries, as the pods that they stand in for, in no order.
    pub fn machines(&self) -> impl Iterator<Item = &Pod> {
        self.machines.values()
    }

    /// Returns the machine with a proxy at an address that no pod has.
    #[must_use]
    pub fn machine_at(&self, ip: IpAddr) -> Option<&Pod> {
        self.machines.get(&ip).filter(|_| !self.pods_by_ip.contains_key(&ip))
    }

    /// Returns the pod that an address and port belong to. Pods that share their node's address are told apart by the
    /// port they declare, else by the one that a Gateway opens; where that does not tell, there is no answer.
    #[must_use]
    pub fn pod_at(&self, ip: IpAddr, port: Option<u16>) -> Option<&Pod> {
        let places = self.pods_by_ip.get(&ip)?;
        let pods = || places.iter().filter_map(|place| self.pods.get(*place));
        let mut own = pods().filter(|pod| !pod.host_network);
        if let (Some(pod), None) = (own.next(), own.next()) {
            return Some(pod);
        }
        let port = port?;
        let mut declared = pods().filter(|pod| pod.ports.iter().any(|(_, number)| *number == port));
        match (declared.next(), declared.next()) {
            (Some(pod), None) => Some(pod),
            (None, _) => self.gateway_ports.get(&(ip, port)).and_then(|place| self.pods.get(*place)),
            (Some(_), Some(_)) => None,
        }
    }

    /// Returns the pod that a connection to this address and port reaches, and at which port of its own: another one where the
    /// address is its node's and the port one that leads to it.
    ///
    /// Kubernetes: Pod, `containers[].ports[].hostPort`.
    #[must_use]
    pub fn server_at(&self, ip: IpAddr, port: u16) -> Option<(&Pod, u16)> {
        if let Some(pod) = self.pod_at(ip, Some(port)) {
            return Some((pod, port));
        }
        // Of a machine's ports the Services and entries that lead there tell, but for what is behind a ztunnel.
        let tunnelled =
            |machine: &&Pod| machine.proxy == PartyKind::Ambient || (port == HBONE && machine.hbone());
        if let Some(machine) = self.machine_at(ip).filter(tunnelled) {
            return Some((machine, port));
        }
        let (place, own) = self.pods_by_host_port.get(&(ip, port)).copied().flatten()?;
        Some((self.pods.get(place)?, own))
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
        places.extend(self.ranges.holding(ip));
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

    /// Returns the Service that a destination is published for outside the cluster: by an external address or a load
    /// balancer's and the Service port, by any node's address and the node port. Proxies know none of these: to them it is
    /// an unknown destination.
    ///
    /// Rule `inbound.published-address`. Kubernetes: Service, `externalIPs`, `nodePort`, `status.loadBalancer`.
    #[must_use]
    pub fn published_at(&self, ip: IpAddr, port: u16) -> Option<Behind<'_>> {
        let by_address = all_at(&self.hosts, self.places.published.at(&ip)).map(|host| (host, Some(port)));
        let of_nodes = self.places.node_ports.at(&port);
        let nodes = if of_nodes.is_empty() || !self.is_node(ip) { &[][..] } else { of_nodes };
        let by_node = all_at(&self.hosts, nodes).map(|host| {
            let mut ports = self.service_of(host).into_iter().flat_map(|service| &service.ports);
            (host, ports.find(|own| own.node_port == Some(port)).map(|own| own.port))
        });
        by_address.chain(by_node).find_map(|(host, number)| {
            let mut ports = host.ports.iter().filter(|own| own.protocol != Protocol::Udp);
            let port = ports.find(|own| Some(own.number) == number)?;
            Some(Behind { host, port, endpoint: None })
        })
    }

    /// Returns the Service of Kubernetes that a host is.
    pub(super) fn service_of(&self, host: &HostService) -> Option<&Service> {
        match host.owner {
            Owner::Service(place) => self.services.get(place),
            Owner::Entry(_) => None,
        }
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
    /// services behind it, be it one of another network that nothing here declares; there the name in the ClientHello is all that tells. A TCP entry without addresses stands behind
    /// every address that is otherwise unknown, by its port.
    #[must_use]
    pub fn meant(&self, ip: IpAddr, port: u16, sni: Option<&str>) -> Vec<Behind<'_>> {
        let behind = self.behind(ip, port);
        // Proxies know no port of a node: to them what it leads to is an unknown destination.
        let unknown = behind.is_empty() && self.pod_at(ip, Some(port)).is_none();
        let pod = self.server_at(ip, port).map(|(pod, _)| pod);
        let Some(sni) = sni else {
            return if unknown { self.capturing(port) } else { behind };
        };
        if let Some((service_port, _, host)) = istio_sni(sni) {
            let elsewhere = unknown && self.is_east_west(ip, port);
            let is_gateway = |pod: &Pod| pod.proxy == PartyKind::Gateway;
            // A gateway may be dialled by its Service's own address.
            let of_gateways = |found: &Behind<'_>| {
                found.endpoint.is_none()
                    && found.host.endpoints.iter().any(|one| self.pod_of(one).is_some_and(is_gateway))
            };
            let at_gateway = pod.is_some_and(is_gateway) || behind.iter().any(of_gateways);
            let through_gateway =
                (elsewhere || at_gateway) && !behind.iter().any(|found| found.host.host == host);
            return if through_gateway {
                ports_of(self.hosts_named(host), |found| found.number == service_port)
            } else {
                behind
            };
        }
        if !unknown {
            return behind;
        }
        let entries = self.hosts_covering(sni).filter(|found| matches!(found.owner, Owner::Entry(_)));
        let named = ports_of(entries, |found| found.number == port || found.target == port);
        if named.is_empty() { self.capturing(port) } else { named }
    }

    /// Returns the TCP entries that take every connection to a port, whatever its address: those without addresses.
    ///
    /// Rule `client.whole-port`. Istio: ServiceEntry, `addresses`; analysis message IST0134.
    fn capturing(&self, port: u16) -> Vec<Behind<'_>> {
        let opaque = |found: &HostPort| !found.protocol.is_http() && !found.protocol.is_tls();
        ports_of(all_at(&self.hosts, &self.places.whole_port), |found| {
            opaque(found)
                && found.protocol != Protocol::Unsupported
                && (found.number == port || found.target == port)
        })
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

    /// Tells whether proxies find a host by asking for its own name: an entry by DNS that declares no endpoint.
    #[must_use]
    pub fn asks_for_its_own_name(&self, host: &HostService) -> bool {
        let Owner::Entry(index) = host.owner else { return false };
        self.service_entries.get(index).is_some_and(|entry| {
            matches!(entry.resolution, Resolution::Dns | Resolution::DnsRoundRobin)
                && entry.endpoints.is_empty()
                && entry.workload_selector.is_none()
        })
    }

    /// Tells whether proxies find a host's endpoints by DNS.
    #[must_use]
    pub fn is_by_dns(&self, host: &HostService) -> bool {
        let Owner::Entry(index) = host.owner else { return false };
        let resolution = self.service_entries.get(index).map(|entry| entry.resolution);
        matches!(resolution, Some(Resolution::Dns | Resolution::DnsRoundRobin))
    }

    /// Tells whether an endpoint is on another node than a client that is only sent to those on its own.
    ///
    /// Rule `client.own-node`. Istio: `pilot/pkg/xds/endpoints/endpoint_builder.go`, `filterIstioEndpoint`.
    #[must_use]
    pub fn is_on_another_node(&self, client: &Pod, host: &HostService, endpoint: &HostEndpoint) -> bool {
        let local = self.service_of(host).is_some_and(|service| service.node_local);
        let server = || self.pod_of(endpoint)?.node.as_deref();
        local && client.node.as_deref().zip(server()).is_some_and(|(client, server)| client != server)
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

fn ports_of<'a>(
    hosts: impl Iterator<Item = &'a HostService>,
    port: impl Fn(&HostPort) -> bool,
) -> Vec<Behind<'a>> {
    hosts
        .flat_map(|host| host.ports.iter().map(move |port| Behind { host, port, endpoint: None }))
        .filter(|behind| behind.port.protocol != Protocol::Udp && port(behind.port))
        .collect()
}
