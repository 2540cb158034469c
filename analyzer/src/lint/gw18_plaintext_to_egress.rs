//! GW18: Sidecars send to an egress gateway, which they reach in plaintext unless both sides say ISTIO_MUTUAL.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::gateways::pods;
use crate::lint::{Problem, Rule};
use crate::mesh::gateway::{Server, ServerTlsMode};
use crate::mesh::virtual_service::RouteKind;
use crate::policy::Trace;
use crate::policy::destination_rule::{acting, tls_block};
use crate::policy::visibility::full_name;
use crate::report::{ClientTls, Severity};

pub(super) const RULE: Rule = Rule {
    id: "GW18",
    severity: Severity::High,
    title: "Plaintext to an egress gateway",
    page: include_str!("../../../docs/findings/GW18.md"),
    check,
    #[cfg(test)]
    broken: Broken { replace: &[], add: "", also: &[] },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    let mut problems = Vec::new();
    for routes in mesh.virtual_services.iter().filter(|routes| routes.is_for_mesh()) {
        for route in routes.routes.iter().filter(|route| route.kind != RouteKind::Tls) {
            if !route.gateways.is_empty() && !route.gateways.iter().any(|name| name == "mesh") {
                continue;
            }
            for to in &route.destinations {
                let name = full_name(&to.host, &routes.meta.namespace, &mesh.config.domain);
                let Some(host) = mesh.hosts.iter().find(|host| host.host == name) else { continue };
                let port = to.port.or_else(|| host.ports.first().map(|port| port.number)).unwrap_or(80);
                let servers: Vec<&Server> = mesh
                    .gateways
                    .iter()
                    .filter(|gateway| {
                        pods(mesh, gateway)
                            .any(|pod| host.endpoints.iter().any(|endpoint| pod.ips.contains(&endpoint.ip)))
                    })
                    .flat_map(|gateway| &gateway.servers)
                    .filter(|server| server.port == port)
                    .collect();
                if servers.is_empty() {
                    continue;
                }
                let server_mutual = servers.iter().any(|server| {
                    server.tls.as_ref().is_some_and(|tls| tls.mode == ServerTlsMode::IstioMutual)
                });
                let trace = &mut Trace::default();
                let client_mutual = acting(mesh, None, &routes.meta.namespace, host, trace)
                    .and_then(|acting| tls_block(&acting, port, to.subset.as_deref(), trace))
                    .is_some_and(|block| block.tls.mode == ClientTls::IstioMutual);
                let missing = match (client_mutual, server_mutual) {
                    (true, true) => continue,
                    (true, false) => "the Gateway's server is not ISTIO_MUTUAL",
                    (false, true) => "no DestinationRule sets ISTIO_MUTUAL",
                    (false, false) => "neither a DestinationRule nor the Gateway's server sets ISTIO_MUTUAL",
                };
                let message = format!(
                    "{} sends sidecars to the gateway {}:{port}, but {missing}: the first leg is plaintext",
                    routes.meta.id(),
                    host.host
                );
                let remedy =
                    "Set ISTIO_MUTUAL on the rule for the gateway's Service and on the Gateway's server.";
                let yaml = crate::lint::survey::meetings::destination_rule_yaml(
                    &host.namespace,
                    host.host.split('.').next().unwrap_or_default(),
                    &host.host,
                    "ISTIO_MUTUAL",
                );
                problems.push(Problem::at(&routes.meta, route.line, message, remedy).yaml(yaml));
            }
        }
    }
    problems
}
