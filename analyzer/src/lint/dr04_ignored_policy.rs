//! DR04: Of two rules for one host in one namespace, the older one's traffic policy stays whole.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::destination_rules::{host_of, written};
use crate::lint::{Problem, Rule};
use crate::mesh::destination_rule::DestinationRule;
use crate::report::Severity;

pub(super) const RULE: Rule = Rule {
    id: "DR04",
    severity: Severity::Medium,
    title: "A second rule for one host is ignored",
    page: include_str!("../../../docs/findings/DR04.md"),
    check,
    #[cfg(test)]
    broken: Broken { replace: &[], add: "", also: &[] },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    let acting: Vec<&DestinationRule> =
        written(mesh).filter(|rule| rule.policy.is_some() && rule.workload_selector.is_none()).collect();
    let mut problems = Vec::new();
    for (index, rule) in acting.iter().enumerate() {
        let older = acting.iter().take(index).find(|older| {
            older.meta.namespace == rule.meta.namespace
                && host_of(mesh, older) == host_of(mesh, rule)
                && older.is_private() == rule.is_private()
        });
        if let Some(older) = older {
            let line = rule.policy.as_ref().map_or(rule.meta.line, |policy| policy.line);
            let message = format!(
                "the trafficPolicy of {} is ignored: {} is older and for the same host",
                rule.meta.id(),
                older.meta.id()
            );
            problems.push(Problem::at(&rule.meta, line, message, "Merge the two rules by hand into one."));
        }
    }
    problems
}
