//! DR05: A port's entry replaces the whole policy, so tls above it is not inherited.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::destination_rules::{policies, top, written};
use crate::lint::{Problem, Rule};
use crate::patch::Patch;
use crate::report::Severity;
use serde_json::json;

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
        for (pointer, policy) in policies(rule) {
            let (above, from) = match &policy.tls {
                Some(tls) => (tls, format!("{pointer}/tls")),
                None => match top(rule) {
                    Some(tls) => (tls, "/spec/trafficPolicy/tls".to_owned()),
                    None => continue,
                },
            };
            let bare: Vec<_> =
                policy.ports.iter().enumerate().filter(|(_, entry)| entry.tls.is_none()).collect();
            let block = Patch::of(&rule.meta).get(&from).cloned();
            let block = block.unwrap_or_else(|| json!({"mode": above.mode.name()}));
            // One patch for all entries: it replaces their list.
            let patch = bare.iter().fold(Patch::of(&rule.meta), |patch, (place, _)| {
                patch.set(&format!("{pointer}/portLevelSettings/{place}/tls"), block.clone())
            });
            for (_, entry) in &bare {
                let port = entry.port.map_or_else(|| "a port".to_owned(), |port| format!("port {port}"));
                let message = format!(
                    "{} has settings for {port} without tls: the {} above them is not inherited, auto mTLS decides there",
                    rule.meta.id(),
                    above.mode
                );
                let remedy = "Repeat the tls block in the entry.";
                problems.push(Problem::at(&rule.meta, entry.line, message, remedy).yaml(patch.yaml()));
            }
        }
    }
    problems
}
