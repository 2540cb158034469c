//! DR08: A subset's policy acts only where a VirtualService routes to the subset.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::destination_rules::{host_of, written};
use crate::lint::{Problem, Rule};
use crate::policy::visibility::{covers, full_name};
use crate::report::Severity;

pub(super) const RULE: Rule = Rule {
    id: "DR08",
    severity: Severity::Low,
    title: "A subset's tls that no route uses",
    page: include_str!("../../../docs/findings/DR08.md"),
    check,
    #[cfg(test)]
    broken: Broken { replace: &[], add: "", also: &[] },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    let mut problems = Vec::new();
    for rule in written(mesh) {
        let host = host_of(mesh, rule);
        for subset in &rule.subsets {
            let Some(policy) = &subset.policy else { continue };
            let tls =
                policy.tls.as_ref().or_else(|| policy.ports.iter().find_map(|entry| entry.tls.as_ref()));
            let Some(tls) = tls else { continue };
            let routed = mesh.virtual_services.iter().any(|routes| {
                routes.routes.iter().flat_map(|route| &route.destinations).any(|to| {
                    to.subset.as_deref() == Some(&subset.name)
                        && covers(&host, &full_name(&to.host, &routes.meta.namespace, &mesh.config.domain))
                })
            });
            if !routed {
                let message = format!(
                    "subset {} of {} sets tls, but no VirtualService routes to it",
                    subset.name,
                    rule.meta.id()
                );
                problems.push(Problem::at(
                    &rule.meta,
                    tls.line,
                    message,
                    "Route to the subset, or move its tls block to the top.",
                ));
            }
        }
    }
    problems
}
