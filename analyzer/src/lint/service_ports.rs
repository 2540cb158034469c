//! PN01, PN03, PN04: what the ports of Services declare.

use std::collections::BTreeMap;

use crate::lint::{Problem, Survey};
use crate::mesh::Owner;
use crate::mesh::service::Protocol;

/// PN01: Istio has to look at the bytes.
pub(crate) fn undeclared(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    let mut problems = Vec::new();
    for service in &mesh.services {
        for port in service.ports.iter().filter(|port| port.protocol == Protocol::Unsupported) {
            let name = port.name.as_deref().unwrap_or("without a name");
            let message = format!(
                "port {} ({name}) of {} declares no protocol: it is sniffed",
                port.port,
                service.meta.id()
            );
            problems.push(
                Problem::at(
                    &service.meta,
                    port.line,
                    message,
                    "Set appProtocol, or begin the name with the protocol.",
                )
                .yaml(format!("ports:\n- port: {}\n  appProtocol: http\n", port.port)),
            );
        }
    }
    problems
}

/// PN03: one container port, declared differently by two Services.
pub(crate) fn declared_twice(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    let mut first = BTreeMap::new();
    let mut found = BTreeMap::new();
    for host in mesh.hosts.iter().filter(|host| matches!(host.owner, Owner::Service(_))) {
        for port in host.ports.iter().filter(|port| port.protocol != Protocol::Udp) {
            for endpoint in &host.endpoints {
                let Some(&wire) = endpoint.ports.get(&port.number) else { continue };
                let (oldest, declared) = *first.entry((endpoint.ip, wire)).or_insert((host, port));
                if declared.protocol != port.protocol && !std::ptr::eq(oldest, host) {
                    found.entry((&host.host, port.number)).or_insert((host, port, oldest, declared, wire));
                }
            }
        }
    }
    found
        .into_values()
        .filter_map(|(host, port, oldest, declared, wire)| {
            let meta = mesh.declaration(host)?;
            let message = format!(
                "{} declares container port {wire} as {}, {} as {}: the older one decides",
                host.host, port.protocol, oldest.host, declared.protocol
            );
            Some(Problem::at(meta, port.line, message, "Declare the same protocol in both Services."))
        })
        .collect()
}

/// PN04: a port of TLS by convention, named http.
pub(crate) fn http_on_tls_port(survey: &Survey<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for service in &survey.mesh.services {
        for port in service.ports.iter().filter(|port| matches!(port.port, 443 | 8443)) {
            if matches!(port.protocol, Protocol::Http | Protocol::Http2) {
                let message = format!(
                    "port {} of {} is declared {}: likely TLS to an HTTP port",
                    port.port,
                    service.meta.id(),
                    port.protocol
                );
                problems.push(
                    Problem::at(&service.meta, port.line, message, "Name it https if clients send TLS.")
                        .yaml(format!("ports:\n- port: {}\n  name: https\n", port.port)),
                );
            }
        }
    }
    problems
}
