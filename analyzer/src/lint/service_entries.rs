//! SE01 to SE07: ServiceEntries whose ports, location or endpoints do not give what they seem to.

use crate::lint::hosts::originator;
use crate::lint::{Problem, Survey, names};
use crate::mesh::Mesh;
use crate::mesh::meta::selects;
use crate::mesh::service::Protocol;
use crate::mesh::service_entry::{EntryPort, ServiceEntry};
use crate::report::{ClientTls, PartyKind};

/// Ports that speak TLS by convention.
const TLS_PORTS: [u16; 2] = [443, 8443];

fn each_port<'a>(
    survey: &Survey<'a>,
    broken: impl Fn(&'a ServiceEntry, &'a EntryPort) -> Option<Problem>,
) -> Vec<Problem> {
    survey
        .mesh
        .service_entries
        .iter()
        .flat_map(|entry| entry.ports.iter().filter_map(|port| broken(entry, port)).collect::<Vec<_>>())
        .collect()
}

/// Tells whether any rule makes clients send TLS of whatever kind to the port.
fn originates(mesh: &Mesh, entry: &ServiceEntry, port: &EntryPort) -> bool {
    const TLS: [ClientTls; 3] = [ClientTls::Simple, ClientTls::Mutual, ClientTls::IstioMutual];
    entry.hosts.iter().any(|host| originator(mesh, host, port.number, &TLS).is_some())
}

/// SE01: HTTP declared on a port that speaks HTTPS.
pub(crate) fn http_on_tls_port(survey: &Survey<'_>) -> Vec<Problem> {
    each_port(survey, |entry, port| {
        let applies = !entry.internal
            && port.protocol.is_http()
            && TLS_PORTS.contains(&port.number)
            && port.target.is_none()
            && !originates(survey.mesh, entry, port);
        applies.then(|| {
            let message = format!(
                "{} declares port {} of {} as {}: applications that send HTTPS there fail",
                entry.meta.id(),
                port.number,
                names(entry.hosts.clone()),
                port.protocol
            );
            let remedy = "Declare HTTPS, or originate TLS with a DestinationRule.";
            Problem::at(&entry.meta, port.line, message, remedy)
                .yaml(format!("ports:\n- number: {}\n  name: https\n  protocol: HTTPS\n", port.number))
        })
    })
}

/// SE02: the application's TLS gets wrapped in TLS again.
pub(crate) fn double_tls(survey: &Survey<'_>) -> Vec<Problem> {
    each_port(survey, |entry, port| {
        if !port.protocol.is_tls() {
            return None;
        }
        let rule = entry.hosts.iter().find_map(|host| {
            originator(survey.mesh, host, port.number, &[ClientTls::Simple, ClientTls::Mutual])
        })?;
        let message = format!(
            "{} declares port {} as {}, and {} originates TLS for it as well: TLS in TLS",
            entry.meta.id(),
            port.number,
            port.protocol,
            rule.meta.id()
        );
        let remedy = "Declare port 80 as HTTP with targetPort 443, or remove the rule's tls block.";
        Some(Problem::at(&entry.meta, port.line, message, remedy).yaml(format!(
            "ports:\n- number: 80\n  name: http\n  protocol: HTTP\n  targetPort: {}\n",
            port.target.unwrap_or(port.number)
        )))
    })
}

/// SE03: plaintext HTTP goes to a TLS port.
pub(crate) fn plaintext_to_tls_port(survey: &Survey<'_>) -> Vec<Problem> {
    each_port(survey, |entry, port| {
        let target = port.target.filter(|target| TLS_PORTS.contains(target))?;
        if !port.protocol.is_http() || originates(survey.mesh, entry, port) {
            return None;
        }
        let message = format!(
            "{} sends port {} to targetPort {target} as {} and nothing originates TLS: plaintext to a TLS port",
            entry.meta.id(),
            port.number,
            port.protocol
        );
        let host = entry.hosts.first().map_or("HOST", String::as_str);
        let yaml = crate::lint::contradictions::destination_rule_yaml(
            &entry.meta.namespace,
            &entry.meta.name,
            host,
            "SIMPLE",
        );
        Some(Problem::at(&entry.meta, port.line, message, "Originate TLS with a DestinationRule.").yaml(yaml))
    })
}

/// SE04: two entries declare one port of one host differently.
pub(crate) fn protocols_differ(survey: &Survey<'_>) -> Vec<Problem> {
    let entries = &survey.mesh.service_entries;
    let mut problems = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        for port in &entry.ports {
            let other = entries.iter().take(index).find_map(|first| {
                let host = first.hosts.iter().find(|host| entry.hosts.contains(host))?;
                let same = first
                    .ports
                    .iter()
                    .find(|same| same.number == port.number && same.protocol != port.protocol)?;
                Some((first, host, same))
            });
            if let Some((first, host, same)) = other {
                let message = format!(
                    "{} declares {host}:{} as {}, {} as {}",
                    entry.meta.id(),
                    port.number,
                    port.protocol,
                    first.meta.id(),
                    same.protocol
                );
                problems.push(Problem::at(
                    &entry.meta,
                    port.line,
                    message,
                    "Declare the same protocol in both, or merge them.",
                ));
            }
        }
    }
    problems
}

/// SE05: endpoints of the mesh that clients reach in plaintext.
pub(crate) fn endpoint_without_identity(survey: &Survey<'_>) -> Vec<Problem> {
    survey
        .mesh
        .service_entries
        .iter()
        .filter(|entry| entry.internal)
        .filter_map(|entry| {
            let bare = names(
                entry.endpoints.iter().filter(|endpoint| !endpoint.tls_mode_istio()).map(|endpoint| endpoint.address.clone())
                .chain(workloads(survey.mesh, entry).filter(|(_, capable)| !capable).map(|(name, _)| name)),
            );
            (!bare.is_empty()).then(|| {
                let message = format!(
                    "{} is in the mesh, but {bare} has neither serviceAccount nor the label tlsMode: clients send plaintext",
                    entry.meta.id()
                );
                let remedy = "Set serviceAccount on the endpoint if it has a proxy.";
                Problem::at(&entry.meta, entry.meta.line, message, remedy)
                    .yaml("endpoints:\n- address: ADDRESS\n  serviceAccount: NAME\n".to_owned())
            })
        })
        .collect()
}

/// SE06: what is in the mesh is declared to be outside, so auto mTLS is off.
pub(crate) fn external_but_in_mesh(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    survey
        .mesh
        .service_entries
        .iter()
        .filter(|entry| !entry.internal)
        .filter_map(|entry| {
            let in_mesh = |ip| mesh.pod_at(ip, None).is_some_and(|pod| pod.proxy != PartyKind::NoProxy);
            let known_workload = |ip| {
                mesh.workload_entries
                    .iter()
                    .any(|workload| workload.endpoint.ip == Some(ip) && workload.endpoint.tls_mode_istio())
            };
            let selected = entry.workload_selector.as_ref().into_iter().flat_map(|selector| {
                mesh.pods
                    .iter()
                    .filter(|pod| {
                        pod.meta.namespace == entry.meta.namespace
                            && pod.proxy != PartyKind::NoProxy
                            && selects(selector, &pod.meta.labels)
                    })
                    .map(|pod| pod.meta.id())
            });
            let inside = names(
                entry
                    .endpoints
                    .iter()
                    .filter(|endpoint| endpoint.ip.is_some_and(|ip| in_mesh(ip) || known_workload(ip)))
                    .map(|endpoint| endpoint.address.clone())
                    .chain(selected)
                    .chain(workloads(mesh, entry).map(|(name, _)| name)),
            );
            (!inside.is_empty()).then(|| {
                let how = if entry.location_written {
                    "is MESH_EXTERNAL"
                } else {
                    "has no location, which means MESH_EXTERNAL"
                };
                let message =
                    format!("{} {how}, but {inside} is part of the mesh: auto mTLS is off", entry.meta.id());
                Problem::at(&entry.meta, entry.meta.line, message, "Set location to MESH_INTERNAL.")
                    .yaml("spec:\n  location: MESH_INTERNAL\n".to_owned())
            })
        })
        .collect()
}

/// SE07: a TCP port without addresses takes every connection to that port.
pub(crate) fn tcp_without_address(survey: &Survey<'_>) -> Vec<Problem> {
    each_port(survey, |entry, port| {
        (port.protocol == Protocol::Tcp && entry.addresses.is_empty()).then(|| {
            let message = format!(
                "{} declares TCP port {} without addresses: it captures the whole port",
                entry.meta.id(),
                port.number
            );
            Problem::at(&entry.meta, port.line, message, "Give the host its addresses.")
        })
    })
}

/// WorkloadEntries that an entry selects, each with whether clients may send it Istio mTLS.
fn workloads<'a>(mesh: &'a Mesh, entry: &'a ServiceEntry) -> impl Iterator<Item = (String, bool)> + 'a {
    entry.workload_selector.iter().flat_map(move |selector| {
        mesh.workload_entries
            .iter()
            .filter(move |workload| {
                workload.meta.namespace == entry.meta.namespace
                    && selects(selector, &workload.endpoint.labels)
            })
            .map(|workload| (workload.meta.id(), workload.endpoint.tls_mode_istio()))
    })
}
