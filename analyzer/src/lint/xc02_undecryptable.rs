//! XC02: An explicit ISTIO_MUTUAL meets something that cannot terminate it.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::meetings::{blame, grouped, hosts};
use crate::lint::{Problem, Rule};
use crate::report::Severity;

pub(super) const RULE: Rule = Rule {
    id: "XC02",
    severity: Severity::High,
    title: "ISTIO_MUTUAL to a server that cannot decrypt it",
    page: include_str!("../../../docs/findings/XC02.md"),
    check,
    #[cfg(test)]
    broken: Broken { replace: &[], add: "", also: &[] },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for ((client, server), group) in grouped(survey, "XC02") {
        let why = if server == "default" {
            "which has no proxy for it".to_owned()
        } else {
            format!("where {server} sets DISABLE")
        };
        let message =
            format!("{client} sends Istio mTLS to {}, {why}: the server cannot decrypt it", hosts(&group));
        problems.push(blame(
            survey.mesh,
            [client, server],
            &group,
            message,
            "Narrow the rule to hosts with a proxy, remove its tls block so that auto mTLS decides, or inject the server.",
            "DISABLE",
        ));
    }
    problems
}
