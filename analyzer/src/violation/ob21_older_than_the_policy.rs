//! OB21: a connection that is older than the policy it would break: it keeps the TLS state that it began with.

use crate::report::Severity;
use crate::violation::{Advice, Breach, Case, RestsOn, Rule, restart};

pub(crate) const RULE: Rule = Rule {
    id: "OB21",
    severity: Severity::Info,
    title: "An open connection from before a change of policy",
    source: "Istio: Mutual TLS Migration: a policy acts on new connections",
    page: include_str!("../../../docs/findings/OB21.md"),
    rests_on: RestsOn::Class,
    breach,
    advice,
};

fn breach(case: &Case<'_>) -> Option<Breach> {
    let since = case.since?;
    let what = format!(
        "began before the declarations of {} and was open after; a new one would be {}: {}",
        since.at, since.violation.id, since.violation.message
    );
    Some(Breach::new(since.violation.cause.clone(), what).citing(since.violation.because.to_vec()))
}

fn advice(case: &Case<'_>, _: &Breach) -> Advice {
    // Either end ends it. The client is nobody else's concern; the server is, where nothing makes the client anew.
    let (client, server) = (restart::client(case), restart::server(case));
    let restart = if client.change.is_none() && server.change.is_some() { server } else { client };
    Advice::new(
        format!(
            "Mend what the new declarations break; then {}: a new connection is judged by what is declared now.",
            restart.words
        ),
        restart.change,
    )
}
