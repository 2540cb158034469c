//! GW04, GW05, GW06, GW17, GW18: VirtualServices that do not fit the Gateways they are bound to.

use crate::lint::gateway_servers::{named, overlap, pods, terminates};
use crate::lint::{Problem, Survey, names};
use crate::mesh::Mesh;
use crate::mesh::gateway::{Gateway, Server, ServerTlsMode};
use crate::mesh::virtual_service::{Route, RouteKind, VirtualService};
use crate::policy::Trace;
use crate::policy::destination_rule::{acting, full_host, tls_block};
use crate::policy::visibility::{covers, full_name};
use crate::report::ClientTls;

/// Pairs each Gateway with the VirtualServices bound to it.
fn bindings(mesh: &Mesh) -> impl Iterator<Item = (&Gateway, &VirtualService)> {
    mesh.gateways.iter().flat_map(move |gateway| {
        mesh.virtual_services
            .iter()
            .filter(|routes| routes.binds(&gateway.meta.namespace, &gateway.meta.name))
            .map(move |routes| (gateway, routes))
    })
}

/// Tells whether a route can be meant for a server: its hosts, port and gateway fit.
fn meant_for(routes: &VirtualService, route: &Route, gateway: &Gateway, server: &Server) -> bool {
    let hosts = if route.sni_hosts.is_empty() { &routes.hosts } else { &route.sni_hosts };
    let gateway_fits = route.gateways.is_empty()
        || route.gateways.iter().any(|name| name.rsplit('/').next() == Some(&*gateway.meta.name));
    let port_fits = route.ports.is_empty() || route.ports.contains(&server.port);
    gateway_fits && port_fits && server.hosts.iter().any(|own| hosts.iter().any(|host| overlap(own, host)))
}

fn passes_through(server: &Server) -> bool {
    server.protocol.is_tls() && server.tls.as_ref().is_some_and(|tls| tls.mode == ServerTlsMode::Passthrough)
}

/// GW04: the server ends TLS, so routes by SNI never see any.
pub(crate) fn sni_routes_on_terminating(survey: &Survey<'_>) -> Vec<Problem> {
    misfits(survey, RouteKind::Tls, terminates, passes_through, |route, server| {
        let kind = if server.protocol.is_http() || server.protocol_text == "HTTPS" { "http" } else { "tcp" };
        (
            format!("{route} terminates TLS, so its tls routes never apply: clients get 404"),
            format!("Use {kind} routes, or set the server to PASSTHROUGH."),
        )
    })
}

/// GW05: the server passes TLS on, so there is no HTTP to route.
pub(crate) fn http_routes_on_passthrough(survey: &Survey<'_>) -> Vec<Problem> {
    let takes_http = |server: &Server| server.protocol.is_http() || terminates(server);
    misfits(survey, RouteKind::Http, passes_through, takes_http, |route, _| {
        (
            format!("{route} passes TLS through, so its http routes have no effect"),
            "Use tls routes with sniHosts, or terminate TLS at the server.".to_owned(),
        )
    })
}

/// Finds routes of a kind that meet a server which cannot use them, and no other server of the Gateway that can.
fn misfits(
    survey: &Survey<'_>,
    kind: RouteKind,
    wrong: impl Fn(&Server) -> bool,
    right: impl Fn(&Server) -> bool,
    say: impl Fn(&str, &Server) -> (String, String),
) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (gateway, routes) in bindings(survey.mesh) {
        for route in routes.routes.iter().filter(|route| route.kind == kind) {
            let mut servers =
                gateway.servers.iter().filter(|server| meant_for(routes, route, gateway, server)).peekable();
            let Some(server) = servers.clone().find(|server| wrong(server)) else { continue };
            if servers.any(&right) {
                continue;
            }
            let subject = format!("{} is bound to {}, which", routes.meta.id(), named(gateway, server));
            let (message, remedy) = say(&subject, server);
            problems.push(Problem::at(&routes.meta, route.line, message, remedy));
        }
    }
    problems
}

/// GW06: application TLS passes through, and a rule wraps it in TLS again.
pub(crate) fn double_encryption(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    let mut problems = Vec::new();
    for (gateway, routes) in bindings(mesh) {
        for server in gateway.servers.iter().filter(|server| passes_through(server)) {
            for route in routes
                .routes
                .iter()
                .filter(|route| route.kind == RouteKind::Tls && meant_for(routes, route, gateway, server))
            {
                for to in &route.destinations {
                    let host = full_name(&to.host, &routes.meta.namespace, &mesh.config.domain);
                    let rule = mesh.destination_rules.iter().find(|rule| {
                        let block = rule.policy.as_ref().and_then(|policy| {
                            to.port
                                .and_then(|port| policy.for_port(port))
                                .map_or(policy.tls.as_ref(), |entry| entry.tls.as_ref())
                        });
                        covers(&full_host(rule, &mesh.config.domain), &host)
                            && block
                                .is_some_and(|tls| matches!(tls.mode, ClientTls::Simple | ClientTls::Mutual))
                    });
                    if let Some(rule) = rule {
                        let message = format!(
                            "{} originates TLS to {host}, whose traffic {} already passes through encrypted",
                            rule.meta.id(),
                            named(gateway, server)
                        );
                        let remedy = "Remove the tls block from the rule, or terminate at the gateway.";
                        problems.push(Problem::at(&rule.meta, rule.host_line, message, remedy));
                    }
                }
            }
        }
    }
    problems
}

/// GW17: hosts that the Gateway does not serve.
pub(crate) fn host_not_served(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    let mut problems = Vec::new();
    for routes in mesh.virtual_services.iter().filter(|routes| !routes.is_for_mesh()) {
        let gateways: Vec<&Gateway> = mesh
            .gateways
            .iter()
            .filter(|gateway| routes.binds(&gateway.meta.namespace, &gateway.meta.name))
            .collect();
        let uncovered = names(
            routes
                .hosts
                .iter()
                .filter(|host| {
                    !gateways
                        .iter()
                        .flat_map(|gateway| &gateway.servers)
                        .any(|server| server.hosts.iter().any(|own| overlap(own, host)))
                })
                .cloned(),
        );
        if !gateways.is_empty() && !uncovered.is_empty() {
            let message = format!(
                "{} routes {uncovered}, which no server of {} serves",
                routes.meta.id(),
                names(gateways.iter().map(|gateway| gateway.meta.id()))
            );
            problems.push(Problem::at(
                &routes.meta,
                routes.meta.line,
                message,
                "Add the host to the Gateway, or correct it here.",
            ));
        }
    }
    problems
}

/// GW18: sidecars send to an egress gateway, which they reach in plaintext unless both sides say ISTIO_MUTUAL.
pub(crate) fn plaintext_to_egress(survey: &Survey<'_>) -> Vec<Problem> {
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
                let yaml = crate::lint::contradictions::destination_rule_yaml(
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
