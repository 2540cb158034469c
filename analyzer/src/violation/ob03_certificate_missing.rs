//! OB03: TLS without a client certificate where STRICT asks for one.

use flow::Class;

use crate::report::Severity;
use crate::violation::{Advice, Breach, Case, RestsOn, Rule, remedy};

pub(crate) const RULE: Rule = Rule {
    id: "OB03",
    severity: Severity::High,
    title: "TLS without a client certificate under STRICT",
    source: "Istio: PeerAuthentication, mtls.mode STRICT: the sidecar requires a mesh certificate",
    page: include_str!("../../../docs/findings/OB03.md"),
    rests_on: RestsOn::Class,
    breach,
    advice,
};

fn breach(case: &Case<'_>) -> Option<Breach> {
    if !case.is_strict() || case.possible() != [Class::Tls] {
        return None;
    }
    let cause = case.client_cause().or_else(|| case.server_cause());
    let what = format!("TLS without a client certificate where STRICT is declared; {}", case.ending());
    Some(Breach::new(cause, what))
}

fn advice(case: &Case<'_>, _: &Breach) -> Advice {
    if let Some((rule, _)) = case.client_block() {
        return Advice::new(
            format!("Let {} use the workload's mesh identity.", rule.meta.id()),
            remedy::client_mode(case, "ISTIO_MUTUAL"),
        );
    }
    if remedy::without_asked_proxy(case, case.client).is_some() {
        let joining = remedy::joining(case, case.client);
        let words = format!("{joining}. Let the application send plaintext then: its proxy encrypts it.");
        return Advice::new(words, remedy::inject(case, case.client));
    }
    Advice::new(
        "Let the application send plaintext, so that the client's sidecar encrypts it with the mesh identity; a client \
         without sidecar needs one.",
        remedy::inject(case, case.client),
    )
}
