//! VirtualServices: the routes by which a client reaches a host.

use flow::Class;

use crate::mesh::meta::selects;
use crate::mesh::pod::Pod;
use crate::mesh::service::Protocol;
use crate::mesh::virtual_service::{Route, RouteKind, VirtualService};
use crate::mesh::{Behind, Mesh};
use crate::policy::destination_rule::Acting;
use crate::policy::gateway::configures;
use crate::policy::inbound::ALL;
use crate::policy::visibility::{self, full_name};
use crate::report::PartyKind;

/// Returns the subset that every route by which the client may reach this endpoint leads to; absent when there is no such
/// route, or they differ.
///
/// A sidecar takes the routes of the VirtualService for the host, else those by which other hosts lead here, as they do to
/// an egress gateway. A gateway takes the routes that are bound to it.
pub(super) fn subset(
    mesh: &Mesh,
    pod: &Pod,
    behind: &Behind<'_>,
    acting: Option<&Acting<'_>>,
) -> Option<String> {
    let gateway = pod.proxy == PartyKind::Gateway;
    let known = |service: &&VirtualService| knows(mesh, pod, service);
    let mut services: Vec<&VirtualService> = mesh.routes_to(&behind.host.host).filter(known).collect();
    // The host itself is nearer than a pattern; of equals the oldest counts.
    let nearest = |service: &VirtualService| {
        let hosts = service.hosts.iter().map(|host| full(mesh, host, service));
        let covering = hosts.filter(|host| visibility::covers(host, &behind.host.host));
        covering.map(|host| (!host.starts_with('*'), host.len())).max()
    };
    let for_host = mesh.routes_for(&behind.host.host).rev().filter(known);
    let for_host = for_host.filter(|service| !gateway && nearest(service).is_some());
    let own = for_host.max_by_key(|service| nearest(service));
    if let Some(service) = own {
        services = vec![service];
    }
    let mut subsets = services
        .iter()
        .flat_map(|service| leading(mesh, pod, behind, service))
        // The port of another host, whose routes lead here, may be of another protocol.
        .filter(|(_, route)| own.is_none() || acts_on(route.kind, behind.port.protocol))
        .flat_map(|(service, route)| route.destinations.iter().map(move |to| (service, to)))
        .filter(|(service, to)| full(mesh, &to.host, service) == behind.host.host)
        .filter(|(_, to)| to.port.is_none_or(|port| port == behind.port.number))
        .map(|(_, to)| to.subset.clone())
        .filter(|subset| {
            let subset = subset.as_ref().and_then(|name| acting?.subset(name)).map(|(_, subset)| subset);
            match (subset, behind.endpoint) {
                (Some(subset), Some(endpoint)) => selects(&subset.labels, &endpoint.labels),
                _ => true,
            }
        });
    let first = subsets.next()??;
    subsets.all(|subset| subset.as_deref() == Some(&first)).then_some(first)
}

/// Tells whether a sidecar takes routes of a kind for a port of a protocol. At an undeclared one the application's bytes decide.
///
/// Istio: `listener.go`, `buildSidecarOutboundListeners`; `tls.go`, `buildSidecarOutboundTCPTLSFilterChainOpts`.
const fn acts_on(kind: RouteKind, protocol: Protocol) -> bool {
    match kind {
        RouteKind::Http => protocol.is_http() || matches!(protocol, Protocol::Unsupported),
        RouteKind::Tls => protocol.is_tls(),
        RouteKind::Tcp => !protocol.is_http(),
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
    let routes = services.flat_map(|service| leading(mesh, pod, behind, service));
    let kinds: Vec<RouteKind> = routes.map(|(_, route)| route.kind).collect();
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

/// The routes of a VirtualService that lead to a host by its port, for a client.
fn leading<'a>(
    mesh: &Mesh,
    pod: &Pod,
    behind: &Behind<'_>,
    service: &'a VirtualService,
) -> impl Iterator<Item = (&'a VirtualService, &'a Route)> {
    service
        .routes
        .iter()
        .filter(|route| route.gateways.is_empty() || is_for(mesh, pod, service, &route.gateways))
        .filter(|route| route.is_for(&pod.meta.namespace, &pod.meta.labels))
        .filter(|route| {
            route.destinations.iter().any(|to| {
                to.port.is_none_or(|port| port == behind.port.number)
                    && full(mesh, &to.host, service) == behind.host.host
            })
        })
        .map(move |route| (service, route))
}
