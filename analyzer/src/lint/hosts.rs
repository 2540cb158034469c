//! What a host's name leads to: full names, and the rules that originate TLS for a port.

use crate::mesh::Mesh;
use crate::mesh::destination_rule::DestinationRule;
use crate::policy::destination_rule::full_host;
use crate::policy::visibility::covers;
use crate::report::ClientTls;

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
