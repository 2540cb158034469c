//! PA03: Of several policies that select one pod only the oldest acts; they are not merged.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::meetings::workload;
use crate::lint::survey::peer_authentications::{PATCHED, by_workload, chosen};
use crate::lint::{Problem, Rule, names};
use crate::mesh::peer_authentication::PeerAuthentication;
use crate::mesh::pod::Pod;
use crate::patch::{self, Patch, part};
use crate::report::Severity;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

pub(super) const RULE: Rule = Rule {
    id: "PA03",
    severity: Severity::Medium,
    title: "Several PeerAuthentications for one workload",
    page: include_str!("../../../docs/findings/PA03.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[],
        add: "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: older, namespace: shop, creationTimestamp: '2026-02-01T00:00:00Z'}\nspec: {selector: {matchLabels: {app: web}}, mtls: {mode: STRICT}}\n---\napiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: broken, namespace: shop, creationTimestamp: '2026-03-01T00:00:00Z'}\nspec: {selector: {matchLabels: {app: web}}, portLevelMtls: {8080: {mode: STRICT}}}",
        also: &[],
    },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    let mut acting: HashMap<*const Pod, &PeerAuthentication> = HashMap::new();
    let mut problems = Vec::new();
    for policy in mesh.peer_authentications.iter().filter(|policy| policy.is_for_workloads()) {
        let (mut lost, mut won) = (Vec::new(), Vec::new());
        let mut first = None;
        for pod in chosen(mesh, policy) {
            match acting.entry(std::ptr::from_ref(pod)) {
                Entry::Occupied(older) => {
                    let older = *older.get();
                    first = first.or(Some(older));
                    lost.push(pod);
                }
                Entry::Vacant(free) => {
                    free.insert(policy);
                    won.push(pod);
                }
            }
        }
        let twin = || {
            // The same selector chooses the same pods, whichever there will be.
            let all = mesh.peer_authentications.iter();
            let mut older = all.take_while(|older| !std::ptr::eq(*older, policy));
            older.find(|older| {
                older.meta.namespace == policy.meta.namespace && older.selector == policy.selector
            })
        };
        let acts = *policy.meta.namespace != *mesh.config.root_namespace;
        if let Some(first) = first.is_none().then(twin).flatten().filter(|_| acts) {
            let labels = names(policy.selector.iter().map(|(key, value)| format!("{key}={value}")));
            let message = format!(
                "{} has no effect on {labels}: {} is older and acts alone, policies are not merged",
                policy.meta.id(),
                first.meta.id()
            );
            let (remedy, yaml) = apart(policy, first, &[], &[]);
            let problem = Problem::at(&policy.meta, policy.selector_line, message, remedy);
            problems.push(problem.yaml(yaml.unwrap_or_default()));
        }
        let Some(first) = first else { continue };
        let message = format!(
            "{} has no effect on {}: {} is older and acts alone, policies are not merged",
            policy.meta.id(),
            names(lost.iter().map(|pod| workload(pod))),
            first.meta.id()
        );
        let (remedy, yaml) = apart(policy, first, &lost, &won);
        let problem = Problem::at(&policy.meta, policy.selector_line, message, remedy);
        problems.push(match yaml {
            Some(yaml) => problem.yaml(yaml),
            None => problem,
        });
    }
    problems
}

/// Deletes a policy that acts nowhere; narrows one that acts elsewhere to that. Neither changes what is in force.
fn apart(
    policy: &PeerAuthentication,
    first: &PeerAuthentication,
    lost: &[&Pod],
    won: &[&Pod],
) -> (String, Option<String>) {
    let (id, older) = (policy.meta.id(), first.meta.id());
    let Some(example) = won.first() else {
        let remedy = format!("Delete {id}, which acts nowhere; what is wanted of it belongs into {older}.");
        return (remedy, Some(patch::delete(&policy.meta)));
    };
    let telling = example.meta.labels.iter().find(|(key, value)| {
        won.iter().all(|pod| pod.meta.labels.get(*key) == Some(*value))
            && lost.iter().all(|pod| pod.meta.labels.get(*key) != Some(*value))
    });
    match telling {
        Some((key, value)) => {
            let remedy = format!(
                "Narrow {id} to the pods that it acts for; what the others need belongs into {older}."
            );
            let pointer = format!("/spec/selector/matchLabels/{}", part(key));
            (remedy, Some(Patch::of(&policy.meta).set(&pointer, value.as_str()).yaml()))
        }
        None => {
            // A label's value has at most 63 characters, and ends with a letter or digit.
            let name = policy.meta.name.get(..63).unwrap_or(&policy.meta.name);
            let value = name.trim_end_matches(|last: char| !last.is_ascii_alphanumeric());
            let remedy = format!(
                "Label the pods that {id} acts for, and narrow it to them: no label of theirs tells them from those of {older}."
            );
            let narrowed =
                Patch::of(&policy.meta).set("/spec/selector/matchLabels/peer-authentication", value).yaml();
            let label =
                |pod: &Pod| Patch::of_pod(pod).set("/metadata/labels/peer-authentication", value).yaml();
            let workloads = by_workload(won.iter().copied());
            let labels = workloads.values().filter_map(|pods| pods.first()).map(|pod| label(pod));
            // The labels come first: a workload without its own would be without the policy.
            let patches = patch::together(labels.chain([narrowed]));
            (remedy, (workloads.len() <= PATCHED).then_some(patches))
        }
    }
}
