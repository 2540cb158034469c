//! PA02: Of several policies without a selector only the oldest acts.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::{Problem, Rule};
use crate::mesh::peer_authentication::PeerAuthentication;
use crate::report::Severity;
use std::collections::BTreeMap;

pub(super) const RULE: Rule = Rule {
    id: "PA02",
    severity: Severity::Medium,
    title: "Several PeerAuthentications for one namespace",
    page: include_str!("../../../docs/findings/PA02.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[],
        add: "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: broken, namespace: istio-system, creationTimestamp: '2026-02-01T00:00:00Z'}\nspec: {mtls: {mode: STRICT}}",
        also: &[],
    },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mut oldest: BTreeMap<&str, &PeerAuthentication> = BTreeMap::new();
    let mut problems = Vec::new();
    for policy in survey.mesh.peer_authentications.iter().filter(|policy| !policy.is_for_workloads()) {
        match oldest.get(&*policy.meta.namespace) {
            Some(first) => {
                let message = format!(
                    "{} has no effect: {} is older and acts for the whole namespace",
                    policy.meta.id(),
                    first.meta.id()
                );
                problems.push(Problem::at(
                    &policy.meta,
                    policy.meta.line,
                    message,
                    "Keep one and delete the rest.",
                ));
            }
            None => {
                oldest.insert(&policy.meta.namespace, policy);
            }
        }
    }
    problems
}
