//! PA04: Labels in the root namespace make a policy that acts nowhere.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::{Problem, Rule};
use crate::report::Severity;

pub(super) const RULE: Rule = Rule {
    id: "PA04",
    severity: Severity::High,
    title: "A PeerAuthentication with labels in the root namespace",
    page: include_str!("../../../docs/findings/PA04.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[],
        add: "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: broken, namespace: istio-system, creationTimestamp: '2026-02-01T00:00:00Z'}\nspec: {selector: {matchLabels: {app: web}}, mtls: {mode: STRICT}}",
        also: &[],
    },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let root = &survey.mesh.config.root_namespace;
    survey
        .mesh
        .peer_authentications
        .iter()
        .filter(|policy| policy.is_for_workloads() && *policy.meta.namespace == **root)
        .map(|policy| {
            let message = format!(
                "{} selects workloads, but stands in the root namespace: it is ignored everywhere",
                policy.meta.id()
            );
            Problem::at(&policy.meta, policy.meta.line, message, "Move it to the namespace of the workload.")
        })
        .collect()
}
