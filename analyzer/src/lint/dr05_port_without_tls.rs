//! DR05: A port's entry replaces the whole policy, so tls above it is not inherited.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::destination_rules::{policies, written};
use crate::lint::{Problem, Rule};
use crate::report::Severity;

pub(super) const RULE: Rule = Rule {
    id: "DR05",
    severity: Severity::Medium,
    title: "Port settings without the tls above them",
    page: include_str!("../../../docs/findings/DR05.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[],
        add: "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: broken, namespace: shop, creationTimestamp: '2026-02-01T00:00:00Z'}\nspec: {host: web, trafficPolicy: {tls: {mode: ISTIO_MUTUAL}, portLevelSettings: [{port: {number: 80}}]}}",
        also: &[],
    },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for rule in written(survey.mesh) {
        for policy in policies(rule) {
            let Some(above) = policy.tls.as_ref().or_else(|| rule.policy.as_ref()?.tls.as_ref()) else {
                continue;
            };
            for entry in policy.ports.iter().filter(|entry| entry.tls.is_none()) {
                let port = entry.port.map_or_else(|| "a port".to_owned(), |port| format!("port {port}"));
                let message = format!(
                    "{} has settings for {port} without tls: the {} above them is not inherited",
                    rule.meta.id(),
                    above.mode
                );
                let yaml = format!(
                    "portLevelSettings:\n- port:\n    number: {}\n  tls:\n    mode: {}\n",
                    entry.port.map_or_else(|| "PORT".to_owned(), |port| port.to_string()),
                    above.mode
                );
                problems.push(
                    Problem::at(&rule.meta, entry.line, message, "Repeat the tls block in the entry.")
                        .yaml(yaml),
                );
            }
        }
    }
    problems
}
