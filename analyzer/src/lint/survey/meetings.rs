//! What clients are declared to send against what servers accept: every kind of client meets every kind of endpoint.
//!
//! Both sides come from [`expect`], the very function behind `explain`.

use crate::expectation::{Expectation, expect};
use crate::lint::survey::Survey;
use crate::lint::{Problem, names};
use crate::mesh::meta::Meta;
use crate::mesh::pod::Pod;
use crate::mesh::service::Protocol;
use crate::mesh::{HostPort, HostService, Mesh};
use crate::policy::inbound::InboundKind;
use crate::policy::interception::NEVER_INTERCEPTED;
use crate::policy::outbound::OutboundKind;
use crate::policy::visibility::visible;
use crate::report::{ClientTls, IstioMtls, PartyKind, ServerMode};
use flow::Endpoint;
use std::collections::{BTreeMap, BTreeSet};

/// A kind of client and one endpoint port, with the contradictions between them.
pub(crate) struct Meeting<'a> {
    pub(crate) client: &'a Pod,
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
    let no_tls = matches!(expected.client_tls, None | Some(ClientTls::Disable));
    let by_rule = expectation.client == OutboundKind::Rule;
    let http = expectation.protocol.is_some_and(Protocol::is_http);
    let strict = expected.server_mode == Some(ServerMode::Strict);
    let enforced = matches!(expected.server_mode, Some(ServerMode::Strict | ServerMode::Permissive));
    let mut ids = Vec::new();
    if no_tls && strict {
        match &expectation.client {
            OutboundKind::NotIntercepted(_) => ids.push("XC08"),
            OutboundKind::Rule | OutboundKind::Passthrough(_) => ids.push("XC01"),
            OutboundKind::Auto => {
                ids.push("XC01");
                // With auto mTLS on, something is always decided.
                if expected.client_tls.is_none() && !expectation.external {
                    ids.push("AM01");
                }
            }
            OutboundKind::AmbientPlain => ids.push("AB04"),
            OutboundKind::NoProxy | OutboundKind::Blocked | OutboundKind::Hbone => {}
        }
    }
    let istio = expected.client_tls == Some(ClientTls::IstioMutual);
    if istio && by_rule && expected.istio_mtls == IstioMtls::Unterminated {
        ids.push("XC02");
    }
    if istio && matches!(expectation.server, InboundKind::NotIntercepted(_)) {
        ids.push("XC07");
    }
    match expected.client_tls {
        Some(ClientTls::Simple) if expected.server_mode.is_some() && (http || strict) => ids.push("XC03"),
        Some(ClientTls::Mutual) if expected.server_mode.is_some() && http && !strict => ids.push("XC03"),
        Some(ClientTls::Disable) if by_rule && enforced => ids.push("DR12"),
        Some(ClientTls::Simple | ClientTls::Mutual | ClientTls::Disable | ClientTls::IstioMutual) | None => {}
    }
    ids
}

/// Lets every kind of client meet every kind of endpoint of every host that it knows.
pub(crate) fn meetings(mesh: &Mesh) -> Vec<Meeting<'_>> {
    let clients = clients(mesh);
    let mut found = Vec::new();
    for host in &mesh.hosts {
        let mut seen = BTreeSet::new();
        for port in &host.ports {
            for endpoint in &host.endpoints {
                let Some(&wire) = endpoint.ports.get(&port.number) else { continue };
                let server = mesh.pod_of(endpoint);
                let is_gateway =
                    server.is_some_and(|pod| matches!(pod.proxy, PartyKind::Gateway | PartyKind::Waypoint));
                let kind = server.map(|pod| (&pod.workload, pod.proxy.name(), pod.tls_mode_istio()));
                if is_gateway || NEVER_INTERCEPTED.contains(&wire) || !seen.insert((port.number, wire, kind))
                {
                    continue;
                }
                for &(client, ip) in &clients {
                    if visible(mesh, Some(client), &client.meta.namespace, host, port.number).is_err() {
                        continue;
                    }
                    let to = Endpoint { ip: endpoint.ip, port: wire };
                    let sni = format!("outbound_.{}_._.{}", port.number, host.host);
                    let named = mesh.behind(endpoint.ip, wire).len() > 1;
                    let expectation = expect(mesh, ip, to, named.then_some(sni.as_str()));
                    let ids = touching(&expectation);
                    if !ids.is_empty() {
                        found.push(Meeting { client, host, port, server, wire, expectation, ids });
                    }
                }
            }
        }
    }
    found
}

/// Picks one client for each kind: what a lookup can tell apart is the namespace, the labels that some selector asks
/// for, the proxy and the annotations about traffic.
pub(crate) fn clients(mesh: &Mesh) -> Vec<(&Pod, std::net::IpAddr)> {
    let asked: BTreeSet<&String> = mesh
        .destination_rules
        .iter()
        .filter_map(|rule| rule.workload_selector.as_ref())
        .chain(mesh.sidecars.iter().filter_map(|sidecar| sidecar.selector.as_ref()))
        .flat_map(BTreeMap::keys)
        .collect();
    let mut kinds = BTreeMap::new();
    for pod in &mesh.pods {
        let Some(&ip) = pod.ips.first() else { continue };
        if pod.host_network || !matches!(pod.proxy, PartyKind::Sidecar | PartyKind::Gateway) {
            continue;
        }
        let labels: Vec<_> = pod.meta.labels.iter().filter(|(key, _)| asked.contains(key)).collect();
        let notes: Vec<_> = pod
            .meta
            .annotations
            .iter()
            .filter(|(key, _)| {
                ["Outbound", "interceptionMode", "excludeInterfaces"].iter().any(|name| key.contains(name))
            })
            .collect();
        kinds.entry((&pod.meta.namespace, pod.proxy.name(), labels, notes)).or_insert((pod, ip));
    }
    kinds.into_values().collect()
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
    mode: &str,
) -> Problem {
    let first = group.first();
    let place = deciding.iter().find_map(|id| line_of(mesh, id, group));
    let problem = match place.or_else(|| {
        let meta = mesh.declaration(first?.host)?;
        Some((meta, meta.line))
    }) {
        Some((meta, line)) => Problem::at(meta, line, message, remedy),
        None => Problem::of(deciding[0].to_owned(), message, remedy),
    };
    match first {
        Some(first) if deciding[0].starts_with("DestinationRule/") => {
            let host = mesh
                .destination_rules
                .iter()
                .find(|rule| rule.meta.id() == deciding[0])
                .map_or(first.host.host.as_str(), |rule| rule.host.as_str());
            let mut parts = deciding[0].splitn(3, '/').skip(1);
            let (namespace, name) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            problem.yaml(destination_rule_yaml(namespace, name, host, mode))
        }
        Some(first) => problem.yaml(rule_yaml(first, mode)),
        None => problem,
    }
}

/// Finds where a deciding resource says what it says: the citation's line.
pub(crate) fn line_of<'a>(mesh: &'a Mesh, id: &str, group: &[&Meeting<'_>]) -> Option<(&'a Meta, u32)> {
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

pub(crate) fn rule_yaml(meeting: &Meeting<'_>, mode: &str) -> String {
    let name = meeting.host.host.split('.').next().unwrap_or_default();
    destination_rule_yaml(&meeting.host.namespace, name, &meeting.host.host, mode)
}

/// Writes a DestinationRule that sets a mode for a host.
pub(crate) fn destination_rule_yaml(namespace: &str, name: &str, host: &str, mode: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata:\n  name: {name}\n  namespace: {namespace}\nspec:\n  host: '{host}'\n  trafficPolicy:\n    tls:\n      mode: {mode}\n"
    )
}

/// Names a pod's workload.
pub(crate) fn workload(pod: &Pod) -> String {
    format!("{}/{}", pod.meta.namespace, pod.workload)
}

pub(crate) fn hosts(group: &[&Meeting<'_>]) -> String {
    names(group.iter().map(|meeting| format!("{}:{}", meeting.host.host, meeting.port.number)))
}

pub(crate) fn client_namespaces(group: &[&Meeting<'_>]) -> String {
    names(group.iter().map(|meeting| meeting.client.meta.namespace.to_string()))
}
