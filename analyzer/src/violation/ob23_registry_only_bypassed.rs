//! OB23: traffic leaves a REGISTRY_ONLY workload to a destination that it does not know: its proxy was bypassed.

use flow::Security;

use crate::policy::outbound::OutboundKind;
use crate::policy::visibility;
use crate::report::{PartyKind, Severity};
use crate::violation::{Advice, Breach, Case, RestsOn, Rule, remedy};

pub(crate) const RULE: Rule = Rule {
    id: "OB23",
    severity: Severity::High,
    title: "REGISTRY_ONLY is bypassed",
    source: "Istio: MeshConfig and Sidecar, outboundTrafficPolicy.mode REGISTRY_ONLY",
    page: include_str!("../../../docs/findings/OB23.md"),
    rests_on: RestsOn::Reading,
    breach,
    advice,
};

/// istiod's port for proxies: the proxy's own connection, which no policy binds, looks no different from the application's.
const XDS: u16 = 15012;

fn breach(case: &Case<'_>) -> Option<Breach> {
    if case.client.kind != PartyKind::Sidecar
        || case.flow.server.port == XDS
        || !case.knows_direction()
        || matches!(case.flow.security, Security::Unknown(_))
    {
        return None;
    }
    let stranger = case.server.kind == PartyKind::Unknown && !case.may_be_declared();
    let why = match &case.expectation.client {
        // A node's address may stand for the API server, or for a Service's port on the node.
        OutboundKind::Blocked { .. }
            if stranger || !matches!(case.server.kind, PartyKind::Unknown | PartyKind::Node) =>
        {
            "its proxy should have dropped it"
        }
        OutboundKind::NotIntercepted(why) if stranger && is_registry_only(case) => why,
        OutboundKind::Blocked { .. }
        | OutboundKind::NotIntercepted(_)
        | OutboundKind::NoProxy
        | OutboundKind::Passthrough { .. }
        | OutboundKind::Rule
        | OutboundKind::Auto
        | OutboundKind::Hbone
        | OutboundKind::AmbientPlain => return None,
    };
    let what = format!("leaves a REGISTRY_ONLY workload to a destination that it does not know: {why}");
    Some(Breach::new(None, what))
}

fn is_registry_only(case: &Case<'_>) -> bool {
    let pod = case.mesh.client_at(case.flow.client.ip);
    let own =
        pod.and_then(|pod| visibility::sidecar_for(case.mesh, pod)).and_then(|sidecar| sidecar.registry_only);
    own.unwrap_or(case.mesh.config.registry_only)
}

fn advice(case: &Case<'_>, _: &Breach) -> Advice {
    Advice::new(
        "If the destination is meant, declare it in a ServiceEntry. Else find what leads around the proxy: excluded \
         ports or ranges, a process of the proxy's user, a pod without redirection.",
        remedy::intercept(case),
    )
}
