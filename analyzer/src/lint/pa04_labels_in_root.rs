//! PA04: Labels in the root namespace make a policy that acts nowhere.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::peer_authentications::{PATCHED, free_name};
use crate::lint::{Problem, Rule, names};
use crate::mesh::meta::selects;
use crate::patch::{self, Patch};
use crate::policy::peer_authentication::chosen_for_workload;
use crate::report::Severity;
use std::collections::BTreeSet;

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
    let mesh = survey.mesh;
    let root = &mesh.config.root_namespace;
    let ignored = mesh
        .peer_authentications
        .iter()
        .filter(|policy| policy.is_for_workloads() && *policy.meta.namespace == **root);
    ignored
        .map(|policy| {
            let message = format!(
                "{} selects workloads, but stands in the root namespace: it is ignored everywhere",
                policy.meta.id()
            );
            // Where a policy acts for the pods already, a second one would not.
            let homes: BTreeSet<&str> = mesh
                .pods
                .iter()
                .filter(|pod| !pod.ended && *pod.meta.namespace != **root)
                .filter(|pod| selects(&policy.selector, &pod.meta.labels))
                .filter(|pod| chosen_for_workload(mesh, &pod.meta.namespace, &pod.meta.labels).is_none())
                .map(|pod| &*pod.meta.namespace)
                .collect();
            let remedy = if homes.is_empty() {
                "Delete it: no workload elsewhere has these labels and no policy of its own.".to_owned()
            } else {
                format!(
                    "Move it to the workload's namespace: {}.",
                    names(homes.iter().map(|name| (*name).to_owned()))
                )
            };
            let spec = Patch::of(&policy.meta).get("/spec").cloned().unwrap_or_default();
            let moved = homes.iter().take(PATCHED).map(|home| {
                let name = free_name(mesh, home, &policy.meta.name);
                Patch::create(&policy.meta.version, "PeerAuthentication", home, &name)
                    .set("/spec", spec.clone())
                    .yaml()
            });
            Problem::at(&policy.meta, policy.selector_line, message, remedy)
                .yaml(patch::together(moved.chain([patch::delete(&policy.meta)])))
        })
        .collect()
}
