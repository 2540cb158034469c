//! PA10: An empty policy stands before a newer one that sets a mode.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::{Problem, Rule};
use crate::mesh::peer_authentication::PeerAuthentication;
use crate::report::Severity;
use std::collections::BTreeMap;

pub(super) const RULE: Rule = Rule {
    id: "PA10",
    severity: Severity::Low,
    title: "An empty policy hides a set one",
    page: include_str!("../../../docs/findings/PA10.md"),
    check,
    #[cfg(test)]
    broken: Broken { replace: &[], add: "", also: &[] },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mut oldest: BTreeMap<&str, &PeerAuthentication> = BTreeMap::new();
    let mut problems = Vec::new();
    for policy in survey.mesh.peer_authentications.iter().filter(|policy| !policy.is_for_workloads()) {
        let first = *oldest.entry(&policy.meta.namespace).or_insert(policy);
        if first.mode.is_none() && policy.mode.is_some() {
            let message =
                format!("{} sets no mode, yet hides the younger {}", first.meta.id(), policy.meta.id());
            problems.push(Problem::at(&first.meta, first.meta.line, message, "Delete the empty policy."));
        }
    }
    problems
}
