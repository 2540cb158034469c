//! PA02: Of several policies without a selector only the oldest acts.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::{Problem, Rule};
use crate::mesh::peer_authentication::PeerAuthentication;
use crate::patch;
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
    let mut kept: BTreeMap<&str, &PeerAuthentication> = BTreeMap::new();
    let mut problems = Vec::new();
    for policy in survey.mesh.peer_authentications.iter().filter(|policy| !policy.is_for_workloads()) {
        let Some(first) = oldest.get(&*policy.meta.namespace).copied() else {
            oldest.insert(&policy.meta.namespace, policy);
            continue;
        };
        let message = format!(
            "{} has no effect: {} is older and acts alone for the whole {}",
            policy.meta.id(),
            first.meta.id(),
            if *policy.meta.namespace == *survey.mesh.config.root_namespace { "mesh" } else { "namespace" }
        );
        // An empty one that hides a set one is the one to go: PA10 says the same.
        let hidden =
            first.mode.is_none() && policy.mode.is_some() && !kept.contains_key(&*policy.meta.namespace);
        let gone = if hidden { first } else { policy };
        if hidden {
            kept.insert(&policy.meta.namespace, policy);
        }
        let remedy = format!("Keep one: delete {}, which changes nothing else.", gone.meta.id());
        let remedy = if hidden {
            format!("Delete the empty {}, so that this one acts.", gone.meta.id())
        } else {
            remedy
        };
        let problem = Problem::at(&policy.meta, policy.meta.line, message, remedy);
        problems.push(problem.yaml(patch::delete(&gone.meta)));
    }
    problems
}
