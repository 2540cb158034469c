//! OB17: plaintext between two ambient pods, which ztunnel should have carried.

use crate::report::{PartyKind, Severity};
use crate::violation::{Advice, Breach, Case, RestsOn, Rule, restart};

pub(crate) const RULE: Rule = Rule {
    id: "OB17",
    severity: Severity::High,
    title: "Plaintext between ambient pods",
    source: "Istio: Ambient, ztunnel traffic redirection: pods of the mesh reach each other by HBONE",
    page: include_str!("../../../docs/findings/OB17.md"),
    rests_on: RestsOn::Class,
    breach,
    advice,
};

fn breach(case: &Case<'_>) -> Option<Breach> {
    let ambient = case.client.kind == PartyKind::Ambient && case.server.kind == PartyKind::Ambient;
    (ambient && case.is_plaintext())
        .then(|| Breach::new(None, "plaintext between ambient pods, not captured by ztunnel"))
}

fn advice(case: &Case<'_>, _: &Breach) -> Advice {
    let restart = restart::client(case);
    Advice::new(
        format!(
            "The client's traffic is not redirected to ztunnel, though its annotation says so: {}, so that the node's CNI \
             plugin does it.",
            restart.words
        ),
        restart.change,
    )
}
