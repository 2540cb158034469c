//! One workload, Service, namespace or Gateway described: what is in force there, who decided it, and what touches it.

mod description;

use std::collections::{BTreeMap, BTreeSet};

use crate::lint::lint;
use crate::mesh::gateway::Gateway;
use crate::mesh::meta::{Labels, Meta};
use crate::mesh::pod::Pod;
use crate::mesh::service::Protocol;
use crate::mesh::{HostService, Mesh, spelling};
use crate::names::{self, Named, Unclear};
use crate::policy::interception::NEVER_INTERCEPTED;
use crate::policy::visibility::sidecar_for;
use crate::policy::{Decided, Trace, destination_rule, gateway, inbound, peer_authentication};
use crate::report::{Citation, LintFinding, PartyKind, ServerMode};

pub use description::{Description, Mode, Place, PodState, PortState, RuleState, ServerState, WorkloadState};

flow::named! {
    /// What can be described.
    pub enum Subject {
        /// A workload, by its pods.
        Workload = "workload",
        /// A Service, or a host of a ServiceEntry.
        Service = "service",
        /// A namespace.
        Namespace = "namespace",
        /// A Gateway: of Istio or of the Gateway API.
        Gateway = "gateway",
    }
}

/// Describes what a name stands for.
///
/// # Errors
///
/// Returns why it is not clear what is meant, with the names that are near.
pub fn describe(mesh: &Mesh, subject: Subject, name: &str) -> Result<Description, Unclear> {
    let mut description = match subject {
        Subject::Workload => workload(mesh, name)?,
        Subject::Service => service(mesh, name)?,
        Subject::Namespace => namespace(mesh, name)?,
        Subject::Gateway => one_gateway(mesh, name)?,
    };
    let inside = match subject {
        Subject::Namespace => format!("/{}/", description.name),
        Subject::Workload | Subject::Service | Subject::Gateway => format!("/{}", description.name),
    };
    let own = |finding: &LintFinding| match subject {
        Subject::Namespace => {
            finding.resource.contains(&inside)
                || finding.resource == format!("Namespace/{}", description.name)
        }
        Subject::Workload | Subject::Service | Subject::Gateway => finding.resource.ends_with(&inside),
    };
    // What reaches further than the subject, such as the mesh's policy, has findings that are about others too.
    let home = description.name.split('/').next().unwrap_or_default().to_owned();
    let local = |resource: &str| resource.split('/').nth(1) == Some(home.as_str());
    let about = |message: &str| match subject {
        Subject::Namespace => {
            message.contains(&format!("{home}/")) || message.contains(&format!("namespace {home}"))
        }
        Subject::Workload | Subject::Service | Subject::Gateway => {
            message.contains(&description.name) || message.contains(&format!("namespace {home}"))
        }
    };
    let named: BTreeSet<&str> = description
        .resources
        .iter()
        .chain(&description.declared)
        .map(|place| place.resource.as_str())
        .chain(description.services.iter().map(String::as_str))
        .collect();
    let rules: BTreeSet<&str> =
        description.destination_rules.iter().map(|rule| rule.place.resource.as_str()).collect();
    let pods: BTreeSet<String> = description.pods.iter().map(|pod| format!("Pod/{}", pod.name)).collect();
    let findings = lint(mesh)
        .into_iter()
        .filter(|finding| {
            let resource = finding.resource.as_str();
            own(finding)
                || rules.contains(resource)
                || pods.contains(resource)
                || (named.contains(resource) && (local(resource) || about(&finding.message)))
        })
        .collect();
    description.findings = findings;
    Ok(description)
}

/// Every name that a subject can be described by, in order.
#[must_use]
pub fn known(mesh: &Mesh, subject: Subject) -> Vec<String> {
    let mut names: Vec<String> = match subject {
        Subject::Workload => mesh
            .pods
            .iter()
            .filter(|pod| !pod.ended)
            .map(|pod| format!("{}/{}", pod.meta.namespace, pod.workload))
            .collect(),
        Subject::Service => mesh.hosts.iter().map(|host| Named::Host(host).shown()).collect(),
        Subject::Namespace => namespaces(mesh).into_iter().map(str::to_owned).collect(),
        Subject::Gateway => mesh.gateways.iter().map(|gateway| short(&gateway.meta)).collect(),
    };
    names.sort();
    names.dedup();
    names
}

pub(crate) fn unknown(mesh: &Mesh, subject: Subject, name: &str) -> Unclear {
    let all = known(mesh, subject);
    let near = spelling::near(all.iter().map(String::as_str), name);
    Unclear::Unknown { wanted: subject.name(), name: name.to_owned(), near }
}

fn empty(kind: Subject, name: String, declared: Option<Place>) -> Description {
    Description {
        kind,
        name,
        declared,
        mode: None,
        pods: Vec::new(),
        ports: Vec::new(),
        servers: Vec::new(),
        workloads: Vec::new(),
        services: Vec::new(),
        destination_rules: Vec::new(),
        resources: Vec::new(),
        findings: Vec::new(),
    }
}

fn workload(mesh: &Mesh, text: &str) -> Result<Description, Unclear> {
    let mut found: Vec<_> = names::find(mesh, text)
        .unwrap_or_default()
        .into_iter()
        .filter_map(|named| match named {
            Named::Workload { namespace, name, pods } => Some((format!("{namespace}/{name}"), pods)),
            Named::Pod(pod) => Some((short(&pod.meta), vec![pod])),
            Named::Address(_) | Named::Host(_) | Named::Entry(_) => None,
        })
        .collect();
    if found.len() > 1 {
        let candidates = found.into_iter().map(|(name, _)| name).collect();
        return Err(Unclear::Ambiguous { name: text.to_owned(), candidates });
    }
    let Some((name, pods)) = found.pop() else { return Err(unknown(mesh, Subject::Workload, text)) };
    let mut description = empty(Subject::Workload, name, None);
    description.pods = pods.iter().map(|pod| pod_state(pod)).collect();
    let mut hosts: Vec<&HostService> = Vec::new();
    let mut resources = BTreeSet::new();
    for pod in &pods {
        for host in mesh.hosts_of(pod) {
            if !hosts.iter().any(|known| std::ptr::eq(*known, host)) {
                hosts.push(host);
            }
        }
        policies(mesh, &pod.meta.namespace, &pod.meta.labels, &mut resources);
        if pod.proxy == PartyKind::Sidecar
            && let Some(sidecar) = sidecar_for(mesh, pod)
        {
            resources.insert(place(&sidecar.meta));
        }
        for port in ports_of(mesh, pod, &hosts) {
            let mut services = mesh.services_of(pod, port).into_iter().map(|(_, port)| port.number);
            add_port(mesh, &mut description.ports, pod, services.next(), port);
        }
    }
    description.ports.sort_by_key(|state| (state.port, state.service_port));
    description.services = hosts.iter().filter_map(|host| mesh.declaration(host)).map(Meta::id).collect();
    description.destination_rules = rules(mesh, &hosts);
    description.resources = resources.into_iter().collect();
    Ok(description)
}

fn service(mesh: &Mesh, text: &str) -> Result<Description, Unclear> {
    let mut hosts: Vec<&HostService> = names::find(mesh, text)
        .unwrap_or_default()
        .into_iter()
        .filter_map(|named| match named {
            Named::Host(host) => Some(host),
            Named::Address(_) | Named::Workload { .. } | Named::Pod(_) | Named::Entry(_) => None,
        })
        .collect();
    if hosts.len() > 1 {
        let candidates = hosts.into_iter().map(|host| Named::Host(host).clear()).collect();
        return Err(Unclear::Ambiguous { name: text.to_owned(), candidates });
    }
    let Some(host) = hosts.pop() else { return Err(unknown(mesh, Subject::Service, text)) };
    let mut description =
        empty(Subject::Service, Named::Host(host).shown(), mesh.declaration(host).map(place));
    let mut resources = BTreeSet::new();
    for endpoint in &host.endpoints {
        let Some(pod) = mesh.pod_of(endpoint) else {
            description.pods.push(PodState {
                name: endpoint.ip.to_string(),
                address: Some(endpoint.ip),
                proxy: PartyKind::Declared,
                service_account: None,
            });
            continue;
        };
        description.pods.push(pod_state(pod));
        policies(mesh, &pod.meta.namespace, &pod.meta.labels, &mut resources);
    }
    for port in host.ports.iter().filter(|port| port.protocol != Protocol::Udp) {
        for endpoint in &host.endpoints {
            if let (Some(pod), Some(wire)) = (mesh.pod_of(endpoint), endpoint.ports.get(&port.number)) {
                add_port(mesh, &mut description.ports, pod, Some(port.number), *wire);
            }
        }
        if !description.ports.iter().any(|state| state.service_port == Some(port.number)) {
            let from = "default".to_owned();
            description.ports.push(PortState {
                service_port: Some(port.number),
                port: port.target,
                protocol: Some(port.protocol.name().to_owned()),
                mode: Mode { mode: None, from, file: None, line: None },
                accepts: inbound::ALL.to_vec(),
                pods: 0,
                because: Vec::new(),
            });
        }
    }
    description.destination_rules = rules(mesh, &[host]);
    description.resources = resources.into_iter().collect();
    Ok(description)
}

fn namespace(mesh: &Mesh, name: &str) -> Result<Description, Unclear> {
    if !namespaces(mesh).contains(name) {
        return Err(unknown(mesh, Subject::Namespace, name));
    }
    let declared = mesh.namespaces.get(name).map(|(meta, _)| place(meta));
    let mut description = empty(Subject::Namespace, name.to_owned(), declared);
    let mut trace = Trace::default();
    let decided = peer_authentication::at_namespace(mesh, name, &mut trace);
    description.mode =
        Some(mode(&Decided { value: Some(decided.value), from: decided.from }, &trace.into_citations()));
    let mut workloads: BTreeMap<&str, Vec<&Pod>> = BTreeMap::new();
    for pod in mesh.pods.iter().filter(|pod| !pod.ended && &*pod.meta.namespace == name) {
        workloads.entry(&pod.workload).or_default().push(pod);
    }
    for (workload, pods) in workloads {
        let Some(first) = pods.first() else { continue };
        let proxies: BTreeSet<PartyKind> = pods.iter().map(|pod| pod.proxy).collect();
        let enforced = matches!(first.proxy, PartyKind::Sidecar | PartyKind::Ambient);
        // Port 0 is nobody's: no port's own mode applies.
        let mode = inbound::mode_of(mesh, first, 0, &mut Trace::unheard());
        description.workloads.push(WorkloadState {
            name: format!("{name}/{workload}"),
            pods: pods.len(),
            proxies: proxies.into_iter().collect(),
            mode: enforced.then_some(mode.value),
            from: if enforced { mode.from } else { "default".to_owned() },
        });
    }
    let own = |meta: &Meta| &*meta.namespace == name;
    description.services =
        mesh.services.iter().filter(|service| own(&service.meta)).map(|service| service.meta.id()).collect();
    let mut resources: BTreeSet<Place> = BTreeSet::new();
    let root = peer_authentication::for_namespace(mesh, &mesh.config.root_namespace);
    resources.extend(root.map(|policy| place(&policy.meta)));
    let metas = mesh
        .peer_authentications
        .iter()
        .map(|policy| &policy.meta)
        .chain(mesh.destination_rules.iter().map(|rule| &rule.meta))
        .chain(mesh.sidecars.iter().map(|sidecar| &sidecar.meta))
        .chain(mesh.gateways.iter().map(|gateway| &gateway.meta))
        .chain(mesh.service_entries.iter().map(|entry| &entry.meta));
    resources.extend(metas.filter(|meta| own(meta)).map(place));
    description.resources = resources.into_iter().collect();
    Ok(description)
}

fn one_gateway(mesh: &Mesh, text: &str) -> Result<Description, Unclear> {
    let found: Vec<&Gateway> = mesh
        .gateways
        .iter()
        .filter(|gateway| short(&gateway.meta) == text || &*gateway.meta.name == text)
        .collect();
    let gateway = match found.as_slice() {
        [only] => *only,
        [] => return Err(unknown(mesh, Subject::Gateway, text)),
        several => {
            let candidates = several.iter().map(|gateway| short(&gateway.meta)).collect();
            return Err(Unclear::Ambiguous { name: text.to_owned(), candidates });
        }
    };
    let mut description = empty(Subject::Gateway, short(&gateway.meta), Some(place(&gateway.meta)));
    let pods: Vec<&Pod> =
        mesh.pods.iter().filter(|pod| !pod.ended && gateway::configures(mesh, gateway, pod)).collect();
    for server in &gateway.servers {
        let (accepts, client_cert, _) = gateway::accepts(server);
        let listens: BTreeSet<u16> =
            pods.iter().flat_map(|pod| gateway::listens_on(mesh, gateway, pod, server.port)).collect();
        description.servers.push(ServerState {
            port: server.port,
            listens_on: listens.into_iter().collect(),
            protocol: server.protocol_text.clone(),
            tls_mode: server.tls_in_force().map(|mode| mode.to_string()),
            client_cert: client_cert.to_owned(),
            accepts,
            hosts: server.hosts.clone(),
            rejected: gateway::rejected(server).map(str::to_owned),
            line: server.line,
        });
    }
    description.pods = pods.iter().map(|pod| pod_state(pod)).collect();
    let bound = mesh
        .virtual_services
        .iter()
        .filter(|service| service.binds(&gateway.meta.namespace, &gateway.meta.name))
        .map(|service| place(&service.meta));
    description.resources = bound.collect();
    description.resources.sort();
    Ok(description)
}

fn namespaces(mesh: &Mesh) -> BTreeSet<&str> {
    mesh.namespaces
        .keys()
        .map(|name| &**name)
        .chain(mesh.pods.iter().map(|pod| &*pod.meta.namespace))
        .chain(mesh.services.iter().map(|service| &*service.meta.namespace))
        .chain(mesh.peer_authentications.iter().map(|policy| &*policy.meta.namespace))
        .chain(mesh.destination_rules.iter().map(|rule| &*rule.meta.namespace))
        .chain(mesh.machines().map(|machine| &*machine.meta.namespace))
        .collect()
}

fn short(meta: &Meta) -> String {
    format!("{}/{}", meta.namespace, meta.name)
}

fn place(meta: &Meta) -> Place {
    Place { resource: meta.id(), file: meta.file.to_string(), line: meta.line }
}

fn pod_state(pod: &Pod) -> PodState {
    PodState {
        name: short(&pod.meta),
        address: pod.ips.first().copied(),
        proxy: pod.proxy,
        service_account: Some(pod.service_account.clone()),
    }
}

/// The PeerAuthentications that have a say at a workload: the mesh's, its namespace's, its own.
fn policies(mesh: &Mesh, namespace: &str, labels: &Labels, into: &mut BTreeSet<Place>) {
    let root = peer_authentication::for_namespace(mesh, &mesh.config.root_namespace);
    let own = peer_authentication::for_namespace(mesh, namespace);
    let chosen = peer_authentication::chosen_for_workload(mesh, namespace, labels);
    into.extend([root, own, chosen].into_iter().flatten().map(|policy| place(&policy.meta)));
}

/// The ports that a pod may take traffic on: its containers', its Services', and those that a policy names.
fn ports_of(mesh: &Mesh, pod: &Pod, hosts: &[&HostService]) -> BTreeSet<u16> {
    let declared = pod.ports.iter().map(|(_, number)| *number);
    let served = hosts
        .iter()
        .flat_map(|host| &host.endpoints)
        .filter(|endpoint| pod.ips.contains(&endpoint.ip))
        .flat_map(|endpoint| endpoint.ports.values().copied());
    let named = peer_authentication::chosen_for_workload(mesh, &pod.meta.namespace, &pod.meta.labels)
        .into_iter()
        .flat_map(|policy| policy.ports.keys().copied());
    declared.chain(served).chain(named).filter(|port| !NEVER_INTERCEPTED.contains(port)).collect()
}

fn add_port(mesh: &Mesh, states: &mut Vec<PortState>, pod: &Pod, service_port: Option<u16>, port: u16) {
    let mut trace = Trace::default();
    let inbound = inbound::at_pod(mesh, pod, port, None, &mut trace);
    let because = trace.into_citations();
    let mode = mode(&inbound.mode, &because);
    let protocol = inbound.protocol.map(|protocol| protocol.name().to_owned());
    let same = |state: &&mut PortState| {
        (state.service_port, state.port, &state.mode, &state.accepts, &state.protocol)
            == (service_port, port, &mode, &inbound.allowed, &protocol)
    };
    match states.iter_mut().find(same) {
        Some(state) => state.pods = state.pods.saturating_add(1),
        None => states.push(PortState {
            service_port,
            port,
            protocol,
            mode,
            accepts: inbound.allowed,
            pods: 1,
            because,
        }),
    }
}

/// Finds where the deciding field stands: the last step of the resource that decided.
fn mode(decided: &Decided<Option<ServerMode>>, because: &[Citation]) -> Mode {
    let step = because.iter().rev().find(|step| step.resource == decided.from);
    Mode {
        mode: decided.value,
        from: decided.from.clone(),
        file: step.and_then(|step| step.file.as_deref().map(str::to_owned)),
        line: step.and_then(|step| step.line),
    }
}

/// Asks for the clients of every namespace which rule acts for each host's ports.
fn rules(mesh: &Mesh, hosts: &[&HostService]) -> Vec<RuleState> {
    let mut states: BTreeMap<(Place, String), RuleState> = BTreeMap::new();
    for host in hosts {
        for namespace in namespaces(mesh) {
            let Some(acting) = destination_rule::acting(mesh, None, namespace, host, &mut Trace::unheard())
            else {
                continue;
            };
            for port in host.ports.iter().filter(|port| port.protocol != Protocol::Udp) {
                let block = destination_rule::tls_block(&acting, port.number, None, &mut Trace::unheard());
                let place = match &block {
                    Some(block) => Place { line: block.tls.line, ..place(&block.rule.meta) },
                    None => place(&acting.rule.meta),
                };
                let state = states.entry((place.clone(), host.host.clone())).or_insert_with(|| RuleState {
                    place,
                    host: host.host.clone(),
                    ports: Vec::new(),
                    tls: block.as_ref().map(|block| block.tls.mode),
                    acts_for: Vec::new(),
                });
                if !state.ports.contains(&port.number) {
                    state.ports.push(port.number);
                }
                if !state.acts_for.iter().any(|known| known == namespace) {
                    state.acts_for.push(namespace.to_owned());
                }
            }
        }
    }
    states.into_values().collect()
}
