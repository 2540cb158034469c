//! Gateways: their servers, the pods that they configure, the routes bound to them.

use crate::lint::Problem;
use crate::lint::survey::Survey;
use crate::mesh::Mesh;
use crate::mesh::gateway::{Gateway, Server, ServerTls, ServerTlsMode};
use crate::mesh::meta::selects;
use crate::mesh::pod::Pod;
use crate::mesh::virtual_service::{Route, RouteKind, VirtualService};
use crate::policy::visibility::covers;
use crate::report::PartyKind;

/// Checks each server of each Gateway by itself.
pub(crate) fn each<'a>(
    survey: &Survey<'a>,
    broken: impl Fn(&'a Gateway, &'a Server) -> Option<Problem>,
) -> Vec<Problem> {
    survey
        .mesh
        .gateways
        .iter()
        .flat_map(|gateway| {
            gateway.servers.iter().filter_map(|server| broken(gateway, server)).collect::<Vec<_>>()
        })
        .collect()
}

/// Checks the tls block of each server that has one and whose protocol takes one.
pub(crate) fn each_tls<'a>(
    survey: &Survey<'a>,
    broken: impl Fn(&'a Gateway, &'a Server, &'a ServerTls) -> Option<Problem>,
) -> Vec<Problem> {
    each(survey, |gateway, server| {
        broken(gateway, server, server.tls.as_ref().filter(|_| server.protocol.is_tls())?)
    })
}

/// Names a server as messages do.
pub(crate) fn named(gateway: &Gateway, server: &Server) -> String {
    let name = server.port_name.as_deref().unwrap_or("unnamed");
    format!("server {name} ({} {}) of {}", server.protocol_text, server.port, gateway.meta.id())
}

/// Tells whether a server ends TLS itself.
pub(crate) fn terminates(server: &Server) -> bool {
    server.protocol.is_tls()
        && server.tls.as_ref().is_some_and(|tls| match tls.mode {
            ServerTlsMode::Simple
            | ServerTlsMode::Mutual
            | ServerTlsMode::OptionalMutual
            | ServerTlsMode::IstioMutual => true,
            ServerTlsMode::Passthrough | ServerTlsMode::AutoPassthrough => false,
        })
}

/// Tells whether a Gateway came from the Gateway API, where istiod keeps pods, Service and redirects itself.
pub(crate) fn from_gateway_api(gateway: &Gateway) -> bool {
    gateway.selector.contains_key("gateway.networking.k8s.io/gateway-name")
}

pub(crate) fn tls_yaml(mode: &str) -> String {
    format!("tls:\n  mode: {mode}\n  credentialName: NAME-OF-THE-SECRET\n")
}

/// Tells whether a later server cannot stand beside an earlier one on the same port.
pub(crate) fn clash(earlier: &Server, later: &Server) -> bool {
    match (earlier.protocol.is_tls(), later.protocol.is_tls()) {
        (false, false) => earlier.protocol.is_http() != later.protocol.is_http(),
        (true, true) => earlier.hosts.iter().any(|host| later.hosts.contains(host)),
        (true, false) | (false, true) => false,
    }
}

/// Suites without authenticated encryption.
pub(crate) fn is_legacy(suite: &str) -> bool {
    !["GCM", "CHACHA20", "CCM"].iter().any(|safe| suite.to_ascii_uppercase().contains(safe))
}

/// The gateway pods that a Gateway configures.
pub(crate) fn pods<'a>(mesh: &'a Mesh, gateway: &'a Gateway) -> impl Iterator<Item = &'a Pod> {
    mesh.pods.iter().filter(|pod| pod.proxy == PartyKind::Gateway && configures(gateway, pod))
}

/// The ports of the Services in front of a pod.
pub(crate) fn service_ports<'a>(mesh: &'a Mesh, pod: &'a Pod) -> impl Iterator<Item = u16> + 'a {
    mesh.hosts
        .iter()
        .flat_map(|host| &host.endpoints)
        .filter(|endpoint| pod.ips.contains(&endpoint.ip))
        .flat_map(|endpoint| endpoint.ports.keys().copied())
}

/// Tells whether two Gateways configure the same pods; where no pod is known, the selectors tell.
pub(crate) fn together(mesh: &Mesh, a: &Gateway, b: &Gateway) -> bool {
    std::ptr::eq(a, b)
        || a.selector == b.selector && (!from_gateway_api(a) || a.meta.namespace == b.meta.namespace)
        || pods(mesh, a).any(|pod| configures(b, pod))
}

/// Tells whether two host patterns have a name in common.
pub(crate) fn overlap(a: &str, b: &str) -> bool {
    covers(a, b) || covers(b, a)
}

/// Tells whether a Gateway's selector chooses the pod; one of the Gateway API only in its own namespace.
pub(crate) fn configures(gateway: &Gateway, pod: &Pod) -> bool {
    selects(&gateway.selector, &pod.meta.labels)
        && (!from_gateway_api(gateway) || gateway.meta.namespace == pod.meta.namespace)
}

/// Pairs each Gateway with the VirtualServices bound to it.
pub(crate) fn bindings(mesh: &Mesh) -> impl Iterator<Item = (&Gateway, &VirtualService)> {
    mesh.gateways.iter().flat_map(move |gateway| {
        mesh.virtual_services
            .iter()
            .filter(|routes| routes.binds(&gateway.meta.namespace, &gateway.meta.name))
            .map(move |routes| (gateway, routes))
    })
}

/// Tells whether a route can be meant for a server: its hosts, port and gateway fit.
pub(crate) fn meant_for(routes: &VirtualService, route: &Route, gateway: &Gateway, server: &Server) -> bool {
    let hosts = if route.sni_hosts.is_empty() { &routes.hosts } else { &route.sni_hosts };
    let gateway_fits = route.gateways.is_empty()
        || route.gateways.iter().any(|name| name.rsplit('/').next() == Some(&*gateway.meta.name));
    let port_fits = route.ports.is_empty() || route.ports.contains(&server.port);
    gateway_fits && port_fits && server.hosts.iter().any(|own| hosts.iter().any(|host| overlap(own, host)))
}

pub(crate) fn passes_through(server: &Server) -> bool {
    server.protocol.is_tls() && server.tls.as_ref().is_some_and(|tls| tls.mode == ServerTlsMode::Passthrough)
}

/// Finds routes of a kind that meet a server which cannot use them, and no other server of the Gateway that can.
pub(crate) fn misfits(
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
