//! One flow against what was declared for it, judged by both sides: in which order the rules are asked.
//!
//! Outside `allowed` the server's declaration is broken; inside it but outside `client_wire` the connection did not
//! take the declared path. What the wire hides is never a violation: it is undecided, with the doubt named.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use flow::{Flow, Security, Transport};

use crate::report::{Judgement, PartyKind, SetAside, Violation};
use crate::violation::{
    Case, Rule, gw08_no_sni, ob01_plaintext_under_strict, ob02_plaintext_refused, ob03_certificate_missing,
    ob04_downgrade, ob05_migration_blocker, ob06_unterminated, ob07_tls_to_http_port,
    ob08_plaintext_to_tls_port, ob09_gateway_refuses, ob10_gateway_certificate_missing, ob11_double_tls,
    ob12_version_below_minimum, ob13_cipher_not_listed, ob14_identity_mismatch, ob15_certificate_validity,
    ob16_stale_destination, ob17_ambient_not_captured, ob18_egress_gateway_bypassed,
    ob19_plaintext_leaves_the_mesh, ob20_infrastructure_port, ob21_older_than_the_policy, ob22_unclassified,
    ob23_registry_only_bypassed, pn02_server_spoke_first,
};

/// What is wrong with the class at a workload: the first that holds says it, the rest would only say it again.
const AT_WORKLOAD: &[&Rule] = &[
    &ob17_ambient_not_captured::RULE,
    &ob01_plaintext_under_strict::RULE,
    &ob02_plaintext_refused::RULE,
    &ob03_certificate_missing::RULE,
    &ob06_unterminated::RULE,
    &ob07_tls_to_http_port::RULE,
    &ob04_downgrade::RULE,
    &ob05_migration_blocker::RULE,
    &ob08_plaintext_to_tls_port::RULE,
    &ob23_registry_only_bypassed::RULE,
];

/// The same at a gateway, whose servers say what they accept.
const AT_GATEWAY: &[&Rule] = &[
    &ob10_gateway_certificate_missing::RULE,
    &ob09_gateway_refuses::RULE,
    &ob11_double_tls::RULE,
    &ob04_downgrade::RULE,
    &gw08_no_sni::RULE,
];

/// What may be wrong beside the class, each for itself.
const BESIDE: &[&Rule] = &[
    &ob12_version_below_minimum::RULE,
    &ob13_cipher_not_listed::RULE,
    &ob14_identity_mismatch::RULE,
    &ob15_certificate_validity::RULE,
    &ob16_stale_destination::RULE,
    &ob18_egress_gateway_bypassed::RULE,
    &pn02_server_spoke_first::RULE,
];

/// What is only worth knowing, where nothing is wrong.
const NOTES: &[&Rule] =
    &[&ob19_plaintext_leaves_the_mesh::RULE, &ob21_older_than_the_policy::RULE, &ob22_unclassified::RULE];

/// The outcome for one flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The outcome.
    pub judgement: Judgement,
    /// What it rests on.
    pub basis: String,
    /// Why it was not judged; absent where it was.
    pub set_aside: Option<SetAside>,
    /// The broken declarations, worst first; where none is broken, what is worth knowing.
    pub violations: Vec<Arc<Violation>>,
}

/// Judges a flow.
#[must_use]
pub fn judge(case: &Case<'_>) -> Verdict {
    if let Some((why, basis)) = exempt(case) {
        return match ob11_double_tls::RULE.judge(case).filter(|_| why == SetAside::Loopback) {
            Some(violation) => violates(case.flow, vec![violation]),
            None => Verdict {
                judgement: Judgement::Exempt,
                basis: basis.to_owned(),
                set_aside: Some(why),
                violations: Vec::new(),
            },
        };
    }
    if may_be_a_local_half(case) {
        return Verdict {
            judgement: Judgement::Undecided,
            basis: "only answers were seen, and nothing names the interface: loopback shows this half of what a pod's proxy takes".to_owned(),
            set_aside: Some(SetAside::Loopback),
            violations: Vec::new(),
        };
    }
    let violations = if case.flow.transport == Transport::Udp { Vec::new() } else { violations(case) };
    if !violations.is_empty() {
        return violates(case.flow, violations);
    }
    let violations = NOTES.iter().filter_map(|rule| rule.judge(case)).collect();
    match undecided(case) {
        Some((why, basis)) => {
            Verdict { judgement: Judgement::Undecided, basis, set_aside: Some(why), violations }
        }
        None => Verdict {
            judgement: Judgement::Conforms,
            basis: basis("what the destination accepts", case.flow),
            set_aside: None,
            violations,
        },
    }
}

/// Tells what no policy is about.
fn exempt(case: &Case<'_>) -> Option<(SetAside, &'static str)> {
    let flow = case.flow;
    if flow.is_local() {
        return Some((SetAside::Loopback, "loopback: between a proxy and its own application"));
    }
    if ob20_infrastructure_port::RULE.judge(case).is_some() {
        return Some((
            SetAside::InfrastructurePort,
            "a port of Istio's own: metrics, readiness, control plane",
        ));
    }
    let probe = AMBIENT_PROBES.contains(&flow.client.ip);
    probe.then_some((SetAside::Probe, "a probe of the node's, by the address that ambient gives it"))
}

/// Tells whether a flow may be the half of a local leg: what netfilter redirects to a pod's proxy shows on loopback as requests
/// to the proxy's port, and as answers under the address that was dialled. Where the interface has a name, that tells.
fn may_be_a_local_half(case: &Case<'_>) -> bool {
    let flow = case.flow;
    let redirected = matches!(case.client.kind, PartyKind::Sidecar | PartyKind::Ambient);
    redirected && flow.seen_at.is_empty() && flow.packets.client == 0
}

/// The addresses that probes of ambient pods come from: ztunnel lets them through whatever the mode.
///
/// Istio: `cni/pkg/config`, the host probe SNAT addresses.
const AMBIENT_PROBES: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 7, 127)),
    IpAddr::V6(Ipv6Addr::new(0xfd16, 0x9254, 0x7127, 0x1337, 0xffff, 0xffff, 0xffff, 0xffff)),
];

fn violations(case: &Case<'_>) -> Vec<Arc<Violation>> {
    let class = if case.server.kind == PartyKind::Gateway { AT_GATEWAY } else { AT_WORKLOAD };
    let found = class.iter().find_map(|rule| rule.judge(case));
    let mut violations: Vec<Arc<Violation>> =
        found.into_iter().chain(BESIDE.iter().filter_map(|rule| rule.judge(case))).collect();
    violations.sort_by_key(|violation| std::cmp::Reverse(violation.severity));
    violations
}

fn violates(flow: &Flow, violations: Vec<Arc<Violation>>) -> Verdict {
    let ids: Vec<&str> = violations.iter().map(|violation| violation.id.as_str()).collect();
    let ids = ids.join(", ");
    Verdict { judgement: Judgement::Violates, basis: basis(&ids, flow), set_aside: None, violations }
}

fn undecided(case: &Case<'_>) -> Option<(SetAside, String)> {
    let why = |why, basis: &str| Some((why, basis.to_owned()));
    if case.flow.transport == Transport::Udp {
        return why(SetAside::Udp, "UDP: Istio does not carry it");
    }
    match &case.flow.security {
        Security::Opaque(_) => {
            return why(SetAside::Opaque, "encrypted, but no TLS: policies do not name it");
        }
        Security::Unknown(reason) => {
            let basis = format!("the wire does not tell the class: {reason}");
            return Some((SetAside::ClassUnknown, basis));
        }
        Security::Plaintext(_) | Security::Tls(..) => {}
    }
    // A class that is accepted is no pass where this very handshake was not: a foreign certificate, refused.
    if case.has_failed() {
        return why(SetAside::HandshakeFailed, "the handshake failed: no connection came about");
    }
    if !case.expectation.known_destination {
        return why(SetAside::UnknownDestination, "the destination is unknown to the mesh");
    }
    let allowed = &case.expectation.expected.allowed;
    if case.possible().iter().all(|class| allowed.contains(class)) {
        return None;
    }
    why(
        SetAside::CertificateHidden,
        "whether the client sent a certificate is hidden, and the declaration depends on it",
    )
}

/// These words, then the class and how it is known.
fn basis(words: &str, flow: &Flow) -> String {
    let (class, evidence) = (flow.security.class().name(), flow.security.evidence());
    let proof = evidence.proof.name();
    match evidence.reason {
        Some(reason) => [words, ": ", class, " (", proof, ", ", reason.name(), ")"].concat(),
        None => [words, ": ", class, " (", proof, ")"].concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::violation::{RULES, SEEN};

    #[test]
    fn every_rule_is_asked() {
        let asked: std::collections::BTreeSet<&str> = [AT_WORKLOAD, AT_GATEWAY, BESIDE, NOTES]
            .into_iter()
            .flatten()
            .map(|rule| rule.id)
            .chain([ob20_infrastructure_port::RULE.id])
            .collect();
        assert_eq!(asked, RULES.iter().chain(SEEN).map(|rule| rule.id).collect());
    }
}
