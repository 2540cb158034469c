//! OB06: Istio mTLS reaches something that cannot decrypt it.

use flow::Outcome;

use crate::report::{IstioMtls, Severity};
use crate::violation::{Advice, Breach, Case, RestsOn, Rule, remedy};

pub(crate) const RULE: Rule = Rule {
    id: "OB06",
    severity: Severity::High,
    title: "Istio mTLS that nobody decrypts",
    source: "Istio: DestinationRule, tls.mode ISTIO_MUTUAL: the destination needs a proxy that terminates it",
    page: include_str!("../../../docs/findings/OB06.md"),
    rests_on: RestsOn::Tls,
    breach,
    advice,
};

/// Of a destination that the mesh does not know nothing is known, and a handshake that completed was terminated, whatever
/// the declarations say.
fn breach(case: &Case<'_>) -> Option<Breach> {
    let completed = case.tls()?.outcome == Outcome::Established;
    let undecryptable = case.expectation.expected.istio_mtls == IstioMtls::Unterminated
        && case.expectation.known_destination
        && !completed;
    if !undecryptable || !case.offers_istio() {
        return None;
    }
    let cause = case.client_cause().or_else(|| case.server_cause());
    Some(Breach::new(cause, "Istio mTLS to a server that cannot decrypt it"))
}

fn advice(case: &Case<'_>, _: &Breach) -> Advice {
    if case.client_block().is_some() && case.expectation.external {
        return Advice::new(
            format!(
                "{} is outside the mesh: send it TLS without the mesh's certificate (SIMPLE), or with one of its own CA \
                 (MUTUAL).",
                case.server.name()
            ),
            remedy::client_mode(case, "SIMPLE"),
        );
    }
    if case.client_block().is_some() {
        return Advice::new(
            format!(
                "Send no Istio mTLS to a server without proxy, or give {} a sidecar.",
                case.server.name()
            ),
            remedy::client_mode(case, "DISABLE"),
        );
    }
    Advice::new(
        format!("Let {} terminate mTLS: give it a sidecar, or stop excluding the port.", case.server.name()),
        remedy::inject(case, case.server),
    )
}
