//! GW10: The gateway's Service does not have the server's port.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::gateways::{each, from_gateway_api, fronts, named};
use crate::lint::{Problem, Rule, names};
use crate::mesh::gateway::Server;
use crate::mesh::service::{Service, TargetPort};
use crate::patch::Patch;
use crate::report::Severity;
use serde_json::{Value, json};

pub(super) const RULE: Rule = Rule {
    id: "GW10",
    severity: Severity::Medium,
    title: "A server port that the Service does not expose",
    page: include_str!("../../../docs/findings/GW10.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[(
            "{number: 443, name: https, protocol: HTTPS}\n    hosts",
            "{number: 8443, name: https, protocol: HTTPS}\n    hosts",
        )],
        add: "",
        also: &[],
    },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    each(survey, |gateway, server| {
        let fronts = fronts(survey, gateway);
        let service = *fronts.first()?;
        if fronts.iter().any(|service| service.port(server.port).is_some()) {
            return None;
        }
        let exposed =
            names(fronts.iter().flat_map(|service| &service.ports).map(|port| port.port.to_string()));
        let message = format!(
            "{}: {} in front of its pods has no port {}, only {exposed}, so no client reaches it",
            named(gateway, server),
            service.meta.id(),
            server.port
        );
        let problem = |remedy: &str| Problem::at(&gateway.meta, server.line, message.clone(), remedy);
        Some(if from_gateway_api(gateway) {
            problem("istiod keeps the Service of such a Gateway: look at the Gateway's status.")
        } else {
            problem("Add the port to the gateway's Service.").yaml(exposing(service, &[server]).yaml())
        })
    })
}

/// Adds the servers' ports to a Service.
pub(super) fn exposing(service: &Service, servers: &[&Server]) -> Patch {
    let taken = |target| service.ports.iter().any(|port| port.target == TargetPort::Number(target));
    let start = Patch::of(&service.meta);
    servers.iter().fold(start, |patch, server| {
        let target = if taken(usual(server.port)) { server.port } else { usual(server.port) };
        patch.set("/spec/ports/-", port(server, target))
    })
}

/// Gateways commonly listen above 1024, where no privilege is needed.
pub(super) const fn usual(port: u16) -> u16 {
    match port {
        80 => 8080,
        443 => 8443,
        other => other,
    }
}

/// Writes a Service's port for a server.
pub(super) fn port(server: &Server, target: u16) -> Value {
    let name = format!("{}-{}", server.protocol.name().to_ascii_lowercase(), server.port);
    json!({"name": name, "port": server.port, "targetPort": target})
}
