//! PA01: `portLevelMtls` needs a selector; Istio rejects it without one.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::{Problem, Rule};
use crate::report::Severity;

pub(super) const RULE: Rule = Rule {
    id: "PA01",
    severity: Severity::High,
    title: "portLevelMtls without a selector",
    page: include_str!("../../../docs/findings/PA01.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[],
        add: "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: broken, namespace: shop, creationTimestamp: '2026-02-01T00:00:00Z'}\nspec: {mtls: {mode: STRICT}, portLevelMtls: {8080: {mode: STRICT}}}",
        also: &[],
    },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    survey
        .mesh
        .peer_authentications
        .iter()
        .filter(|policy| policy.has_ports && !policy.is_for_workloads())
        .map(|policy| {
            let line = policy.ports.values().map(|(_, line)| *line).next().unwrap_or(policy.meta.line);
            let message =
                format!("{} sets portLevelMtls without a selector: Istio ignores it", policy.meta.id());
            Problem::at(&policy.meta, line, message, "Add a selector for the workloads that it is meant for.")
                .yaml("spec:\n  selector:\n    matchLabels:\n      app: NAME-OF-THE-WORKLOAD\n".to_owned())
        })
        .collect()
}
