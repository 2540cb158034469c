//! DestinationRules as people wrote them: their tls blocks, their hosts, who uses them.

use crate::lint::Problem;
use crate::lint::survey::Survey;
use crate::mesh::Mesh;
use crate::mesh::destination_rule::{DestinationRule, TlsSettings, TrafficPolicy};
use crate::policy::Trace;
use crate::policy::destination_rule::{acting, full_host};
use crate::policy::visibility::covers;
use crate::report::{ClientTls, PartyKind};

/// The rules that people wrote: BackendTLSPolicies stand beside them under their own kind.
pub(crate) fn written(mesh: &Mesh) -> impl Iterator<Item = &DestinationRule> {
    mesh.destination_rules.iter().filter(|rule| &*rule.meta.kind == "DestinationRule")
}

/// The policies of a rule: its own and its subsets'.
pub(crate) fn policies(rule: &DestinationRule) -> impl Iterator<Item = &TrafficPolicy> {
    rule.policy.iter().chain(rule.subsets.iter().filter_map(|subset| subset.policy.as_ref()))
}

/// Every tls block of a rule: at the top, in subsets, at ports.
pub(crate) fn blocks(rule: &DestinationRule) -> impl Iterator<Item = &TlsSettings> {
    policies(rule).flat_map(|policy| {
        policy.tls.iter().chain(policy.ports.iter().filter_map(|entry| entry.tls.as_ref()))
    })
}

pub(crate) fn each_block<'a>(
    survey: &Survey<'a>,
    broken: impl Fn(&DestinationRule, &TlsSettings) -> Option<Problem>,
) -> Vec<Problem> {
    written(survey.mesh)
        .flat_map(|rule| blocks(rule).filter_map(|tls| broken(rule, tls)).collect::<Vec<_>>())
        .collect()
}

/// Tells whether sidecars use a rule: some sidecar's lookup ends at it, and the host is not routed through a gateway,
/// which then is the one that uses it. Without any pod to ask, sidecars are assumed.
pub(crate) fn used_by_sidecars(mesh: &Mesh, rule: &DestinationRule) -> bool {
    let host = full_host(rule, &mesh.config.domain);
    let through_gateway = mesh.virtual_services.iter().any(|routes| {
        routes.routes.iter().any(|route| {
            let at_gateway = route.gateways.iter().chain(&routes.gateways).any(|name| name != "mesh");
            at_gateway && routes.is_for_mesh() && route.destinations.iter().any(|to| covers(&host, &to.host))
        })
    });
    if through_gateway {
        return false;
    }
    let mut sidecars = mesh.pods.iter().filter(|pod| pod.proxy == PartyKind::Sidecar).peekable();
    if sidecars.peek().is_none() {
        return !mesh.pods.iter().any(|pod| pod.proxy == PartyKind::Gateway);
    }
    let hosts: Vec<_> = mesh.hosts.iter().filter(|known| covers(&host, &known.host)).collect();
    sidecars.any(|pod| {
        hosts.iter().any(|known| {
            acting(mesh, Some(pod), &pod.meta.namespace, known, &mut Trace::default())
                .is_some_and(|found| std::ptr::eq(found.policy_from, rule))
        })
    })
}

pub(crate) fn host_of(mesh: &Mesh, rule: &DestinationRule) -> String {
    full_host(rule, &mesh.config.domain)
}

pub(crate) fn top(rule: &DestinationRule) -> Option<&TlsSettings> {
    rule.policy.as_ref()?.tls.as_ref()
}

/// Returns a rule that originates TLS in one of the modes to a host's port, whichever clients use it.
pub(crate) fn originator<'a>(
    mesh: &'a Mesh,
    host: &str,
    port: u16,
    modes: &[ClientTls],
) -> Option<&'a DestinationRule> {
    mesh.destination_rules.iter().filter(|rule| covers(&full_host(rule, &mesh.config.domain), host)).find(
        |rule| {
            let own =
                rule.policy.iter().chain(rule.subsets.iter().filter_map(|subset| subset.policy.as_ref()));
            own.into_iter().any(|policy| {
                let block = match policy.for_port(port) {
                    Some(entry) => entry.tls.as_ref(),
                    None => policy.tls.as_ref(),
                };
                block.is_some_and(|tls| modes.contains(&tls.mode))
            })
        },
    )
}
