//! OB02: plaintext was attempted where STRICT is declared, and refused: this client breaks.

use crate::policy::outbound::OutboundKind;
use crate::report::Severity;
use crate::violation::{Advice, Breach, Case, RestsOn, Rule, remedy};

pub(crate) const RULE: Rule = Rule {
    id: "OB02",
    severity: Severity::High,
    title: "Plaintext refused by STRICT",
    source: "Istio: PeerAuthentication, mtls.mode STRICT: connections must be mTLS",
    page: include_str!("../../../docs/findings/OB02.md"),
    rests_on: RestsOn::Class,
    breach,
    advice,
};

fn breach(case: &Case<'_>) -> Option<Breach> {
    if !case.is_plaintext() || !case.is_strict() || !case.is_refused() || case.flow.answered() {
        return None;
    }
    let why = match &case.expectation.client {
        OutboundKind::NoProxy | OutboundKind::AmbientPlain => {
            "the client has no proxy that could encrypt".to_owned()
        }
        OutboundKind::NotIntercepted(reason) => format!("the client's proxy is bypassed: {reason}"),
        OutboundKind::Passthrough(reason) => format!("the client's proxy passes it through: {reason}"),
        OutboundKind::Blocked => "the client's proxy should have dropped it".to_owned(),
        OutboundKind::Rule => format!("{} switches TLS off", case.expectation.expected.client_tls_from),
        OutboundKind::Auto | OutboundKind::Hbone => "the client's proxy did not encrypt".to_owned(),
    };
    // Where none of the server's packets were captured, nobody saw whether it refused.
    let unseen = case.flow.packets.server == 0;
    let attempt = if unseen {
        "plaintext attempt where STRICT is declared, no answer was captured"
    } else {
        "plaintext attempt, refused by STRICT"
    };
    let cause = case.client_cause().or_else(|| case.server_cause());
    Some(Breach::new(cause, format!("{attempt}; {why}")).doubtful(unseen))
}

fn advice(case: &Case<'_>, _: &Breach) -> Advice {
    if let Some((rule, _)) = case.client_block() {
        return Advice::new(
            format!("Let {} use the workload's mesh identity.", rule.meta.id()),
            remedy::client_mode(case, "ISTIO_MUTUAL"),
        );
    }
    let client = case.client.name();
    match remedy::inject(case, case.client) {
        Some(change) => {
            Advice::new(format!("Give {client} a sidecar: label, then restart its pods."), Some(change))
        }
        None => Advice::new(
            format!(
                "Give {client} a sidecar. Where that cannot be, open this one port: it then accepts plaintext."
            ),
            remedy::open_port(case),
        ),
    }
}
