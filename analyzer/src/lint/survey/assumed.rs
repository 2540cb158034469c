//! The pods that declarations speak of where none is declared: a repository holds Services and policies, and no pods.
//!
//! What clients and servers are declared to do to each other is then asked of pods that the declarations themselves tell of:
//! their labels from selectors, a sidecar from policies and namespaces. Nothing is assumed where they leave it open.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};

use crate::lint::survey::destination_rules::{host_of, policies, written};
use crate::lint::survey::hosts::Hosts;
use crate::lint::survey::injection::of_kubernetes;
use crate::mesh::Mesh;
use crate::mesh::destination_rule::DestinationRule;
use crate::mesh::gateway::Gateway;
use crate::mesh::joining::{ambient, decided, labelled};
use crate::mesh::meta::{Labels, Meta, selects};
use crate::mesh::pod::Pod;
use crate::mesh::service::{Protocol, Service, TargetPort};
use crate::mesh::service_entry::{EntryPort, Resolution, ServiceEntry};
use crate::mesh::virtual_service::RouteKind;
use crate::policy::visibility::{covers, full_name};
use crate::report::PartyKind;

/// Stands for a namespace that no declaration names: only the policy of the whole mesh is for it.
pub(crate) const ANY: &str = "*";

/// Returns the mesh with the pods that its declarations speak of; absent where pods are declared.
pub(crate) fn assumed(mesh: &Mesh) -> Option<Mesh> {
    if !mesh.pods.is_empty() {
        return None;
    }
    let rules = written(mesh).map(|rule| (host_of(mesh, rule), rule)).collect();
    let mut assumption =
        Assumption { mesh, hosts: Hosts::of(mesh), rules, pods: Vec::new(), entries: Vec::new() };
    assumption.behind_services();
    assumption.behind_egress_gateways();
    assumption.behind_names();
    assumption.clients_of_rules();
    Some(mesh.with_pods(assumption.pods, assumption.entries))
}

struct Assumption<'a> {
    mesh: &'a Mesh,
    hosts: Hosts<'a>,
    /// The rules that people wrote, each with its full host.
    rules: Vec<(String, &'a DestinationRule)>,
    pods: Vec<Pod>,
    entries: Vec<ServiceEntry>,
}

impl Assumption<'_> {
    /// A pod for each Service with a selector: the gateway's where a Gateway selects it, else one with a sidecar.
    fn behind_services(&mut self) {
        for service in self.mesh.services.iter().filter(|service| service.external_name.is_none()) {
            let Some(selector) = service.selector.as_ref().filter(|selector| !selector.is_empty()) else {
                continue;
            };
            let namespace = &*service.meta.namespace;
            if self.mesh.gateways.iter().any(|gateway| in_front(gateway, service)) {
                let ports = named_ports(service);
                self.add(namespace, selector.clone(), PartyKind::Gateway, ports);
            } else if self.has_sidecars(namespace) {
                for labels in self.told_apart(namespace, selector) {
                    // The number behind a port's name is not known, and a policy for ports goes by it.
                    let by_number = self
                        .mesh
                        .peer_authentications_selecting(namespace, &labels)
                        .any(|policy| !policy.ports.is_empty());
                    let ports = if by_number { Vec::new() } else { named_ports(service) };
                    self.add(namespace, labels, PartyKind::Sidecar, ports);
                }
            }
        }
    }

    /// The gateways that routes of the mesh lead to by names that are not declared: Istio's installation holds their Services.
    fn behind_egress_gateways(&mut self) {
        let mesh = self.mesh;
        for routes in mesh.virtual_services.iter().filter(|routes| routes.is_for_mesh()) {
            let bound = |gateway: &&Gateway| {
                gateway.services.is_empty()
                    && !gateway.selector.is_empty()
                    && routes.binds(&gateway.meta.namespace, &gateway.meta.name)
            };
            let from_mesh = routes.routes.iter().filter(|route| {
                route.kind != RouteKind::Tls && route.takes(|one| one.is_at(|name| name == "mesh"))
            });
            for to in from_mesh.flat_map(|route| &route.destinations) {
                let host = full_name(&to.host, &routes.meta.namespace, &mesh.config.domain);
                let Some(namespace) = self.undeclared(&host).filter(|namespace| namespace != ANY) else {
                    continue;
                };
                for gateway in mesh.gateways.iter().filter(bound) {
                    let ports = gateway.servers.iter().map(|server| server.port).collect();
                    self.add(&namespace, gateway.selector.clone(), PartyKind::Gateway, Vec::new());
                    self.entry(&host, &namespace, &gateway.selector, ports);
                }
            }
        }
    }

    /// A server for each name of the mesh that a rule is for and nothing declares; and where a namespace has no Service
    /// and no such name, one that stands for all of the namespace whose policy is declared.
    fn behind_names(&mut self) {
        let mesh = self.mesh;
        let mut named: BTreeSet<(String, String)> = self
            .rules
            .iter()
            .filter_map(|(host, _)| Some((self.undeclared(host)?, host.clone())))
            .filter(|(namespace, _)| namespace != ANY)
            .collect();
        let domain = &mesh.config.domain;
        for policy in mesh.peer_authentications.iter().filter(|policy| !policy.is_for_workloads()) {
            let namespace = &*policy.meta.namespace;
            let spoken_of = named.iter().any(|(own, _)| own == namespace)
                || mesh.services.iter().any(|service| *service.meta.namespace == *namespace);
            if namespace != mesh.config.root_namespace && !spoken_of {
                named.insert((namespace.to_owned(), format!("*.{namespace}.svc.{domain}")));
            }
        }
        if named.is_empty() && self.pods.is_empty() {
            named.insert((ANY.to_owned(), format!("*.svc.{domain}")));
        }
        for (namespace, host) in named {
            if !self.has_sidecars(&namespace) || !self.decides(&namespace, &Labels::new()) {
                continue;
            }
            let rules = self.rules.iter().filter(|(own, _)| covers(own, &host));
            let ports: BTreeSet<u16> = rules
                .flat_map(|(_, rule)| policies(rule))
                .flat_map(|(_, policy)| policy.ports.iter().filter_map(|entry| entry.port))
                .collect();
            // No policy and no Service can ask for this label.
            let labels = Labels::from([("assumed".to_owned(), host.clone())]);
            self.add(&namespace, labels.clone(), PartyKind::Sidecar, Vec::new());
            self.entry(&host, &namespace, &labels, ports.into_iter().chain([0]).collect());
        }
    }

    /// A client for each rule, as its author means it: in its namespace, with the labels that it asks for.
    fn clients_of_rules(&mut self) {
        let meant: BTreeSet<(&str, Labels)> = written(self.mesh)
            .map(|rule| (&*rule.meta.namespace, rule.workload_selector.clone().unwrap_or_default()))
            .filter(|(namespace, _)| self.may_have_sidecars(namespace))
            .collect();
        for (namespace, labels) in meant {
            self.add(namespace, labels, PartyKind::Sidecar, Vec::new());
        }
    }

    /// Returns the namespace of a host that has a name of the mesh, and that nothing declares; [`ANY`] where the host stands
    /// for several.
    fn undeclared(&self, host: &str) -> Option<String> {
        let suffix = format!(".svc.{}", self.mesh.config.domain);
        let named = host.strip_suffix(&suffix)?;
        let namespace = named.rsplit_once('.').map_or(ANY, |(_, namespace)| namespace);
        self.hosts.covered(host).is_empty().then(|| namespace.to_owned())
    }

    /// Tells whether something declares that pods of a namespace have sidecars: the namespace's own label, or a policy that
    /// only sidecars act on.
    fn has_sidecars(&self, namespace: &str) -> bool {
        let root = self.mesh.config.root_namespace.as_str();
        let policy = |policies: &str| {
            self.mesh.peer_authentications_in(policies).any(|policy| {
                let set = policy.mode.is_some() || policy.ports.values().any(|(mode, _)| mode.is_some());
                set && (policies == namespace || !policy.is_for_workloads())
            })
        };
        let joins = self.mesh.namespaces.get(namespace).is_some_and(|(_, labels)| labelled(labels));
        self.may_have_sidecars(namespace) && (joins || policy(namespace) || policy(root))
    }

    /// Tells whether pods of a namespace can have sidecars: it is neither the control plane's nor Kubernetes' own, and its
    /// labels do not say otherwise.
    fn may_have_sidecars(&self, namespace: &str) -> bool {
        let labels = self.mesh.namespaces.get(namespace).map(|(_, labels)| labels);
        namespace != self.mesh.config.root_namespace
            && !of_kubernetes(namespace)
            && labels.is_none_or(|labels| !ambient(labels) && (labelled(labels) || !decided(labels)))
    }

    /// Returns the labels of the pods that a selector is known to choose: its own, and those of policies for some of these
    /// pods; without those of which it is open which policies select them.
    fn told_apart(&self, namespace: &str, selector: &Labels) -> Vec<Labels> {
        let within = self
            .mesh
            .peer_authentications_in(namespace)
            .filter(|policy| policy.is_for_workloads() && selects(selector, &policy.selector))
            .map(|policy| &policy.selector);
        let all: BTreeSet<&Labels> = within.chain([selector]).collect();
        all.into_iter().filter(|labels| self.decides(namespace, labels)).cloned().collect()
    }

    /// Tells whether these labels alone decide which policies of a namespace select a pod that has them.
    fn decides(&self, namespace: &str, labels: &Labels) -> bool {
        self.mesh.peer_authentications_in(namespace).all(|policy| {
            let contradicts =
                policy.selector.iter().any(|(key, value)| labels.get(key).is_some_and(|own| own != value));
            contradicts || selects(&policy.selector, labels)
        })
    }

    fn add(&mut self, namespace: &str, labels: Labels, proxy: PartyKind, ports: Vec<(Option<String>, u16)>) {
        let number = u32::try_from(self.pods.len()).unwrap_or(u32::MAX);
        // RFC 3849: addresses for documentation, which nobody has.
        let ip = IpAddr::V6(Ipv6Addr::new(
            0x2001,
            0xdb8,
            0,
            0,
            0,
            0,
            u16::try_from(number >> 16).unwrap_or(u16::MAX),
            u16::try_from(number & 0xffff).unwrap_or(u16::MAX),
        ));
        let mut meta = named("Pod", namespace, &format!("assumed-{number}"));
        meta.labels = labels;
        if proxy == PartyKind::Sidecar {
            meta.labels.entry("security.istio.io/tlsMode".to_owned()).or_insert_with(|| "istio".to_owned());
        }
        self.pods.push(Pod {
            ips: vec![ip],
            host_network: false,
            service_account: "default".to_owned(),
            ended: false,
            proxy,
            both_proxies: false,
            ztunnel: false,
            lone_proxy: false,
            own_certificates: false,
            redirected: None,
            opened: Vec::new(),
            unprivileged: false,
            node: None,
            network: None,
            ports,
            host_ports: Vec::new(),
            images: Vec::new(),
            workload: meta.name.to_string(),
            controller: None,
            meta,
        });
    }

    /// Declares a host of the mesh; port 0 stands for any that is not named.
    fn entry(&mut self, host: &str, namespace: &str, labels: &Labels, ports: BTreeSet<u16>) {
        let ports = ports.into_iter().enumerate().map(|(place, number)| EntryPort {
            number,
            name: number.to_string(),
            protocol: Protocol::Unsupported,
            target: None,
            place,
            line: 0,
        });
        self.entries.push(ServiceEntry {
            meta: named("ServiceEntry", namespace, host),
            hosts: vec![host.to_owned()],
            addresses: Vec::new(),
            ports: ports.collect(),
            internal: true,
            location_written: true,
            location_line: 0,
            resolution: Resolution::Static,
            endpoints: Vec::new(),
            assigned: Vec::new(),
            workload_selector: Some(labels.clone()),
            export_to: Vec::new(),
        });
    }
}

/// Tells whether a Service leads to pods that a Gateway selects.
pub(crate) fn in_front(gateway: &Gateway, service: &Service) -> bool {
    let selector = service.selector.as_ref().filter(|selector| !selector.is_empty());
    gateway.services.is_empty() && selector.is_some_and(|own| selects(&gateway.selector, own))
}

fn named_ports(service: &Service) -> Vec<(Option<String>, u16)> {
    let named = service.ports.iter().filter_map(|port| match &port.target {
        TargetPort::Name(name) => Some((Some(name.clone()), port.port)),
        TargetPort::Number(_) => None,
    });
    named.collect()
}

fn named(kind: &str, namespace: &str, name: &str) -> Meta {
    Meta {
        version: "".into(),
        kind: kind.into(),
        namespace: namespace.into(),
        name: name.into(),
        labels: Labels::new(),
        annotations: Labels::new(),
        created: None,
        file: "".into(),
        line: 0,
        source: None,
    }
}
