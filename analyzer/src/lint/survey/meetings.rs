//! What clients are declared to send against what servers accept: every kind of client meets every kind of endpoint.
//!
//! Both sides come from [`expect`], the very function behind `explain`.

use crate::expectation::{Expectation, expect};
use crate::lint::survey::Survey;
use crate::lint::survey::assumed::ANY;
use crate::lint::survey::destination_rules::{Block, block_at};
use crate::lint::survey::hosts::Hosts;
use crate::lint::{Problem, names};
use crate::mesh::meta::Meta;
use crate::mesh::pod::Pod;
use crate::mesh::virtual_service::{Match, VirtualService};
use crate::mesh::{HostPort, HostService, Mesh};
use crate::policy::destination_rule::full_host;
use crate::policy::inbound::InboundKind;
use crate::policy::interception::{self, NEVER_INTERCEPTED};
use crate::policy::outbound::OutboundKind;
use crate::policy::visibility::{full_name, sidecar_for, visible};
use crate::report::{ClientTls, IstioMtls, PartyKind, ServerMode};
use flow::{Class, Endpoint};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;

/// Clients that behave alike and one endpoint port, with the contradictions between them.
pub(crate) struct Meeting<'a> {
    /// One of each kind of client that meets the server so.
    pub(crate) clients: Vec<&'a Pod>,
    pub(crate) host: &'a HostService,
    pub(crate) port: &'a HostPort,
    pub(crate) server: Option<&'a Pod>,
    pub(crate) wire: u16,
    pub(crate) expectation: Expectation,
    pub(crate) ids: Vec<&'static str>,
}

/// Names the contradictions that touch one connection.
#[must_use]
pub fn touching(expectation: &Expectation) -> Vec<&'static str> {
    let expected = &expectation.expected;
    let by_rule = expectation.client == OutboundKind::Rule;
    // A rule without a mode of its own is one whose subsets differ.
    let no_tls = match expected.client_tls {
        None => !by_rule || expected.client_wire.contains(&Class::Plaintext),
        other => other == Some(ClientTls::Disable),
    };
    // What the port is declared as to clients may be another thing than what its proxy takes it for.
    let refuses_tls = !expected.allowed.contains(&Class::Tls);
    let strict = expected.server_mode == Some(ServerMode::Strict);
    let enforced = matches!(expected.server_mode, Some(ServerMode::Strict | ServerMode::Permissive));
    let mut ids = Vec::new();
    if no_tls && strict {
        match &expectation.client {
            OutboundKind::NotIntercepted(_) => ids.push("XC08"),
            OutboundKind::Rule | OutboundKind::Passthrough { .. } => ids.push("XC01"),
            OutboundKind::Auto => {
                ids.push("XC01");
                // With auto mTLS on, a host that is declared outside the mesh may still stand in it: SE06.
                if expected.client_tls.is_none() && expectation.auto_mtls_off && !expectation.external {
                    ids.push("AM01");
                }
            }
            OutboundKind::AmbientPlain => ids.push("AB04"),
            OutboundKind::NoProxy | OutboundKind::Blocked { .. } | OutboundKind::Hbone => {}
        }
    }
    // The connection itself shows that the client calls what is hidden from it.
    if let OutboundKind::Passthrough { hidden: true, .. } | OutboundKind::Blocked { hidden: true } =
        expectation.client
    {
        ids.push("SC01");
    }
    let istio = expected.client_tls == Some(ClientTls::IstioMutual);
    if istio && by_rule && expected.istio_mtls == IstioMtls::Unterminated {
        ids.push("XC02");
    }
    if istio && matches!(expectation.server, InboundKind::NotIntercepted(_)) {
        ids.push("XC07");
    }
    match expected.client_tls {
        Some(ClientTls::Simple) if expected.server_mode.is_some() && refuses_tls => ids.push("XC03"),
        Some(ClientTls::Mutual) if expected.server_mode.is_some() && refuses_tls && !strict => {
            ids.push("XC03");
        }
        Some(ClientTls::Disable) if by_rule && enforced => ids.push("DR12"),
        Some(ClientTls::Simple | ClientTls::Mutual | ClientTls::Disable | ClientTls::IstioMutual) | None => {}
    }
    ids
}

/// Lets every kind of client meet every kind of endpoint of every host that it knows.
///
/// Clients of two namespaces differ for a host only where something names their namespace: see [`apart`]. The others
/// stand behind one of them, so that the number of meetings grows with the hosts and not with hosts times namespaces.
pub(crate) fn meetings<'a>(mesh: &'a Mesh, apart: &[BTreeSet<&'a str>]) -> Vec<Meeting<'a>> {
    let kinds = kinds(mesh);
    let told = told_apart(mesh);
    let known: Vec<Option<HashSet<usize>>> = kinds.iter().map(|kind| known(mesh, kind)).collect();
    let mut found = Vec::new();
    for (place, host) in mesh.hosts.iter().enumerate() {
        let own = apart.get(place);
        let is_apart = |client: &Client<'_>| own.is_some_and(|own| own.contains(&*client.pod.meta.namespace));
        let classes: Vec<(&Kind<'_>, usize, bool)> = kinds
            .iter()
            .zip(&known)
            .filter(|(_, known)| known.as_ref().is_none_or(|known| known.contains(&place)))
            .flat_map(|(kind, _)| {
                let special = kind.iter().enumerate().filter(|(_, client)| is_apart(client));
                let rest = kind.iter().position(|client| !is_apart(client));
                special
                    .map(move |(index, _)| (kind, index, false))
                    .chain(rest.map(|index| (kind, index, true)))
                    .collect::<Vec<_>>()
            })
            .collect();
        let mut seen = BTreeSet::new();
        for port in &host.ports {
            for endpoint in &host.endpoints {
                let Some(&wire) = endpoint.ports.get(&port.number) else { continue };
                let server = mesh.pod_of(endpoint);
                let is_gateway =
                    server.is_some_and(|pod| matches!(pod.proxy, PartyKind::Gateway | PartyKind::Waypoint));
                let kind = server
                    .map(|pod| (&pod.workload, pod.proxy.name(), interception::inbound(pod, wire).is_ok()));
                let labels: Vec<_> =
                    endpoint.labels.iter().filter(|(key, _)| told.contains(key.as_str())).collect();
                let kind = (kind, labels, endpoint.tls_mode_istio);
                if is_gateway || NEVER_INTERCEPTED.contains(&wire) || !seen.insert((port.number, wire, kind))
                {
                    continue;
                }
                let named = mesh.behind(endpoint.ip, wire).len() > 1;
                let sni = named.then(|| format!("outbound_.{}_._.{}", port.number, host.host));
                let to = Endpoint { ip: endpoint.ip, port: wire };
                for &(kind, index, rest) in &classes {
                    let Some(&Client { pod: client, ip }) = kind.get(index) else { continue };
                    if visible(mesh, Some(client), &client.meta.namespace, host, port.number).is_err() {
                        continue;
                    }
                    let expectation = expect(mesh, ip, to, sni.as_deref());
                    let mut ids = touching(&expectation);
                    if ids.contains(&"DR12") && !is_written(mesh, &expectation) {
                        ids.retain(|id| *id != "DR12");
                    }
                    if !ids.is_empty() {
                        let alike = kind.iter().filter(|other| rest && !is_apart(other));
                        let clients =
                            if rest { alike.map(|other| other.pod).collect() } else { vec![client] };
                        found.push(Meeting { clients, host, port, server, wire, expectation, ids });
                    }
                }
            }
        }
    }
    found
}

/// Lets the pods meet that the declarations of a mesh without any speak of. What sidecars intercept, and which of them a host is
/// hidden from, is for pods that are declared.
pub(crate) fn assumed(mesh: &Mesh) -> Vec<Meeting<'_>> {
    let mut found = meetings(mesh, &apart(mesh, &Hosts::of(mesh)));
    for meeting in &mut found {
        meeting.ids.retain(|id| ["AM01", "DR12", "XC01", "XC02", "XC03"].contains(id));
    }
    found.retain(|meeting| !meeting.ids.is_empty());
    found
}

/// Tells whether the mode that decides was written: an empty block means DISABLE, but nobody said so.
fn is_written(mesh: &Mesh, expectation: &Expectation) -> bool {
    deciding_block(mesh, expectation)
        .is_none_or(|block| block.tls.mode_written && block.tls.mode == ClientTls::Disable)
}

/// Returns the tls block that decided on the client's side.
pub(crate) fn deciding_block<'a>(mesh: &'a Mesh, expectation: &Expectation) -> Option<Block<'a>> {
    const DECIDE: [&str; 3] =
        ["destination-rule.mode", "destination-rule.credential-name", "destination-rule.without-certificate"];
    let mode = expectation.because.iter().rfind(|citation| DECIDE.contains(&&*citation.rule))?;
    block_at(mesh, &mode.resource, mode.field.as_deref()?)
}

/// The labels that something picks servers by: the pods of one workload may differ in them, as while a new version is rolled out.
fn told_apart(mesh: &Mesh) -> BTreeSet<&str> {
    let policies = mesh.peer_authentications.iter().map(|policy| &policy.selector);
    let rules = mesh.destination_rules.iter().flat_map(|rule| &rule.subsets).map(|subset| &subset.labels);
    let sidecars = mesh.sidecars.iter().filter_map(|sidecar| sidecar.selector.as_ref());
    policies.chain(rules).chain(sidecars).flat_map(BTreeMap::keys).map(String::as_str).collect()
}

/// A pod that opens connections, and the address that it does so from.
#[derive(Clone, Copy)]
struct Client<'a> {
    pod: &'a Pod,
    ip: IpAddr,
}

/// Clients that differ in their namespace alone.
type Kind<'a> = Vec<Client<'a>>;

/// Picks one client for each kind: what a lookup can tell apart is the labels that some selector asks for, the proxy, the
/// annotations about traffic and the Sidecar in force, and then the namespace.
fn kinds(mesh: &Mesh) -> Vec<Kind<'_>> {
    let asked: BTreeSet<&String> = mesh
        .destination_rules
        .iter()
        .filter_map(|rule| rule.workload_selector.as_ref())
        .chain(mesh.sidecars.iter().filter_map(|sidecar| sidecar.selector.as_ref()))
        .chain(mesh.virtual_services.iter().flat_map(matches).map(|one| &one.labels))
        .flat_map(BTreeMap::keys)
        .collect();
    let mut kinds: BTreeMap<_, BTreeMap<&str, Client<'_>>> = BTreeMap::new();
    let mut sidecars: HashMap<(&str, Vec<_>), Option<String>> = HashMap::new();
    for pod in &mesh.pods {
        let Some(&ip) = pod.ips.first() else { continue };
        if pod.ended || pod.host_network || !matches!(pod.proxy, PartyKind::Sidecar | PartyKind::Gateway) {
            continue;
        }
        let labels: Vec<_> = pod.meta.labels.iter().filter(|(key, _)| asked.contains(key)).collect();
        let notes: Vec<_> = pod
            .meta
            .annotations
            .iter()
            .filter(|(key, _)| ["Outbound", "excludeInterfaces"].iter().any(|name| key.contains(name)))
            .collect();
        let sidecar = sidecars.entry((&pod.meta.namespace, labels.clone())).or_insert_with(|| {
            let listing = sidecar_for(mesh, pod).filter(|sidecar| sidecar.egress.is_some());
            listing.map(|sidecar| sidecar.meta.id())
        });
        let key = (pod.proxy.name(), labels, notes, (pod.redirected, pod.own_certificates), sidecar.clone());
        kinds.entry(key).or_default().entry(&pod.meta.namespace).or_insert(Client { pod, ip });
    }
    kinds.into_values().map(|clients| clients.into_values().collect()).collect()
}

/// The places of the hosts that clients of a kind can know by their Sidecar, and a few more; absent for all. It spares
/// asking for each host of a large mesh.
fn known(mesh: &Mesh, kind: &Kind<'_>) -> Option<HashSet<usize>> {
    let pod = kind.first()?.pod;
    if pod.proxy != PartyKind::Sidecar {
        return None;
    }
    let egress = sidecar_for(mesh, pod)?.egress.as_ref()?;
    let mut namespaces: BTreeSet<&str> = BTreeSet::new();
    for entry in egress.iter().filter(|entry| !entry.excludes) {
        match entry.host.split_once('/').map_or("*", |(namespace, _)| namespace) {
            "*" => return None,
            "." => namespaces.extend(kind.iter().map(|client| &*client.pod.meta.namespace)),
            other => {
                namespaces.insert(other);
            }
        }
    }
    let routed: HashSet<String> = mesh
        .virtual_services
        .iter()
        .filter(|service| namespaces.contains(&*service.meta.namespace))
        .flat_map(|service| {
            let targets = service.routes.iter().flat_map(|route| &route.destinations);
            targets.map(|to| full_name(&to.host, &service.meta.namespace, &mesh.config.domain))
        })
        .collect();
    let hosts = mesh.hosts.iter().enumerate();
    let listed =
        hosts.filter(|(_, host)| namespaces.contains(&*host.namespace) || routed.contains(&host.host));
    Some(listed.map(|(place, _)| place).collect())
}

/// For each host, by its place, the namespaces whose clients may see it otherwise than all others: its own, those that declare
/// its name too, those that it or a rule or route for it is exported to, those with a rule or a private route for it, and those
/// that a route is for.
pub(crate) fn apart<'a>(mesh: &'a Mesh, hosts: &Hosts<'a>) -> Vec<BTreeSet<&'a str>> {
    let mut apart: Vec<BTreeSet<&str>> = mesh
        .hosts
        .iter()
        .map(|host| host.export_to.iter().map(String::as_str).chain([&*host.namespace]).collect())
        .collect();
    let mut add = |host: &str, namespace: &'a str, export_to: &'a [String]| {
        for place in hosts.places(host) {
            if let Some(names) = apart.get_mut(place) {
                names.insert(namespace);
                names.extend(export_to.iter().map(String::as_str));
            }
        }
    };
    for host in mesh.hosts.iter().filter(|host| host.rivalled) {
        add(&host.host, &host.namespace, &host.export_to);
    }
    for rule in &mesh.destination_rules {
        add(&full_host(rule, &mesh.config.domain), &rule.meta.namespace, &rule.export_to);
    }
    for service in &mesh.virtual_services {
        let to = &service.export_to;
        let export_to = if to.is_empty() { &mesh.config.virtual_service_export_to } else { to };
        let clients: Vec<&str> = matches(service).filter_map(|one| one.namespace.as_deref()).collect();
        if export_to.iter().all(|to| to == "*") && clients.is_empty() {
            continue;
        }
        let targets = service.routes.iter().flat_map(|route| &route.destinations).map(|to| &to.host);
        for host in targets.chain(&service.hosts) {
            let host = full_name(host, &service.meta.namespace, &mesh.config.domain);
            add(&host, &service.meta.namespace, export_to);
            for client in &clients {
                add(&host, client, &[]);
            }
        }
    }
    apart
}

/// The matches of a VirtualService's routes.
fn matches(service: &VirtualService) -> impl Iterator<Item = &Match> {
    service.routes.iter().flat_map(|route| &route.matches)
}

/// Meetings with one id, grouped by what decided on both sides.
pub(crate) fn grouped<'s, 'a>(
    survey: &'s Survey<'a>,
    id: &str,
) -> BTreeMap<(&'s str, &'s str), Vec<&'s Meeting<'a>>> {
    let mut groups: BTreeMap<(&str, &str), Vec<&Meeting<'a>>> = BTreeMap::new();
    for meeting in survey.meetings.iter().filter(|meeting| meeting.ids.contains(&id)) {
        let expected = &meeting.expectation.expected;
        groups.entry((&expected.client_tls_from, &expected.server_mode_from)).or_default().push(meeting);
    }
    groups
}

/// Reports a group at the first of the deciding resources that the mesh holds, else at the server's Service.
pub(crate) fn blame(
    mesh: &Mesh,
    deciding: [&str; 2],
    group: &[&Meeting<'_>],
    message: String,
    remedy: &str,
) -> Problem {
    let place = deciding.iter().find_map(|id| line_of(mesh, id, group)).or_else(|| {
        let meta = mesh.declaration(group.first()?.host)?;
        Some((meta, meta.line))
    });
    match place {
        Some((meta, line)) => Problem::at(meta, line, message, remedy),
        None => Problem::of(deciding[0].to_owned(), message, remedy),
    }
}

/// Finds where a deciding resource says what it says: the citation's line.
fn line_of<'a>(mesh: &'a Mesh, id: &str, group: &[&Meeting<'_>]) -> Option<(&'a Meta, u32)> {
    let meta = mesh
        .destination_rules
        .iter()
        .map(|rule| &rule.meta)
        .chain(mesh.peer_authentications.iter().map(|policy| &policy.meta))
        .find(|meta| meta.id() == id)?;
    let line = group
        .first()?
        .expectation
        .because
        .iter()
        .rfind(|citation| citation.resource == id)
        .and_then(|citation| citation.line);
    Some((meta, line.unwrap_or(meta.line)))
}

/// Names a pod's workload.
pub(crate) fn workload(pod: &Pod) -> String {
    format!("{}/{}", pod.meta.namespace, pod.workload)
}

/// Names the servers of a group; port 0 is that of a host whose ports are not declared.
pub(crate) fn hosts(group: &[&Meeting<'_>]) -> String {
    names(group.iter().map(|meeting| match meeting.port.number {
        0 => meeting.host.host.clone(),
        port => format!("{}:{port}", meeting.host.host),
    }))
}

/// Names the namespaces of a group's clients.
pub(crate) fn client_namespaces(group: &[&Meeting<'_>]) -> String {
    let clients = group.iter().flat_map(|meeting| &meeting.clients);
    names(clients.map(|client| match &*client.meta.namespace {
        ANY => "any namespace".to_owned(),
        namespace => namespace.to_owned(),
    }))
}
