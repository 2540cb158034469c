//! Gateways: their servers, the pods that they configure, the routes bound to them.

use crate::lint::Problem;
use crate::lint::survey::Survey;
use crate::lint::survey::assumed::in_front;
use crate::mesh::gateway::{Gateway, Server, ServerTls, ServerTlsMode};
use crate::mesh::meta::{Labels, selects};
use crate::mesh::pod::Pod;
use crate::mesh::service::Service;
use crate::mesh::virtual_service::{Route, RouteKind, VirtualService};
use crate::mesh::{Mesh, Owner};
use crate::patch::{self, Patch};
use crate::policy::gateway::{configures, listens_on};
use crate::policy::visibility::covers;
use std::collections::{BTreeSet, HashSet};

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
    gateway.meta.version.starts_with("gateway.networking.")
}

/// Returns the place of a field of a server in its Gateway: `/tls`, `/hosts` and the like.
pub(crate) fn at(server: &Server, field: &str) -> String {
    format!("/spec/servers/{}{field}", server.place)
}

/// Takes servers out of a Gateway; one without any left goes whole.
pub(crate) fn without(gateway: &Gateway, gone: &[&Server]) -> String {
    if gone.len() >= gateway.servers.len() {
        return patch::delete(&gateway.meta);
    }
    let list = if from_gateway_api(gateway) { "listeners" } else { "servers" };
    let mut places: Vec<usize> = gone.iter().map(|server| server.place).collect();
    // From the end, so that the places before stay what they are.
    places.sort_unstable_by(|a, b| b.cmp(a));
    places
        .iter()
        .fold(Patch::of(&gateway.meta), |patch, place| patch.remove(&format!("/spec/{list}/{place}")))
        .yaml()
}

/// A name for the Secret with the certificate of a server's hosts.
pub(crate) fn secret(server: &Server) -> String {
    let host = server.hosts.first().map_or("", |host| host.trim_start_matches("*."));
    if host.is_empty() || host == "*" {
        "gateway-tls".to_owned()
    } else {
        format!("{}-tls", host.replace('.', "-"))
    }
}

/// The namespace of a Gateway's pods, where its Secrets are looked for; its own where none is declared.
pub(crate) fn namespace<'a>(survey: &Survey<'a>, gateway: &'a Gateway) -> &'a str {
    pods(survey, gateway).next().map_or(&*gateway.meta.namespace, |pod| &*pod.meta.namespace)
}

/// Suites without authenticated encryption. What is no suite's name istiod leaves out.
pub(crate) fn is_legacy(suite: &str) -> bool {
    let suite = suite.to_ascii_uppercase();
    let has = |parts: &[&str]| parts.iter().any(|part| suite.contains(part));
    !has(&["GCM", "CHACHA20", "CCM"]) && has(&["SHA", "MD5", "DES", "RC4", "CBC", "NULL", "EXP"])
}

/// The gateway pods that a Gateway configures.
pub(crate) fn pods<'s, 'a>(
    survey: &'s Survey<'a>,
    gateway: &'s Gateway,
) -> impl Iterator<Item = &'a Pod> + use<'s, 'a> {
    let mesh = survey.mesh;
    survey.gateway_pods.iter().copied().filter(move |pod| configures(mesh, gateway, pod))
}

/// The Services in front of a pod, the oldest first: those that lead to its address, or where it has none yet, to its labels.
pub(crate) fn services<'a>(mesh: &'a Mesh, pod: &'a Pod) -> Vec<&'a Service> {
    if pod.ips.is_empty() {
        return selecting(mesh, &pod.meta.labels)
            .filter(|service| service.meta.namespace == pod.meta.namespace)
            .collect();
    }
    mesh.hosts_of(pod)
        .filter_map(|host| match host.owner {
            Owner::Service(index) => mesh.services.get(index),
            Owner::Entry(_) => None,
        })
        .collect()
}

fn selecting<'a>(mesh: &'a Mesh, labels: &'a Labels) -> impl Iterator<Item = &'a Service> {
    let selector = |service: &'a Service| service.selector.as_ref().filter(|selector| !selector.is_empty());
    mesh.services.iter().filter(move |&service| selector(service).is_some_and(|own| selects(own, labels)))
}

/// The Services in front of the pods that a Gateway configures. Where no pod is declared, those whose own selectors have all
/// the labels that it selects.
pub(crate) fn fronts<'a>(survey: &Survey<'a>, gateway: &'a Gateway) -> Vec<&'a Service> {
    let mesh = survey.mesh;
    if mesh.pods.is_empty() {
        return mesh.services.iter().filter(|service| in_front(gateway, service)).collect();
    }
    let mut found: Vec<&Service> = pods(survey, gateway).flat_map(|pod| services(mesh, pod)).collect();
    found.dedup_by(|a, b| std::ptr::eq(*a, *b));
    found
}

/// The ports that a server is opened on at the pods of its Gateway; where none is known, the number itself.
pub(crate) fn opened(survey: &Survey<'_>, gateway: &Gateway, server: &Server) -> BTreeSet<u16> {
    let pods = pods(survey, gateway);
    let ports: BTreeSet<u16> =
        pods.flat_map(|pod| listens_on(survey.mesh, gateway, pod, server.port)).collect();
    if ports.is_empty() { BTreeSet::from([server.port]) } else { ports }
}

/// Tells whether two Gateways configure the same pods; where no pod is known, the selectors tell.
pub(crate) fn together(survey: &Survey<'_>, a: &Gateway, b: &Gateway) -> bool {
    let within = || {
        let plain = |gateway: &Gateway| gateway.services.is_empty() && !from_gateway_api(gateway);
        let narrower = selects(&a.selector, &b.selector) || selects(&b.selector, &a.selector);
        survey.gateway_pods.is_empty() && plain(a) && plain(b) && narrower
    };
    std::ptr::eq(a, b)
        || (a.selector == b.selector
            && a.services == b.services
            && (!from_gateway_api(a) || a.meta.namespace == b.meta.namespace))
        || within()
        || survey
            .gateway_pods
            .iter()
            .any(|pod| configures(survey.mesh, a, pod) && configures(survey.mesh, b, pod))
}

/// Tells whether two host patterns have a name in common.
pub(crate) fn overlap(a: &str, b: &str) -> bool {
    covers(a, b) || covers(b, a)
}

/// Pairs each Gateway with the VirtualServices bound to it.
pub(crate) fn bindings(mesh: &Mesh) -> impl Iterator<Item = (&Gateway, &VirtualService)> {
    mesh.gateways.iter().filter(|gateway| !from_gateway_api(gateway)).flat_map(move |gateway| {
        mesh.virtual_services
            .iter()
            .filter(|routes| routes.binds(&gateway.meta.namespace, &gateway.meta.name))
            .map(move |routes| (gateway, routes))
    })
}

/// Tells whether a route can be meant for a server: its hosts, port and gateway fit.
pub(crate) fn meant_for(routes: &VirtualService, route: &Route, gateway: &Gateway, server: &Server) -> bool {
    let named = |name: &str| name.rsplit('/').next() == Some(&*gateway.meta.name);
    let serves = |hosts: &[String]| {
        let mut own = server.hosts_for(&routes.meta.namespace);
        own.any(|own| hosts.iter().any(|host| overlap(own, host)))
    };
    let by_host = serves(&routes.hosts);
    route.takes(|one| {
        let host = if one.sni_hosts.is_empty() { by_host } else { serves(&one.sni_hosts) };
        host && one.is_at(named) && one.is_on(server.port)
    }) && (by_host || !route.matches.is_empty())
}

pub(crate) fn passes_through(server: &Server) -> bool {
    server.protocol.is_tls() && server.tls.as_ref().is_some_and(|tls| tls.mode == ServerTlsMode::Passthrough)
}

/// A VirtualService with routes of a kind that a server it is bound to cannot use.
pub(crate) struct Misfit<'a> {
    pub(crate) gateway: &'a Gateway,
    pub(crate) server: &'a Server,
    pub(crate) routes: &'a VirtualService,
    /// The routes that do not fit.
    pub(crate) wrong: Vec<&'a Route>,
    /// Whether it has routes that fit the server as well.
    pub(crate) has_fitting: bool,
    /// Whether something else uses the routes: sidecars, or a server that can.
    pub(crate) used: bool,
}

/// Finds routes of a kind that meet a server which cannot use them, and no other server of the Gateway that can. A
/// VirtualService is reported once, unless nothing is amiss: the routes have another use, and the server has its own.
pub(crate) fn misfits<'a>(
    mesh: &'a Mesh,
    kind: RouteKind,
    wrong: impl Fn(&Server) -> bool,
    right: impl Fn(&Server) -> bool,
    fitting: impl Fn(&Server, RouteKind) -> bool,
) -> Vec<Misfit<'a>> {
    let mut found: Vec<Misfit<'a>> = Vec::new();
    let mut uses = HashSet::new();
    for (gateway, routes) in bindings(mesh) {
        let meant = |route: &'a Route| {
            gateway.servers.iter().filter(move |server| meant_for(routes, route, gateway, server))
        };
        let mut own = routes.routes.iter().filter(|route| route.kind == kind);
        if own.clone().any(|route| meant(route).any(&right)) {
            uses.insert(std::ptr::from_ref(routes));
            continue;
        }
        let Some(server) = own.find_map(|route| meant(route).find(|server| wrong(server))) else { continue };
        if found.iter().any(|misfit| std::ptr::eq(misfit.routes, routes)) {
            continue;
        }
        let has_fitting = routes
            .routes
            .iter()
            .any(|route| fitting(server, route.kind) && meant_for(routes, route, gateway, server));
        let wrong = routes.routes.iter().filter(|route| route.kind == kind).collect();
        found.push(Misfit { gateway, server, routes, wrong, has_fitting, used: routes.is_for_mesh() });
    }
    for misfit in &mut found {
        misfit.used |= uses.contains(&std::ptr::from_ref(misfit.routes));
    }
    found.retain(|misfit| !(misfit.used && misfit.has_fitting));
    found
}
