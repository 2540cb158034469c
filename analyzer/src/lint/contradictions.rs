//! XC01, XC02, XC03, XC07, XC08, AM01, DR12: what a client is declared to send against what the server accepts.
//!
//! Both sides come from [`expect`], the very function behind `explain`.

use std::collections::{BTreeMap, BTreeSet};

use flow::Endpoint;

use crate::expectation::{Expectation, expect};
use crate::lint::{Problem, Survey, names};
use crate::mesh::meta::Meta;
use crate::mesh::pod::Pod;
use crate::mesh::service::Protocol;
use crate::mesh::{HostPort, HostService, Mesh};
use crate::policy::inbound::InboundKind;
use crate::policy::interception::NEVER_INTERCEPTED;
use crate::policy::outbound::OutboundKind;
use crate::policy::visibility::visible;
use crate::report::{ClientTls, IstioMtls, PartyKind, ServerMode};

/// A kind of client and one endpoint port, with the contradictions between them.
pub(crate) struct Meeting<'a> {
    client: &'a Pod,
    host: &'a HostService,
    port: &'a HostPort,
    server: Option<&'a Pod>,
    wire: u16,
    expectation: Expectation,
    ids: Vec<&'static str>,
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
fn clients(mesh: &Mesh) -> Vec<(&Pod, std::net::IpAddr)> {
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
fn grouped<'s, 'a>(survey: &'s Survey<'a>, id: &str) -> BTreeMap<(&'s str, &'s str), Vec<&'s Meeting<'a>>> {
    let mut groups: BTreeMap<(&str, &str), Vec<&Meeting<'a>>> = BTreeMap::new();
    for meeting in survey.meetings.iter().filter(|meeting| meeting.ids.contains(&id)) {
        let expected = &meeting.expectation.expected;
        groups.entry((&expected.client_tls_from, &expected.server_mode_from)).or_default().push(meeting);
    }
    groups
}

/// XC01: the client resolves to no TLS, the server takes nothing but mTLS.
pub(crate) fn plaintext_to_strict(survey: &Survey<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for ((client, server), group) in grouped(survey, "XC01") {
        let message = format!(
            "clients in {} send no TLS to {} ({client} decides), where {server} sets STRICT: every request fails",
            client_namespaces(&group),
            hosts(&group)
        );
        problems.push(blame(
            survey.mesh,
            [client, server],
            &group,
            message,
            "Remove the tls block so that auto mTLS decides, or set ISTIO_MUTUAL.",
            "ISTIO_MUTUAL",
        ));
    }
    problems
}

/// XC02: an explicit ISTIO_MUTUAL meets something that cannot terminate it.
pub(crate) fn undecryptable(survey: &Survey<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for ((client, server), group) in grouped(survey, "XC02") {
        let why = if server == "default" {
            "which has no proxy for it".to_owned()
        } else {
            format!("where {server} sets DISABLE")
        };
        let message =
            format!("{client} sends Istio mTLS to {}, {why}: the server cannot decrypt it", hosts(&group));
        problems.push(blame(
            survey.mesh,
            [client, server],
            &group,
            message,
            "Narrow the rule to hosts with a proxy, remove its tls block so that auto mTLS decides, or inject the server.",
            "DISABLE",
        ));
    }
    problems
}

/// XC03: TLS that is not Istio's meets a sidecar with no filter chain for it.
pub(crate) fn foreign_tls(survey: &Survey<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for ((client, server), group) in grouped(survey, "XC03") {
        let mode = group.first().and_then(|meeting| meeting.expectation.expected.client_tls);
        let message = format!(
            "{client} originates {} to {} in the mesh ({server} decides there): no filter chain of its sidecar accepts that",
            mode.map_or("TLS", ClientTls::name),
            hosts(&group)
        );
        problems.push(blame(
            survey.mesh,
            [client, server],
            &group,
            message,
            "Use ISTIO_MUTUAL, or remove the tls block so that auto mTLS decides.",
            "ISTIO_MUTUAL",
        ));
    }
    problems
}

/// XC07: Istio mTLS goes to a container port that the sidecar does not intercept.
pub(crate) fn excluded_inbound(survey: &Survey<'_>) -> Vec<Problem> {
    let mut by_pod: BTreeMap<(String, u16), &Meeting<'_>> = BTreeMap::new();
    for meeting in survey.meetings.iter().filter(|meeting| meeting.ids.contains(&"XC07")) {
        if let Some(server) = meeting.server {
            by_pod.entry((workload(server), meeting.wire)).or_insert(meeting);
        }
    }
    by_pod
        .into_values()
        .filter_map(|meeting| {
            let server = meeting.server?;
            let message = format!(
                "{} does not intercept port {}, yet clients of {} send it Istio mTLS ({} decides)",
                workload(server),
                meeting.wire,
                meeting.host.host,
                meeting.expectation.expected.client_tls_from
            );
            let remedy = "Add a DestinationRule with DISABLE or a portLevelMtls DISABLE for this port, or stop excluding it.";
            let line = server.meta.line;
            Some(Problem::at(&server.meta, line, message, remedy).yaml(rule_yaml(meeting, "DISABLE")))
        })
        .collect()
}

/// XC08: the client's annotations keep traffic to STRICT servers from its proxy.
pub(crate) fn excluded_outbound(survey: &Survey<'_>) -> Vec<Problem> {
    let mut by_client: BTreeMap<String, Vec<&Meeting<'_>>> = BTreeMap::new();
    for meeting in survey.meetings.iter().filter(|meeting| meeting.ids.contains(&"XC08")) {
        by_client.entry(workload(meeting.client)).or_default().push(meeting);
    }
    by_client
        .into_iter()
        .filter_map(|(name, group)| {
            let client = group.first()?.client;
            let message = format!(
                "{name} excludes traffic to {} from its proxy; the servers there are STRICT and refuse it",
                hosts(&group)
            );
            let remedy = "Remove the port or range from the traffic.sidecar.istio.io annotations.";
            Some(Problem::at(&client.meta, client.meta.line, message, remedy))
        })
        .collect()
}

/// AM01: auto mTLS is off and nothing else makes clients send mTLS to STRICT servers.
pub(crate) fn auto_mtls_off(survey: &Survey<'_>) -> Vec<Problem> {
    let group: Vec<&Meeting<'_>> =
        survey.meetings.iter().filter(|meeting| meeting.ids.contains(&"AM01")).collect();
    if group.is_empty() {
        return Vec::new();
    }
    let message = format!(
        "enableAutoMtls is false and no ISTIO_MUTUAL rule reaches clients in {}: {} is STRICT and refuses them",
        client_namespaces(&group),
        hosts(&group)
    );
    let resource = format!("ConfigMap/{}/istio", survey.mesh.config.root_namespace);
    vec![
        Problem::of(resource, message, "Turn auto mTLS on in MeshConfig.")
            .yaml("enableAutoMtls: true\n".to_owned()),
    ]
}

/// DR12: DISABLE is written although both ends have proxies that could do mTLS.
pub(crate) fn needless_disable(survey: &Survey<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for ((client, server), group) in grouped(survey, "DR12") {
        let message =
            format!("{client} switches TLS off to {}, though the servers there could do mTLS", hosts(&group));
        let remedy = "Remove the tls block: auto mTLS then encrypts this traffic.";
        problems.push(blame(survey.mesh, [client, server], &group, message, remedy, "ISTIO_MUTUAL"));
    }
    problems
}

/// Reports a group at the first of the deciding resources that the mesh holds, else at the server's Service.
fn blame(
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

fn rule_yaml(meeting: &Meeting<'_>, mode: &str) -> String {
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

fn hosts(group: &[&Meeting<'_>]) -> String {
    names(group.iter().map(|meeting| format!("{}:{}", meeting.host.host, meeting.port.number)))
}

fn client_namespaces(group: &[&Meeting<'_>]) -> String {
    names(group.iter().map(|meeting| meeting.client.meta.namespace.to_string()))
}
