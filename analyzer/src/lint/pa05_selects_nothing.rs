//! PA05: The selector finds nobody.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::peer_authentications::chooses;
use crate::lint::{Problem, Rule, names};
use crate::report::Severity;

pub(super) const RULE: Rule = Rule {
    id: "PA05",
    severity: Severity::Low,
    title: "A PeerAuthentication that selects no pod",
    page: include_str!("../../../docs/findings/PA05.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[],
        add: "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: broken, namespace: shop, creationTimestamp: '2026-02-01T00:00:00Z'}\nspec: {selector: {matchLabels: {app: nobody}}, mtls: {mode: STRICT}}",
        also: &[],
    },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    mesh.peer_authentications
        .iter()
        .filter(|policy| policy.is_for_workloads() && *policy.meta.namespace != *mesh.config.root_namespace)
        .filter(|policy| !mesh.pods.iter().any(|pod| chooses(mesh, policy, pod)))
        .map(|policy| {
            let labels = names(policy.selector.iter().map(|(key, value)| format!("{key}={value}")));
            let message = format!("{} selects {labels}: no pod of its namespace has that", policy.meta.id());
            Problem::at(&policy.meta, policy.meta.line, message, "Correct the labels, or delete the policy.")
        })
        .collect()
}
