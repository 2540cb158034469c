//! OB19: plaintext to a destination that nobody declares, let through by ALLOW_ANY.

use crate::policy::outbound::OutboundKind;
use crate::report::{PartyKind, Severity};
use crate::violation::{Advice, Breach, Case, RestsOn, Rule, remedy};

pub(crate) const RULE: Rule = Rule {
    id: "OB19",
    severity: Severity::Info,
    title: "Plaintext to a destination that nobody declares",
    source: "Istio: MeshConfig, outboundTrafficPolicy.mode ALLOW_ANY",
    page: include_str!("../../../docs/findings/OB19.md"),
    rests_on: RestsOn::Class,
    breach,
    advice,
};

fn breach(case: &Case<'_>) -> Option<Breach> {
    let let_through =
        matches!(case.expectation.client, OutboundKind::Passthrough { .. } | OutboundKind::AmbientPlain);
    let undeclared = case.server.kind == PartyKind::Unknown && !case.may_be_declared();
    if !case.is_plaintext() || !let_through || !undeclared || !case.knows_direction() {
        return None;
    }
    Some(Breach::new(None, "plaintext to a destination that nobody declares, let through by ALLOW_ANY"))
}

fn advice(case: &Case<'_>, _: &Breach) -> Advice {
    Advice::new(
        "If it is meant, declare the destination, by its name where you know it, and with TLS where it takes it; \
         REGISTRY_ONLY then drops what nobody declares.",
        remedy::declare_destination(case),
    )
}
