//! Which clients are led through a waypoint: what leaves them is then HBONE to it, whatever stands behind it.

use std::net::IpAddr;

use crate::mesh::pod::Pod;
use crate::mesh::waypoint::Waypoint;
use crate::mesh::{Behind, HostService, Mesh};
use crate::policy::Trace;
use crate::policy::outbound::{Outbound, hbone};
use crate::report::PartyKind;

const RULE: &str = "ambient.waypoint";

/// By the label of the same name a Service, or its namespace, has gateways go through its waypoint too.
const INGRESS: &str = "istio.io/ingress-use-waypoint";

/// Returns the waypoint that ztunnel leads an ambient client through that is seen, or asked about, on its way to this
/// destination; absent where the client may well reach it directly. A Service's waypoint is for those that dial the Service, a
/// workload's for those that dial the workload's own address: one of the wire's ends is told by both ways.
///
/// Rule `ambient.waypoint`. ztunnel: `src/proxy/outbound.rs`, `build_request`.
pub(super) fn of_ambient_client<'a>(
    mesh: &'a Mesh,
    target: Option<&Pod>,
    ip: IpAddr,
    port: u16,
    trace: &mut Trace,
) -> Option<&'a Waypoint> {
    let behind = mesh.behind(ip, port);
    let dialled = |found: &&Behind<'_>| found.endpoint.is_none() && is_address(found.host, ip);
    if let Some(service) = behind.iter().find(dialled) {
        let waypoint = mesh.waypoint_of_host(service.host)?;
        cite(mesh, service.host, waypoint, trace);
        return Some(waypoint);
    }
    let pod = target?;
    let services: Vec<&HostService> = behind
        .iter()
        .filter(|found| found.endpoint.is_some() && !found.host.addresses.is_empty())
        .map(|found| found.host)
        .collect();
    for host in &services {
        if let Some(waypoint) = mesh.waypoint_of_host(host) {
            cite(mesh, host, waypoint, trace);
        }
    }
    let own = mesh.waypoint_of_workload(pod)?;
    let effect = format_args!("who dials the pod itself is led through the waypoint {}", own.meta.id());
    trace.cite(RULE, &pod.meta, Some("metadata.labels"), pod.meta.line, effect);
    services.iter().all(|host| mesh.waypoint_of_host(host).is_some()).then_some(own)
}

/// Returns the waypoint that a gateway's or a sidecar's proxy sends to in place of any of these hosts' endpoints; absent where
/// it sends to the endpoints of one of them. Gateways do so where the host, else its namespace, asks for it, sidecars where
/// istiod has `ENABLE_SIDECAR_WAYPOINT_ROUTING`, and neither for a host without a virtual address.
///
/// Rule `ambient.waypoint`. Istio: `pilot/pkg/xds/endpoints/endpoint_builder.go`, `findServiceWaypoint`.
pub(super) fn of_proxy<'a>(
    mesh: &'a Mesh,
    client: &Pod,
    known: &[Behind<'_>],
    trace: &mut Trace,
) -> Option<&'a Waypoint> {
    let istiod = &mesh.control_plane;
    let leads = |host: &HostService| match client.proxy {
        PartyKind::Gateway => istiod.leads_gateways_to_waypoints() && asks_gateways(mesh, host),
        PartyKind::Sidecar => istiod.leads_sidecars_to_waypoints && !istiod.without_ambient,
        PartyKind::Waypoint
        | PartyKind::Ambient
        | PartyKind::NoProxy
        | PartyKind::Node
        | PartyKind::ServiceAddress
        | PartyKind::Declared
        | PartyKind::Unknown => false,
    };
    let before = |found: &Behind<'_>| {
        let host = found.host;
        let by_address = !host.addresses.is_empty() && !host.original_destination && !mesh.is_by_dns(host);
        mesh.waypoint_of_host(host).filter(|_| by_address && leads(host))
    };
    let first = known.first()?;
    let waypoint = before(first)?;
    if !known.iter().all(|found| before(found).is_some()) {
        return None;
    }
    cite(mesh, first.host, waypoint, trace);
    Some(waypoint)
}

/// What leaves a client that is led through a waypoint.
pub(super) fn outbound() -> Outbound {
    hbone(None, &mut Trace::unheard())
}

/// Tells whether a host, else its namespace (since Istio 1.25), has gateways go through its waypoint.
///
/// Istio: `pilot/pkg/serviceregistry/ambient/sidecar_interop.go`, `ingressUseWaypoint`; pull requests 52985 and 54483.
fn asks_gateways(mesh: &Mesh, host: &HostService) -> bool {
    let own = mesh.declaration(host).and_then(|meta| meta.labels.get(INGRESS));
    let namespace = mesh.namespaces.get(&host.namespace).and_then(|(_, labels)| labels.get(INGRESS));
    let namespace = namespace.filter(|_| mesh.control_plane.version.asks_namespaces_for_waypoints());
    own.or(namespace).is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

/// Tells whether an address is one that a host has for itself, rather than in a range.
fn is_address(host: &HostService, ip: IpAddr) -> bool {
    host.addresses.iter().any(|own| own.addr() == ip && own.prefix_len() == own.max_prefix_len())
}

fn cite(mesh: &Mesh, host: &HostService, waypoint: &Waypoint, trace: &mut Trace) {
    let Some(declaration) = mesh.declaration(host) else { return };
    let effect = format_args!(
        "who dials {} is led through the waypoint {}: HBONE to it, and from it HBONE, or the application's bytes, to the endpoint",
        host.host,
        waypoint.meta.id()
    );
    trace.cite(RULE, declaration, Some("metadata.labels"), declaration.line, effect);
}
