//! The mesh as one immutable value.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::HashMap;

use crate::mesh::authorization_policy::AuthorizationPolicy;
use crate::mesh::control_plane::ControlPlane;
use crate::mesh::delegation;
use crate::mesh::destination_rule::DestinationRule;
use crate::mesh::gateway::Gateway;
use crate::mesh::gateway_api::{self, Target};
use crate::mesh::hosts::{HostService, Owner, fqdn};
use crate::mesh::lookup::{ByHost, BySelector, Index, Ranges, by_id, by_namespace, label};
use crate::mesh::manifest::{Declared, Manifest, Refused, Resources};
use crate::mesh::mesh_config::MeshConfig;
use crate::mesh::meta::{Labels, Meta, selects};
use crate::mesh::network_policy::NetworkPolicy;
use crate::mesh::peer_authentication::PeerAuthentication;
use crate::mesh::pod::Pod;
use crate::mesh::service::Service;
use crate::mesh::service_entry::{Resolution, ServiceEntry, WorkloadEntry};
use crate::mesh::sidecar::Sidecar;
use crate::mesh::virtual_service::VirtualService;
use crate::mesh::waypoint::Waypoint;
use crate::policy::destination_rule::full_host;
use crate::policy::gateway::{configures, listens_on};
use crate::policy::visibility::{full_name, sidecar_for};
use crate::report::{InputError, PartyKind};

/// A snapshot of all declarations. Whatever it refers to and does not hold is simply not there: lookups say so.
#[derive(Debug, Clone, Default)]
pub struct Mesh {
    /// MeshConfig, with Istio's defaults where nothing is declared.
    pub config: MeshConfig,
    /// What is known of istiod. A caller that knows better may set it: no lookup is made from it beforehand.
    pub control_plane: ControlPlane,
    /// Labels of the namespaces, by name.
    pub namespaces: BTreeMap<Arc<str>, (Meta, Labels)>,
    /// Pods.
    pub pods: Vec<Pod>,
    /// Namespace and labels of the pods that Deployments make, whether or not there are any.
    pub templates: Vec<(Arc<str>, Labels)>,
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
    /// How many Kubernetes objects were read, those of kinds that decide nothing included: 0 says that nothing is declared.
    pub objects: usize,
    /// Every host that a client can name: Services and ServiceEntries, oldest first.
    pub hosts: Vec<HostService>,
    /// The Gateways that may stand before hosts and workloads, by namespace and name.
    pub(super) waypoints: BTreeMap<(String, String), Waypoint>,
    pub(super) machines: HashMap<IpAddr, Pod>,
    pub(super) nodes: HashMap<IpAddr, Arc<str>>,
    pub(super) places: Places,
    pub(super) gateway_ports: HashMap<(IpAddr, u16), usize>,
    /// What Istio's webhook refuses for what the catalogue says too; absent where there is no such object.
    pub(crate) refused: Option<Arc<Rejections>>,
    pub(super) pods_by_ip: HashMap<IpAddr, Vec<usize>>,
    /// Pods by the ports of their nodes that lead to them, and the ports there; nothing where several claim one.
    pub(super) pods_by_host_port: HashMap<(IpAddr, u16), Option<(usize, u16)>>,
    pub(super) hosts_by_ip: HashMap<IpAddr, Vec<usize>>,
    pub(super) ranges: Ranges,
}

/// Where the resources stand by what they are asked for, oldest first where they compete.
#[derive(Debug, Clone, Default)]
pub(super) struct Places {
    pub(super) pods: HashMap<Arc<str>, PodPlaces>,
    pub(super) ztunnels: Vec<usize>,
    pub(super) peer_authentications: Index<Arc<str>>,
    pub(super) peer_authentications_by_id: HashMap<String, usize>,
    pub(super) policies_by_selector: HashMap<Arc<str>, BySelector>,
    pub(super) destination_rules: Index<Arc<str>>,
    pub(super) destination_rules_by_id: HashMap<String, usize>,
    pub(super) destination_rules_by_host: HashMap<Arc<str>, ByHost>,
    pub(super) sidecars: Index<Arc<str>>,
    pub(super) sidecars_by_selector: HashMap<Arc<str>, BySelector>,
    pub(super) workload_entries: Index<Arc<str>>,
    pub(super) workload_entries_by_ip: HashMap<IpAddr, usize>,
    pub(super) gateways_by_id: HashMap<String, usize>,
    /// VirtualServices by their hosts, as written and in full.
    pub(super) routes_for: ByHost,
    /// VirtualServices by the full hosts that they lead to.
    pub(super) routes_to: Index<String>,
    pub(super) hosts: ByHost,
    /// Hosts whose addresses no declaration tells, by each of their ports.
    pub(super) unresolved: Index<u16>,
    /// TCP entries that take every connection to a port.
    pub(super) whole_port: Vec<usize>,
    /// Services by the addresses that they are published at.
    pub(super) published: Index<IpAddr>,
    /// Services by the ports that they are published at on every node.
    pub(super) node_ports: Index<u16>,
}

/// Objects that have no effect because Istio's webhook refuses them.
#[derive(Debug)]
pub(crate) struct Rejections {
    /// The ids of the findings that say why, by object.
    pub(crate) findings: BTreeMap<String, BTreeSet<&'static str>>,
    /// The mesh as it would be with them.
    pub(crate) accepting: Mesh,
}

/// The pods of a namespace that have not ended: all of them, and by each of their labels.
#[derive(Debug, Clone, Default)]
pub(super) struct PodPlaces {
    pub(super) all: Vec<usize>,
    pub(super) by_label: HashMap<String, Vec<usize>>,
}

impl Mesh {
    /// Reads manifests. What cannot be read is reported and costs nothing else.
    #[must_use]
    pub fn load(manifests: Vec<Manifest>) -> (Self, Vec<InputError>) {
        let mut resources = Resources::read(&manifests);
        drop(manifests);
        let errors = resources.errors();
        (Self::of(resources), errors)
    }

    /// Takes objects that were read before: the same mesh as [`Mesh::load`] makes of one manifest an object, with the object's
    /// JSON as its text.
    #[must_use]
    pub fn of_declared<'a>(objects: impl IntoIterator<Item = &'a Declared>) -> (Self, Vec<InputError>) {
        let mut resources = Resources::of_declared(objects);
        let errors = resources.errors();
        (Self::of(resources), errors)
    }

    fn of(mut resources: Resources) -> Self {
        let refused = resources.refused.take().map(|Refused { objects, findings }| {
            let mut accepting = resources.clone();
            accepting.take(&objects);
            Arc::new(Rejections { findings, accepting: Self::of(accepting) })
        });
        let mut config = resources.config.map(|config| *config).unwrap_or_default();
        let mut waypoints = BTreeMap::new();
        for (name, (meta, gateway)) in &resources.parents {
            config.networks.take_gateway(&meta.labels, gateway, &gateway_api::passing_ports(meta, gateway));
            let class = gateway_api::class(gateway).and_then(|class| resources.gateway_classes.get(class));
            waypoints.extend(Waypoint::read(meta, gateway, class).map(|waypoint| (name.clone(), waypoint)));
        }
        // What is said of one pod for all of its kind names the same one, whatever order they come in.
        resources
            .pods
            .sort_by(|a, b| (&a.meta.namespace, &a.meta.name).cmp(&(&b.meta.namespace, &b.meta.name)));
        let mut mesh = Self {
            namespaces: resources
                .namespaces
                .into_iter()
                .map(|(meta, labels)| (meta.name.clone(), (meta, labels)))
                .collect(),
            pods: resources.pods,
            templates: resources.templates,
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
            refused,
            waypoints,
            objects: resources.objects,
            ..Self::default()
        };
        for pod in mesh.pods.iter_mut().filter(|pod| pod.proxy == PartyKind::Sidecar && pod.lone_proxy) {
            // Beside a sidecar stands an application: a proxy alone that a Gateway selects is one, whatever its arguments.
            let own = |gateway: &Gateway| {
                !gateway.selector.is_empty() && selects(&gateway.selector, &pod.meta.labels)
            };
            if mesh.gateways.iter().any(own) {
                pod.proxy = PartyKind::Gateway;
            }
        }
        for pod in &mut mesh.pods {
            pod.redirected.get_or_insert(mesh.config.redirected);
        }
        for pod in mesh.pods.iter_mut().filter(|pod| pod.proxy == PartyKind::Gateway) {
            // The pods of a Gateway carry its name; its class is in the Gateway alone in older versions.
            if let Some(name) = pod.meta.labels.get("gateway.networking.k8s.io/gateway-name")
                && resources
                    .parents
                    .get(&(pod.meta.namespace.to_string(), name.clone()))
                    .is_some_and(|(_, gateway)| gateway_api::is_waypoint(gateway))
            {
                pod.proxy = PartyKind::Waypoint;
            }
        }
        mesh.gateways.sort_by(|a, b| a.age().cmp(&b.age()));
        mesh.virtual_services.sort_by(|a, b| a.meta.age().cmp(&b.meta.age()));
        delegation::resolve(&mut mesh.virtual_services, &mesh.config);
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
            (a.is_backend_policy(), a.workload_selector.is_none(), a.meta.age()).cmp(&(
                b.is_backend_policy(),
                b.workload_selector.is_none(),
                b.meta.age(),
            ))
        });
        for (meta, addresses) in resources.nodes {
            for ip in addresses {
                mesh.nodes.insert(ip, meta.name.clone());
            }
        }
        // The oldest of an address is asked for first.
        for machine in mesh.workload_entries.iter().rev().filter_map(Pod::of_workload) {
            for ip in &machine.ips {
                mesh.machines.insert(*ip, machine.clone());
            }
        }
        mesh.place_pods();
        mesh.place_policies();
        mesh.open_ports();
        mesh.hosts = mesh.build_hosts(&resources.slices, &resources.endpoints);
        mesh.place_hosts();
        mesh.gateway_ports = mesh.ports_of_gateways();
        mesh
    }

    /// Returns the declarations of a mesh without pods with these pods, and with these entries besides. Endpoints that were
    /// kept by hand are left out.
    pub(crate) fn with_pods(&self, pods: Vec<Pod>, entries: Vec<ServiceEntry>) -> Self {
        let mut mesh = self.clone();
        mesh.pods = pods;
        mesh.service_entries.extend(entries);
        mesh.place_pods();
        mesh.open_ports();
        mesh.hosts = mesh.build_hosts(&[], &[]);
        mesh.place_hosts();
        mesh.gateway_ports = mesh.ports_of_gateways();
        mesh
    }

    /// Returns the same declarations with this PeerAuthentication, in place of the one of its name if there is one.
    #[must_use]
    pub fn with_peer_authentication(&self, policy: PeerAuthentication) -> Self {
        let mut mesh = self.clone();
        mesh.peer_authentications.retain(|other| other.meta.id() != policy.meta.id());
        mesh.peer_authentications.push(policy);
        mesh.place_peer_authentications();
        mesh
    }

    /// Notes the ports that proxies open themselves where nothing is redirected to them.
    ///
    /// Rule `interception.inbound`. Istio: `listener_inbound.go`, `buildInboundChainConfigs`.
    fn open_ports(&mut self) {
        let alone = |pod: &Pod| pod.proxy == PartyKind::Sidecar && pod.redirected == Some(false);
        for place in 0..self.pods.len() {
            let Some(pod) = self.pods.get(place).filter(|pod| alone(pod)) else { continue };
            let ingress = sidecar_for(self, pod).and_then(|sidecar| sidecar.ingress.as_ref());
            let opened = ingress.into_iter().flatten().filter(|entry| entry.opens).map(|entry| entry.port);
            let opened = opened.collect();
            if let Some(pod) = self.pods.get_mut(place) {
                pod.opened = opened;
            }
        }
    }

    fn place_pods(&mut self) {
        self.pods_by_ip.clear();
        self.pods_by_host_port.clear();
        self.places.pods.clear();
        self.places.ztunnels.clear();
        // The address of a pod that has ended may belong to another one by now.
        for (index, pod) in self.pods.iter().enumerate().filter(|(_, pod)| !pod.ended) {
            for ip in &pod.ips {
                self.pods_by_ip.entry(*ip).or_default().push(index);
            }
            if pod.ztunnel {
                self.places.ztunnels.push(index);
            }
            for (node, there, own) in &pod.host_ports {
                let claims = self.pods_by_host_port.entry((*node, *there));
                claims.and_modify(|claimed| *claimed = None).or_insert(Some((index, *own)));
            }
            let places = self.places.pods.entry(pod.meta.namespace.clone()).or_default();
            places.all.push(index);
            for (key, value) in &pod.meta.labels {
                places.by_label.entry(label(key, value)).or_default().push(index);
            }
        }
    }

    fn place_peer_authentications(&mut self) {
        self.peer_authentications.sort_by(|a, b| a.meta.age().cmp(&b.meta.age()));
        let places = &mut self.places;
        places.peer_authentications =
            by_namespace(self.peer_authentications.iter().map(|policy| &policy.meta));
        places.peer_authentications_by_id =
            by_id(self.peer_authentications.iter().map(|policy| &policy.meta));
        places.policies_by_selector.clear();
        for (place, policy) in self.peer_authentications.iter().enumerate() {
            let selectors = places.policies_by_selector.entry(policy.meta.namespace.clone());
            selectors.or_default().add(&policy.selector, place);
        }
    }

    fn place_policies(&mut self) {
        self.place_peer_authentications();
        let places = &mut self.places;
        places.destination_rules = by_namespace(self.destination_rules.iter().map(|rule| &rule.meta));
        places.destination_rules_by_id = by_id(self.destination_rules.iter().map(|rule| &rule.meta));
        for (place, rule) in self.destination_rules.iter().enumerate() {
            let hosts = places.destination_rules_by_host.entry(rule.meta.namespace.clone()).or_default();
            hosts.add(&full_host(rule, &self.config.domain), place);
        }
        places.sidecars = by_namespace(self.sidecars.iter().map(|sidecar| &sidecar.meta));
        for (place, sidecar) in self.sidecars.iter().enumerate() {
            if let Some(selector) = &sidecar.selector {
                let selectors = places.sidecars_by_selector.entry(sidecar.meta.namespace.clone());
                selectors.or_default().add(selector, place);
            }
        }
        places.workload_entries = by_namespace(self.workload_entries.iter().map(|entry| &entry.meta));
        for (place, entry) in self.workload_entries.iter().enumerate() {
            if let Some(ip) = entry.endpoint.ip {
                places.workload_entries_by_ip.entry(ip).or_insert(place);
            }
        }
        places.gateways_by_id = by_id(self.gateways.iter().map(|gateway| &gateway.meta));
        for (place, service) in self.virtual_services.iter().enumerate() {
            let full = |host: &str| full_name(host, &service.meta.namespace, &self.config.domain);
            for host in &service.hosts {
                places.routes_for.add(host, place);
                places.routes_for.add(&full(host), place);
            }
            for to in service.routes.iter().flat_map(|route| &route.destinations) {
                places.routes_to.add(full(&to.host), place);
            }
        }
    }

    fn place_hosts(&mut self) {
        self.hosts_by_ip.clear();
        self.ranges = Ranges::default();
        self.places.hosts = ByHost::default();
        self.places.unresolved = Index::default();
        self.places.whole_port.clear();
        self.places.published = Index::default();
        self.places.node_ports = Index::default();
        for (place, host) in self.hosts.iter().enumerate() {
            for network in &host.addresses {
                if network.prefix_len() == network.max_prefix_len() {
                    self.hosts_by_ip.entry(network.addr()).or_default().push(place);
                } else {
                    self.ranges.add(*network, place);
                }
            }
            for endpoint in &host.endpoints {
                let places = self.hosts_by_ip.entry(endpoint.ip).or_default();
                if places.last() != Some(&place) {
                    places.push(place);
                }
            }
            self.places.hosts.add(&host.host, place);
            let service = match host.owner {
                Owner::Service(index) => self.services.get(index),
                Owner::Entry(_) => None,
            };
            if let Some(service) = service {
                for ip in &service.published {
                    self.places.published.add(*ip, place);
                }
                for port in service.ports.iter().filter_map(|port| port.node_port) {
                    self.places.node_ports.add(port, place);
                }
            }
            // Rule `client.whole-port`.
            let whole_port = match host.owner {
                Owner::Service(_) => false,
                Owner::Entry(index) => self.service_entries.get(index).is_some_and(|entry| {
                    entry.resolution != Resolution::Static
                        && entry.workload_selector.is_none()
                        && !entry.is_told_by_assigned_addresses(&self.config)
                }),
            };
            if whole_port && host.addresses.is_empty() && host.endpoints.is_empty() {
                self.places.whole_port.push(place);
            }
            if host.endpoints.is_empty() && (host.addresses.is_empty() || !host.original_destination) {
                for port in &host.ports {
                    self.places.unresolved.add(port.number, place);
                    self.places.unresolved.add(port.target, place);
                }
            }
        }
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
}
