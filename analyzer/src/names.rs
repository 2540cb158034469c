//! Names that people use for the ends of a connection, and what they stand for in a [`Mesh`].
//!
//! A name is an address, `namespace/name` of a workload, Service, pod or WorkloadEntry, a bare name where only one
//! namespace has it, or a host: `name.namespace`, the full name of a Service, the host of a ServiceEntry. A kind in front
//! (`service/namespace/name`) settles what a bare pair leaves open.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use flow::Endpoint;

use crate::mesh::pod::Pod;
use crate::mesh::service::Protocol;
use crate::mesh::service_entry::WorkloadEntry;
use crate::mesh::{HostPort, HostService, Mesh, Owner, spelling};
use crate::policy::visibility::covers;

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named<'a> {
    /// An address.
    Address(IpAddr),
    /// A workload: every pod of a namespace with this workload name.
    Workload {
        /// Namespace.
        namespace: &'a str,
        /// Name.
        name: &'a str,
        /// Its pods that have not ended.
        pods: Vec<&'a Pod>,
    },
    /// A Service, or a host of a ServiceEntry.
    Host(&'a HostService),
    /// One pod.
    Pod(&'a Pod),
    /// A workload outside Kubernetes.
    Entry(&'a WorkloadEntry),
}

/// Why a name does not tell what is meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unclear {
    /// Nothing has this name.
    #[error("'{name}' is no {wanted} of the declarations{}", did_you_mean(near))]
    Unknown {
        /// What it could have been.
        wanted: &'static str,
        /// What was written.
        name: String,
        /// Names that are written alike.
        near: Vec<String>,
    },
    /// Several things have it.
    #[error("'{name}' may be {}; say which", candidates.join(" or "))]
    Ambiguous {
        /// What was written.
        name: String,
        /// What it may mean, as it can be written to be clear.
        candidates: Vec<String>,
    },
    /// The destination has several ports, or not this one.
    #[error("{problem}; {name} has {}", ports(known))]
    Port {
        /// The destination.
        name: String,
        /// What is wrong.
        problem: String,
        /// Its ports, each with its name.
        known: Vec<String>,
    },
    /// It is known, yet no address of it is.
    #[error(
        "{0} has no pod with an address in the declarations; export the pods (kubectl get pods -A -o yaml)"
    )]
    NoAddress(String),
    /// What was written has no form that is read.
    #[error(
        "'{0}' cannot be read; expected an address, namespace/name, a pod or a host, each with :PORT for a destination"
    )]
    Malformed(String),
}

/// What a name can stand for.
const ANY: &str = "workload, Service, pod, host or address";

fn did_you_mean(near: &[String]) -> String {
    match near {
        [] => String::new(),
        near => format!("; did you mean {}?", near.join(", ")),
    }
}

fn ports(known: &[String]) -> String {
    match known {
        [] => "no TCP port".to_owned(),
        [only] => format!("port {only}"),
        known => format!("ports {}", known.join(", ")),
    }
}

impl Named<'_> {
    /// Returns the name that means this and nothing else.
    #[must_use]
    pub fn clear(&self) -> String {
        match self {
            Self::Address(ip) => ip.to_string(),
            Self::Workload { namespace, name, .. } => format!("workload/{namespace}/{name}"),
            Self::Pod(pod) => format!("pod/{}/{}", pod.meta.namespace, pod.meta.name),
            Self::Entry(entry) => format!("workloadentry/{}/{}", entry.meta.namespace, entry.meta.name),
            Self::Host(host) => match service_name(host) {
                Some(name) => format!("service/{}/{name}", host.namespace),
                None => host.host.clone(),
            },
        }
    }

    /// Returns the name as people know it: `namespace/name`, or the host.
    #[must_use]
    pub fn shown(&self) -> String {
        let clear = self.clear();
        match clear.split_once('/') {
            Some((_, rest)) if rest.contains('/') => rest.to_owned(),
            _ => clear,
        }
    }

    /// The pods behind it.
    fn pods<'a>(&self, mesh: &'a Mesh) -> Vec<&'a Pod>
    where
        Self: 'a,
    {
        let places = |wanted: &Pod| mesh.pods.iter().find(|pod| pod.meta == wanted.meta);
        match self {
            Self::Address(_) | Self::Entry(_) => Vec::new(),
            Self::Workload { pods, .. } => pods.iter().filter_map(|pod| places(pod)).collect(),
            Self::Pod(pod) => places(pod).into_iter().collect(),
            Self::Host(host) => host.endpoints.iter().filter_map(|endpoint| mesh.pod_of(endpoint)).collect(),
        }
    }
}

/// One end of a connection: an address, and who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// The pod's name (`namespace/name`), else the address.
    pub name: String,
    /// The address.
    pub ip: IpAddr,
    /// The port on the wire; 0 for clients.
    pub port: u16,
    /// The SNI that Istio's clients send to mean this very host, where several share the endpoint.
    pub sni: Option<String>,
}

impl End {
    /// Returns it as a destination.
    #[must_use]
    pub const fn endpoint(&self) -> Endpoint {
        Endpoint { ip: self.ip, port: self.port }
    }
}

/// Finds the clients that a name stands for: a workload before a pod, before what is behind a Service.
///
/// # Errors
///
/// Returns why it is not clear who is meant.
pub fn clients(mesh: &Mesh, text: &str) -> Result<(String, Vec<End>), Unclear> {
    let rank = |named: &Named<'_>| match named {
        Named::Address(_) | Named::Workload { .. } => 0,
        Named::Pod(_) => 1,
        Named::Entry(_) => 2,
        Named::Host(_) => 3,
    };
    let named = only(text, best(find(mesh, text)?, rank))?;
    let end = |ip, name| End { name, ip, port: 0, sni: None };
    let ends: Vec<End> = match &named {
        Named::Address(ip) => vec![end(*ip, ip.to_string())],
        Named::Entry(entry) => entry.endpoint.ip.into_iter().map(|ip| end(ip, named.shown())).collect(),
        Named::Host(host) if named.pods(mesh).is_empty() => {
            host.endpoints.iter().map(|endpoint| end(endpoint.ip, endpoint.ip.to_string())).collect()
        }
        Named::Host(_) | Named::Workload { .. } | Named::Pod(_) => named
            .pods(mesh)
            .into_iter()
            .filter_map(|pod| pod.ips.first().map(|ip| end(*ip, pod_name(pod))))
            .collect(),
    };
    if ends.is_empty() { Err(Unclear::NoAddress(named.shown())) } else { Ok((named.shown(), ends)) }
}

/// A destination by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// Its name as people know it.
    pub name: String,
    /// The port that was asked for: a Service's, else a container's.
    pub port: u16,
    /// Every address that the connection may end at.
    pub ends: Vec<End>,
    /// What a reader should know about how the name was taken.
    pub notes: Vec<String>,
}

/// Finds the destinations that a name and port stand for: a Service or host that has the port before a workload that
/// declares it, before a pod. The port may be part of the text, and may be left out where the destination has only one.
///
/// # Errors
///
/// Returns why it is not clear what is meant.
pub fn destinations(mesh: &Mesh, text: &str, port: Option<u16>) -> Result<Destination, Unclear> {
    let (name, port) = match (split_port(text)?, port) {
        ((name, Some(own)), Some(other)) if own != other => {
            return Err(Unclear::Port {
                name: name.to_owned(),
                problem: format!("two ports are asked for: {own} and {other}"),
                known: vec![own.to_string(), other.to_string()],
            });
        }
        ((name, own), other) => (name, own.or(other)),
    };
    let found = find(mesh, name)?;
    let has_port =
        |host: &HostService| port.is_none_or(|port| tcp_ports(host).any(|known| known.number == port));
    let declared = |pods: &[&Pod]| {
        let mut all = pods.iter().flat_map(|pod| &pod.ports);
        port.is_none_or(|port| all.any(|(_, number)| *number == port))
    };
    let rank = |named: &Named<'_>| match named {
        Named::Address(_) => 0,
        Named::Host(host) if has_port(host) => 0,
        Named::Workload { pods, .. } if declared(pods) => 1,
        Named::Host(_) => 2,
        Named::Workload { .. } => 3,
        Named::Pod(_) => 4,
        Named::Entry(_) => 5,
    };
    // Where a container listens on the very number too, the reader has to know which of the two is meant.
    let container_ports: Vec<u16> = found
        .iter()
        .filter_map(|named| match named {
            Named::Workload { pods, .. } => Some(pods),
            Named::Address(_) | Named::Host(_) | Named::Pod(_) | Named::Entry(_) => None,
        })
        .flatten()
        .flat_map(|pod| &pod.ports)
        .map(|(_, number)| *number)
        .collect();
    let named = only(name, best(found, rank))?;
    let mut destination = Destination { name: named.shown(), port: 0, ends: Vec::new(), notes: Vec::new() };
    match &named {
        Named::Address(ip) => {
            destination.port = port.ok_or_else(|| no_port(&named, Vec::new()))?;
            destination.ends.push(End { name: ip.to_string(), ip: *ip, port: destination.port, sni: None });
        }
        Named::Host(host) => {
            let known = || tcp_ports(host).map(port_name).collect();
            let chosen = match port {
                Some(number) => {
                    tcp_ports(host).find(|port| port.number == number).ok_or_else(|| Unclear::Port {
                        name: named.shown(),
                        problem: format!("there is no port {number}"),
                        known: known(),
                    })?
                }
                None => match tcp_ports(host).collect::<Vec<_>>().as_slice() {
                    [only] => *only,
                    _ => return Err(no_port(&named, known())),
                },
            };
            destination.port = chosen.number;
            destination.ends = behind(mesh, host, chosen, name);
            if destination.ends.is_empty() {
                return Err(Unclear::NoAddress(named.shown()));
            }
            if container_ports.contains(&chosen.number)
                && destination.ends.iter().any(|end| end.port != chosen.number)
            {
                destination.notes.push(format!(
                    "port {} is taken as the Service's; for the container's say workload/{}",
                    chosen.number,
                    named.shown()
                ));
            }
        }
        Named::Entry(entry) => {
            let (ip, number) = entry.endpoint.ip.zip(port).ok_or_else(|| no_port(&named, Vec::new()))?;
            destination.port = number;
            destination.ends.push(End { name: named.shown(), ip, port: number, sni: None });
        }
        Named::Workload { .. } | Named::Pod(_) => {
            let pods = named.pods(mesh);
            let known = || {
                let all: BTreeMap<u16, Option<&String>> = pods
                    .iter()
                    .flat_map(|pod| &pod.ports)
                    .map(|(name, number)| (*number, name.as_ref()))
                    .collect();
                all.into_iter()
                    .map(|(number, name)| match name {
                        Some(name) => format!("{number} ({name})"),
                        None => number.to_string(),
                    })
                    .collect::<Vec<_>>()
            };
            let numbers: Vec<u16> =
                pods.iter().flat_map(|pod| &pod.ports).map(|(_, number)| *number).collect();
            destination.port = match (port, numbers.as_slice()) {
                (Some(port), _) => port,
                (None, [first, rest @ ..]) if rest.iter().all(|number| number == first) => *first,
                (None, _) => return Err(no_port(&named, known())),
            };
            if !numbers.is_empty() && !numbers.contains(&destination.port) {
                destination.notes.push(format!(
                    "no container of {} declares port {}; the answer is what would hold there",
                    named.shown(),
                    destination.port
                ));
            }
            destination.ends = pods
                .iter()
                .filter_map(|pod| {
                    let ip = *pod.ips.first()?;
                    Some(End { name: pod_name(pod), ip, port: destination.port, sni: None })
                })
                .collect();
            if destination.ends.is_empty() {
                return Err(Unclear::NoAddress(named.shown()));
            }
        }
    }
    Ok(destination)
}

/// Every name that can be asked for, in order: workloads and Services as `namespace/name`, hosts of ServiceEntries.
#[must_use]
pub fn known(mesh: &Mesh) -> Vec<String> {
    let mut names: Vec<String> = mesh
        .pods
        .iter()
        .filter(|pod| !pod.ended)
        .map(|pod| format!("{}/{}", pod.meta.namespace, pod.workload))
        .chain(
            mesh.workload_entries.iter().map(|entry| format!("{}/{}", entry.meta.namespace, entry.meta.name)),
        )
        .chain(mesh.hosts.iter().map(|host| match service_name(host) {
            Some(name) => format!("{}/{name}", host.namespace),
            None => host.host.clone(),
        }))
        .collect();
    names.sort();
    names.dedup();
    names
}

/// Finds everything that a name may stand for.
///
/// # Errors
///
/// Returns [`Unclear::Unknown`] with the names written alike, or [`Unclear::Malformed`].
pub fn find<'a>(mesh: &'a Mesh, text: &str) -> Result<Vec<Named<'a>>, Unclear> {
    if let Ok(ip) = text.trim_matches(['[', ']']).parse() {
        return Ok(vec![Named::Address(ip)]);
    }
    let (kind, namespace, name) = match text.split('/').collect::<Vec<_>>().as_slice() {
        _ if text.is_empty() || text.contains(char::is_whitespace) => {
            return Err(Unclear::Malformed(text.to_owned()));
        }
        // A host may be written with the dot of the root, as resolvers take it.
        [name] => (None, None, name.strip_suffix('.').unwrap_or(name)),
        [namespace, name] => (None, Some(*namespace), *name),
        [kind, namespace, name] => (Some(kind.to_ascii_lowercase()), Some(*namespace), *name),
        _ => return Err(Unclear::Malformed(text.to_owned())),
    };
    let wanted = |names: &[&str]| kind.as_deref().is_none_or(|kind| names.contains(&kind));
    let here = |own: &str| namespace.is_none_or(|namespace| namespace == own);
    let mut found = Vec::new();
    if wanted(&["workload", "wl", "deployment", "deploy", "statefulset", "sts", "daemonset", "ds"]) {
        let mut workloads: BTreeMap<&str, Vec<&Pod>> = BTreeMap::new();
        for pod in
            mesh.pods.iter().filter(|pod| !pod.ended && here(&pod.meta.namespace) && pod.workload == name)
        {
            workloads.entry(&pod.meta.namespace).or_default().push(pod);
        }
        for (namespace, pods) in workloads {
            let name = pods.first().map_or("", |pod| pod.workload.as_str());
            found.push(Named::Workload { namespace, name, pods });
        }
    }
    if wanted(&["service", "svc", "serviceentry", "se", "host"]) {
        let hosts = mesh.hosts.iter().filter(|host| named_host(host, namespace, name, &mesh.config.domain));
        found.extend(hosts.map(Named::Host));
        if found.is_empty() && namespace.is_none() {
            // A host under a pattern of a ServiceEntry: the most specific pattern is meant.
            let patterns =
                mesh.hosts.iter().filter(|host| host.host.starts_with('*') && covers(&host.host, name));
            found.extend(patterns.max_by_key(|host| host.host.len()).map(Named::Host));
        }
    }
    if wanted(&["pod", "po"]) {
        let pods =
            mesh.pods.iter().filter(|pod| !pod.ended && here(&pod.meta.namespace) && &*pod.meta.name == name);
        // A pod on its own is a workload of the same name.
        found.extend(pods.filter(|pod| pod.workload != name || kind.is_some()).map(Named::Pod));
    }
    if wanted(&["workloadentry", "we"]) {
        let entries = mesh.workload_entries.iter();
        found.extend(
            entries
                .filter(|entry| here(&entry.meta.namespace) && &*entry.meta.name == name)
                .map(Named::Entry),
        );
    }
    if found.is_empty() {
        let mut names = known(mesh);
        if namespace.is_none() {
            names.extend(mesh.pods.iter().filter(|pod| !pod.ended).map(|pod| pod.meta.name.to_string()));
        }
        let near = spelling::near(names.iter().map(String::as_str), text);
        return Err(Unclear::Unknown { wanted: ANY, name: text.to_owned(), near });
    }
    Ok(found)
}

fn named_host(host: &HostService, namespace: Option<&str>, name: &str, domain: &str) -> bool {
    match (host.owner, namespace) {
        (Owner::Service(_), Some(namespace)) => {
            &*host.namespace == namespace && service_name(host) == Some(name)
        }
        (Owner::Service(_), None) => {
            let short = host.host.strip_suffix(domain).and_then(|rest| rest.strip_suffix('.'));
            let shortest = short.and_then(|rest| rest.strip_suffix(".svc"));
            host.host == name
                || short == Some(name)
                || shortest == Some(name)
                || service_name(host) == Some(name)
        }
        (Owner::Entry(_), namespace) => {
            host.host == name && namespace.is_none_or(|namespace| &*host.namespace == namespace)
        }
    }
}

/// The Service's own name; absent for the host of a ServiceEntry.
fn service_name(host: &HostService) -> Option<&str> {
    match host.owner {
        Owner::Service(_) => host.host.split('.').next(),
        Owner::Entry(_) => None,
    }
}

fn tcp_ports(host: &HostService) -> impl Iterator<Item = &HostPort> {
    host.ports.iter().filter(|port| port.protocol != Protocol::Udp)
}

fn port_name(port: &HostPort) -> String {
    match &port.name {
        Some(name) => format!("{} ({name})", port.number),
        None => port.number.to_string(),
    }
}

fn no_port(named: &Named<'_>, known: Vec<String>) -> Unclear {
    Unclear::Port { name: named.shown(), problem: "a port is needed".to_owned(), known }
}

fn pod_name(pod: &Pod) -> String {
    format!("{}/{}", pod.meta.namespace, pod.meta.name)
}

/// The addresses that a connection to a host's port may end at: its endpoints, else its virtual address, else, for a
/// name that only DNS knows, the name alone.
fn behind(mesh: &Mesh, host: &HostService, port: &HostPort, asked: &str) -> Vec<End> {
    let istio = format!("outbound_.{}_._.{}", port.number, host.host);
    let ends: Vec<End> = host
        .endpoints
        .iter()
        .filter_map(|endpoint| {
            let wire = *endpoint.ports.get(&port.number)?;
            Some(End {
                name: mesh.pod_of(endpoint).map_or_else(|| endpoint.ip.to_string(), pod_name),
                ip: endpoint.ip,
                port: wire,
                sni: (mesh.behind(endpoint.ip, wire).len() > 1).then(|| istio.clone()),
            })
        })
        .collect();
    if !ends.is_empty() {
        return ends;
    }
    let virtual_address = host.addresses.first().map(|range| (range.addr(), port.number, None));
    // A host without any address is told by its name in the ClientHello alone; no party has the unspecified address.
    let by_name = matches!(host.owner, Owner::Entry(_)).then(|| {
        // Under a pattern the name that was asked for counts; of the pattern itself any name does.
        let name = asked.replacen('*', "any", 1);
        (IpAddr::V4(Ipv4Addr::UNSPECIFIED), port.number, Some(name))
    });
    virtual_address
        .or(by_name)
        .map(|(ip, port, sni)| End { name: host.host.clone(), ip, port, sni })
        .into_iter()
        .collect()
}

fn best<'a>(found: Vec<Named<'a>>, rank: impl Fn(&Named<'_>) -> u8) -> Vec<Named<'a>> {
    let lowest = found.iter().map(&rank).min();
    found.into_iter().filter(|named| Some(rank(named)) == lowest).collect()
}

fn only<'a>(text: &str, mut found: Vec<Named<'a>>) -> Result<Named<'a>, Unclear> {
    match (found.pop(), found.is_empty()) {
        (Some(named), true) => Ok(named),
        (Some(last), false) => {
            found.push(last);
            let mut candidates: Vec<String> = found.iter().map(Named::clear).collect();
            candidates.sort();
            Err(Unclear::Ambiguous { name: text.to_owned(), candidates })
        }
        (None, _) => Err(Unclear::Unknown { wanted: ANY, name: text.to_owned(), near: Vec::new() }),
    }
}

/// Takes the port off a destination: `10.1.2.3:80`, `[fd00::1]:80`, `web/frontend:80`, `api.example.com:443`.
fn split_port(text: &str) -> Result<(&str, Option<u16>), Unclear> {
    if text.parse::<SocketAddr>().is_err() && text.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
        return Ok((text, None));
    }
    match text.rsplit_once(':') {
        None => Ok((text, None)),
        Some((name, port)) => match port.parse::<u16>() {
            Ok(port) if port > 0 => Ok((name, Some(port))),
            Ok(_) | Err(_) => Err(Unclear::Malformed(text.to_owned())),
        },
    }
}
