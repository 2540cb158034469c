//! OB18: traffic straight to an external host that is routed through an egress gateway.

use flow::Security;

use crate::mesh::virtual_service::VirtualService;
use crate::mesh::{Behind, Mesh};
use crate::policy::Trace;
use crate::policy::visibility::{covers, full_name, routes_seen};
use crate::report::{PartyKind, Severity};
use crate::violation::{Advice, Breach, Case, RestsOn, Rule, remedy};

pub(crate) const RULE: Rule = Rule {
    id: "OB18",
    severity: Severity::Medium,
    title: "The egress gateway is bypassed",
    source: "Istio: Egress Gateways: Istio itself does not force traffic through the gateway",
    page: include_str!("../../../docs/findings/OB18.md"),
    rests_on: RestsOn::Reading,
    breach,
    advice,
};

fn breach(case: &Case<'_>) -> Option<Breach> {
    if !case.expectation.external
        || matches!(case.flow.security, Security::Unknown(_))
        || case.client.kind == PartyKind::Gateway
        || case.client.namespace.is_none()
        || !case.knows_direction()
    {
        return None;
    }
    let to = case.flow.server;
    let sni = case.tls().and_then(|tls| tls.sni.as_deref());
    let by_address = !case.mesh.behind(to.ip, to.port).is_empty();
    case.mesh.meant(to.ip, to.port, sni).iter().find_map(|meant| {
        let (routes, line, gateway) = detour(case, meant)?;
        let mut trace = Trace::default();
        let effect = format!("{} is reached through {gateway}", meant.host.host);
        trace.cite("outbound.egress-gateway", &routes.meta, Some("spec"), line, effect);
        let what = format!(
            "straight to {}, which {} routes through the egress gateway {gateway}",
            meant.host.host,
            routes.meta.id()
        );
        // A name in the ClientHello is what the client says.
        Some(Breach::new(Some(routes.meta.id()), what).citing(trace.into_citations()).doubtful(!by_address))
    })
}

/// Finds the route by which the mesh's clients are sent to a gateway for this host, and that gateway's host.
///
/// Rule `outbound.egress-gateway`. Istio: VirtualService, `gateways: [mesh]`.
fn detour<'a>(case: &Case<'a>, meant: &Behind<'_>) -> Option<(&'a VirtualService, u32, String)> {
    let mesh = case.mesh;
    let namespace = case.client.namespace.as_deref()?;
    for routes in mesh.routes_for(&meant.host.host).filter(|routes| {
        routes.is_for_mesh()
            && routes_seen(mesh, routes, namespace)
            && routes.hosts.iter().any(|host| covers(host, &meant.host.host))
    }) {
        for route in &routes.routes {
            if !route.takes(|one| one.is_at(|name| name == "mesh") && one.is_on(meant.port.number)) {
                continue;
            }
            let gateway = route
                .destinations
                .iter()
                .map(|to| full_name(&to.host, &routes.meta.namespace, &mesh.config.domain))
                .find(|host| is_gateway(mesh, host));
            if let Some(gateway) = gateway {
                return Some((routes, route.line, gateway));
            }
        }
    }
    None
}

fn is_gateway(mesh: &Mesh, host: &str) -> bool {
    mesh.hosts_named(host)
        .flat_map(|known| &known.endpoints)
        .any(|endpoint| mesh.pod_of(endpoint).is_some_and(|pod| pod.proxy == PartyKind::Gateway))
}

fn advice(case: &Case<'_>, _: &Breach) -> Advice {
    Advice::new(
        "Let the client's traffic pass its sidecar (no excluded ports or ranges, a sidecar at all), and let a \
         NetworkPolicy allow the way out to the gateway alone.",
        remedy::intercept(case),
    )
}
