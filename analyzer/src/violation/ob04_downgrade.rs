//! OB04: the connection is weaker than what the client's proxy is declared to send.

use flow::{Class, ClientAuth, Security, Withheld};

use crate::report::{ClientTls, Severity};
use crate::violation::{Advice, Breach, Case, RestsOn, Rule, restart};

pub(crate) const RULE: Rule = Rule {
    id: "OB04",
    severity: Severity::High,
    title: "Weaker than the client declares",
    source: "Istio: DestinationRule, trafficPolicy.tls, and auto mTLS: what the client's proxy originates",
    page: include_str!("../../../docs/findings/OB04.md"),
    rests_on: RestsOn::Class,
    breach,
    advice,
};

fn breach(case: &Case<'_>) -> Option<Breach> {
    let expected = &case.expectation.expected;
    let declared = expected.client_tls.filter(|mode| *mode != ClientTls::Disable)?;
    if case.is_refused() || expected.client_wire.is_empty() {
        return None;
    }
    let one_way = match (&case.flow.security, declared) {
        (Security::Plaintext(_), _) if !expected.client_wire.contains(&Class::Plaintext) => false,
        // A server that asks for no certificate gets none from a proxy that would send one. Istio's servers ask.
        (
            Security::Tls(session, ClientAuth::Refuted(withheld, _)),
            ClientTls::Mutual | ClientTls::IstioMutual,
        ) if *withheld == Withheld::Declined
            || (declared == ClientTls::IstioMutual
                && session.ja4.is_some()
                && !session.offers_istio_alpn()) =>
        {
            true
        }
        _ => return None,
    };
    let seen = if one_way { "TLS without a client certificate" } else { "plaintext" };
    let sends = if declared == ClientTls::Simple { "TLS" } else { "mutual TLS" };
    let what = format!("{seen} where the client's proxy is declared to send {sends}");
    Some(Breach::new(case.client_cause(), what))
}

/// What is declared is right: of what is declared nothing mends what is not done.
fn advice(case: &Case<'_>, _: &Breach) -> Advice {
    let restart = restart::client_proxy(case);
    Advice::new(
        match case.client_block() {
            Some((rule, _)) => format!(
                "{} declares it, and the client does not do it: call the Service rather than the pod's address, and \
                 {} if its proxy is stale.",
                rule.meta.id(),
                restart.words
            ),
            None => format!(
                "Call the Service rather than the pod's address, and {} if its proxy is stale.",
                restart.words
            ),
        },
        restart.change,
    )
}
