//! OB05: PERMISSIVE accepts plaintext from a client without proxy: STRICT would break it.

use crate::report::{PartyKind, ServerMode, Severity};
use crate::violation::{Advice, Breach, Case, RestsOn, Rule, remedy};

pub(crate) const RULE: Rule = Rule {
    id: "OB05",
    severity: Severity::Medium,
    title: "Plaintext that blocks the way to STRICT",
    source: "Istio: Mutual TLS Migration: every client needs a proxy before a workload becomes STRICT",
    page: include_str!("../../../docs/findings/OB05.md"),
    rests_on: RestsOn::Class,
    breach,
    advice,
};

fn breach(case: &Case<'_>) -> Option<Breach> {
    let permissive = case.expectation.expected.server_mode == Some(ServerMode::Permissive);
    let no_proxy = matches!(case.client.kind, PartyKind::NoProxy | PartyKind::Unknown);
    if !case.is_plaintext() || !case.flow.answered() || !permissive || !no_proxy {
        return None;
    }
    let what = "plaintext from a client without proxy, accepted because the mode is PERMISSIVE";
    Some(Breach::new(case.server_cause(), what))
}

fn advice(case: &Case<'_>, _: &Breach) -> Advice {
    Advice::new(
        format!("{} before {} becomes STRICT.", remedy::joining(case, case.client), case.server.name()),
        remedy::inject(case, case.client),
    )
}
