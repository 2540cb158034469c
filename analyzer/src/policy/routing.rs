//! VirtualServices: the routes by which a client reaches a host.

use std::net::IpAddr;

use flow::Class;
use ipnet::IpNet;

use crate::mesh::meta::selects;
use crate::mesh::pod::Pod;
use crate::mesh::service::Protocol;
use crate::mesh::virtual_service::{Match, Route, RouteKind, VirtualService};
use crate::mesh::{Behind, Mesh};
use crate::policy::destination_rule::Acting;
use crate::policy::gateway::configures;
use crate::policy::inbound::ALL;
use crate::policy::visibility::{self, full_name};
use crate::report::PartyKind;

/// Returns the subsets to which the routes lead by which the client may reach this endpoint, each once: an absent one stands for the
/// host as a whole. Empty when there is no such route.
///
/// A sidecar takes the routes of the VirtualService for the host, else those by which other hosts lead here, as they do to
/// an egress gateway. A gateway takes the routes that are bound to it.
pub(super) fn subsets(
    mesh: &Mesh,
    pod: &Pod,
    behind: &Behind<'_>,
    acting: Option<&Acting<'_>>,
) -> Vec<Option<String>> {
    let gateway = pod.proxy == PartyKind::Gateway;
    let known = |service: &&VirtualService| knows(mesh, pod, service);
    let services: Vec<&VirtualService> = mesh.routes_to(&behind.host.host).filter(known).collect();
    // The host itself is nearer than a pattern; of equals the oldest counts.
    let nearest = |service: &VirtualService| {
        let hosts = service.hosts.iter().map(|host| full(mesh, host, service));
        let covering = hosts.filter(|host| visibility::covers(host, &behind.host.host));
        covering.map(|host| (!host.starts_with('*'), host.len())).max()
    };
    let for_host = mesh.routes_for(&behind.host.host).filter(known);
    let for_host = for_host.filter(|service| !gateway && nearest(service).is_some());
    // All that are for the host have a say on its connections, and the nearest alone on its requests.
    let mut own: Vec<&VirtualService> = for_host.collect();
    own.sort_by_key(|service| std::cmp::Reverse(nearest(service)));
    let on_requests = own.first().copied();
    own.sort_by_key(|service| (reach(mesh, service), service.meta.age()));
    let routes = match on_requests {
        Some(nearest) => reached(mesh, pod, behind, &own, Some(nearest)),
        None => services.iter().flat_map(|one| reached(mesh, pod, behind, &[*one], None)).collect(),
    };
    let subsets = routes
        .into_iter()
        .flat_map(|(service, route)| route.destinations.iter().map(move |to| (service, to)))
        .filter(|(service, to)| to.used && full(mesh, &to.host, service) == behind.host.host)
        .filter(|(_, to)| to.port.is_none_or(|port| port == behind.port.number))
        .map(|(_, to)| to.subset.clone())
        .filter(|subset| {
            let subset = subset.as_ref().and_then(|name| acting?.subset(name)).map(|(_, subset)| subset);
            match (subset, behind.endpoint) {
                (Some(subset), Some(endpoint)) => selects(&subset.labels, &endpoint.labels),
                _ => true,
            }
        });
    let mut each = Vec::new();
    for subset in subsets {
        if !each.contains(&subset) {
            each.push(subset);
        }
    }
    each
}

/// Tells whether a sidecar takes routes of a kind for a port of a protocol. At an undeclared one the application's bytes decide.
///
/// Istio: `listener.go`, `buildSidecarOutboundListeners`; `tls.go`, `buildSidecarOutboundTCPTLSFilterChainOpts`.
const fn acts_on(kind: RouteKind, protocol: Protocol) -> bool {
    match kind {
        RouteKind::Http => protocol.is_http() || matches!(protocol, Protocol::Unsupported),
        RouteKind::Tls => protocol.is_tls(),
        RouteKind::Tcp => !protocol.is_http() && !protocol.is_tls(),
    }
}

/// Returns what the application's connections to other hosts may be that routes bring to a gateway: requests in plaintext by http
/// routes, whatever the gateway's port is called, the application's TLS by tls routes. Absent where no route leads there, and for
/// what is no gateway.
///
/// Rule `outbound.egress-gateway`. Istio: the task Egress Gateways.
pub(super) fn brought(
    mesh: &Mesh,
    pod: &Pod,
    behind: &Behind<'_>,
    target: Option<&Pod>,
) -> Option<Vec<Class>> {
    if pod.proxy != PartyKind::Sidecar || target.is_none_or(|target| target.proxy != PartyKind::Gateway) {
        return None;
    }
    let services = mesh.routes_to(&behind.host.host).filter(|service| knows(mesh, pod, service));
    let routes = services.flat_map(|service| reached(mesh, pod, behind, &[service], None));
    let leads = |(service, route): &(&VirtualService, &Route)| {
        let meets = |port: Option<u16>| port.is_none_or(|port| port == behind.port.number);
        let here = |host: &str| full(mesh, host, service) == behind.host.host;
        route.destinations.iter().any(|to| to.used && meets(to.port) && here(&to.host))
    };
    let kinds: Vec<RouteKind> = routes.filter(leads).map(|(_, route)| route.kind).collect();
    let brings = |class: &Class| {
        kinds.iter().any(|kind| match kind {
            RouteKind::Http => *class == Class::Plaintext,
            RouteKind::Tls => *class != Class::Plaintext,
            RouteKind::Tcp => true,
        })
    };
    (!kinds.is_empty()).then(|| ALL.into_iter().filter(brings).collect())
}

fn full(mesh: &Mesh, host: &str, service: &VirtualService) -> String {
    full_name(host, &service.meta.namespace, &mesh.config.domain)
}

/// Tells whether a client's proxy has the routes of a VirtualService.
fn knows(mesh: &Mesh, pod: &Pod, service: &VirtualService) -> bool {
    visibility::routes_seen(mesh, service, &pod.meta.namespace)
        && visibility::routes_imported(mesh, pod, service)
        && is_for(mesh, pod, service, &service.gateways)
}

/// Tells whether what names these gateways is for a client's proxy: a sidecar is one of the mesh's.
fn is_for(mesh: &Mesh, pod: &Pod, service: &VirtualService, names: &[String]) -> bool {
    if pod.proxy != PartyKind::Gateway {
        return names.is_empty() || names.iter().any(|name| name == "mesh");
    }
    mesh.gateways.iter().any(|one| {
        let named = names.iter().any(|name| match name.split_once('/') {
            Some((namespace, name)) => *namespace == *one.meta.namespace && *name == *one.meta.name,
            None => *name == *one.meta.name && service.meta.namespace == one.meta.namespace,
        });
        named && configures(mesh, one, pod)
    })
}

/// How far a VirtualService is exported: to its own namespace, to some, or to all. Those for fewer are asked first.
///
/// Istio: `sidecar.go`, `SelectVirtualServices`.
fn reach(mesh: &Mesh, service: &VirtualService) -> u8 {
    let own = &service.export_to;
    let to = if own.is_empty() { &mesh.config.virtual_service_export_to } else { own };
    let lists = |name: &str| to.iter().any(|to| to == name);
    match (to.is_empty() || lists("*"), lists(".") || lists(&service.meta.namespace)) {
        (true, _) => 2,
        (false, true) => 0,
        (false, false) => 1,
    }
}

/// The routes of VirtualServices that a client's connections reach, in order: of one kind the first that takes all that is left
/// ends the search. Those of the host itself, for whose requests the nearest counts alone, are asked by its port; what other
/// hosts' ports are is not known here.
///
/// Istio: `route.go`, `BuildHTTPRoutesForVirtualService`; `tls.go`, `buildSidecarOutboundTLSFilterChainOpts` and
/// `buildSidecarOutboundTCPFilterChainOpts`.
fn reached<'a>(
    mesh: &Mesh,
    pod: &Pod,
    behind: &Behind<'_>,
    services: &[&'a VirtualService],
    nearest: Option<&VirtualService>,
) -> Vec<(&'a VirtualService, &'a Route)> {
    let own = nearest.is_some();
    let fits = |service: &VirtualService, one: &Match| {
        (one.gateways.is_empty() || is_for(mesh, pod, service, &one.gateways))
            && one.is_for(&pod.meta.namespace, &pod.meta.labels)
    };
    // A destination with a port of its own may be reached from any.
    let dialled = |route: &Route, one: &Match| {
        let turned = route.destinations.iter().any(|to| to.port == Some(behind.port.number));
        !own || turned || (one.is_on(behind.port.number) && is_in(one, behind))
    };
    let ends = |route: &Route, one: &Match| {
        let port = one.port.is_none_or(|port| own && port == behind.port.number);
        port && match route.kind {
            RouteKind::Http => !one.of_requests,
            RouteKind::Tcp => one.subnets.is_empty(),
            RouteKind::Tls => {
                one.subnets.is_empty()
                    && own
                    && one.sni_hosts.iter().any(|host| visibility::covers(host, &behind.host.host))
            }
        }
    };
    let counts = |kind: RouteKind, service: &VirtualService| {
        kind != RouteKind::Http || nearest.is_none_or(|nearest| std::ptr::eq(nearest, service))
    };
    let mut reached = Vec::new();
    for kind in RouteKind::ALL.iter().copied() {
        // The port of another host, whose routes lead here, may be of another protocol.
        if own && !acts_on(kind, behind.port.protocol) {
            continue;
        }
        let routes = services.iter().copied().filter(|service| counts(kind, service)).flat_map(|service| {
            service.routes.iter().filter(|route| route.kind == kind).map(move |route| (service, route))
        });
        for (service, route) in routes {
            if !route.takes(|one| fits(service, one) && dialled(route, one)) {
                continue;
            }
            reached.push((service, route));
            if route.takes(|one| fits(service, one) && ends(route, one)) {
                break;
            }
        }
    }
    reached
}

/// Tells whether an address of a host is in one of the ranges that a match names.
fn is_in(one: &Match, behind: &Behind<'_>) -> bool {
    let holds = |ip: IpAddr| one.subnets.iter().any(|range| range.contains(&ip));
    // Clients dial an endpoint where the host has no address of its own.
    let endpoint = || behind.endpoint.filter(|_| behind.host.addresses.is_empty());
    one.subnets.is_empty()
        || behind.host.addresses.iter().map(IpNet::addr).any(holds)
        || endpoint().is_some_and(|endpoint| holds(endpoint.ip))
}
