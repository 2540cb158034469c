//! IN02: A sidecar and ztunnel both claim the pod's traffic.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::{Problem, Rule};
use crate::report::Severity;

pub(super) const RULE: Rule = Rule {
    id: "IN02",
    severity: Severity::High,
    title: "Sidecar and ztunnel on one pod",
    page: include_str!("../../../docs/findings/IN02.md"),
    check,
    #[cfg(test)]
    broken: Broken { replace: &[], add: "", also: &[] },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    survey
        .mesh
        .pods
        .iter()
        .filter(|pod| pod.both_proxies)
        .map(|pod| {
            let message = format!("{} has a sidecar and is redirected to ztunnel as well", pod.meta.id());
            Problem::at(
                &pod.meta,
                pod.meta.line,
                message,
                "Choose one: drop the injection or the ambient label.",
            )
        })
        .collect()
}
