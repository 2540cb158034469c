//! PA05: The selector finds nobody.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::peer_authentications::{chosen, free_name};
use crate::lint::{Problem, Rule, names};
use crate::mesh::Mesh;
use crate::mesh::meant as spelt;
use crate::mesh::meta::selects;
use crate::mesh::peer_authentication::PeerAuthentication;
use crate::patch::{self, Patch, part};
use crate::policy::peer_authentication::chosen_for_workload;
use crate::report::Severity;
use std::collections::BTreeSet;

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
        .filter(|policy| survey.knows_pods(&policy.meta))
        .filter(|policy| policy.is_for_workloads() && *policy.meta.namespace != *mesh.config.root_namespace)
        .filter(|policy| chosen(mesh, policy).is_empty() && !has_workload(mesh, policy))
        .map(|policy| {
            let labels = names(policy.selector.iter().map(|(key, value)| format!("{key}={value}")));
            let message = format!(
                "{} selects {labels}: no pod of its namespace has that, so it acts nowhere",
                policy.meta.id()
            );
            let (remedy, yaml) =
                misspelt(mesh, policy).or_else(|| misplaced(mesh, policy)).unwrap_or_else(|| {
                    (
                        "Delete the policy, if its workload is gone for good.".to_owned(),
                        patch::delete(&policy.meta),
                    )
                });
            Problem::at(&policy.meta, policy.selector_line, message, remedy).yaml(yaml)
        })
        .collect()
}

/// Tells whether the workload is there all the same: none of its pods runs just now, or it stands outside Kubernetes, as a
/// WorkloadEntry or an endpoint of a ServiceEntry.
fn has_workload(mesh: &Mesh, policy: &PeerAuthentication) -> bool {
    let (namespace, selector) = (&*policy.meta.namespace, &policy.selector);
    let mut pods = mesh.pods.iter().filter(|pod| &*pod.meta.namespace == namespace);
    let hosts = mesh.hosts.iter().filter(|host| &*host.namespace == namespace);
    pods.any(|pod| selects(selector, &pod.meta.labels))
        || mesh.makes_pods_with(Some(namespace), selector)
        || mesh.workload_entries_with(namespace, selector).next().is_some()
        || hosts.flat_map(|host| &host.endpoints).any(|endpoint| selects(selector, &endpoint.labels))
}

/// A label of the selector, one slip away from what pods of the namespace have, all else fitting.
fn misspelt(mesh: &Mesh, policy: &PeerAuthentication) -> Option<(String, String)> {
    policy.selector.iter().find_map(|(key, value)| {
        let mut rest = policy.selector.clone();
        rest.remove(key);
        let values: BTreeSet<&str> = mesh
            .pods
            .iter()
            .filter(|pod| pod.meta.namespace == policy.meta.namespace && selects(&rest, &pod.meta.labels))
            .filter(|pod| chosen_for_workload(mesh, &pod.meta.namespace, &pod.meta.labels).is_none())
            .filter_map(|pod| pod.meta.labels.get(key).map(String::as_str))
            .collect();
        let meant = spelt(&values.into_iter().collect::<Vec<_>>(), value)?;
        let pointer = format!("/spec/selector/matchLabels/{}", part(key));
        let patch = Patch::of(&policy.meta).set(&pointer, meant);
        Some((format!("Correct the label to {key}={meant}."), patch.yaml()))
    })
}

/// The one other namespace whose pods have the labels, and no policy of their own.
fn misplaced(mesh: &Mesh, policy: &PeerAuthentication) -> Option<(String, String)> {
    let homes: BTreeSet<&str> = mesh
        .pods
        .iter()
        .filter(|pod| {
            *pod.meta.namespace != *mesh.config.root_namespace && selects(&policy.selector, &pod.meta.labels)
        })
        .filter(|pod| chosen_for_workload(mesh, &pod.meta.namespace, &pod.meta.labels).is_none())
        .map(|pod| &*pod.meta.namespace)
        .collect();
    let mut homes = homes.into_iter();
    let (Some(home), None) = (homes.next(), homes.next()) else { return None };
    let spec = Patch::of(&policy.meta).get("/spec").cloned()?;
    let name = free_name(mesh, home, &policy.meta.name);
    let moved = Patch::create(&policy.meta.version, "PeerAuthentication", home, &name).set("/spec", spec);
    let remedy = format!("Move the policy to {home}, whose pods have these labels.");
    Some((remedy, patch::together([moved.yaml(), patch::delete(&policy.meta)])))
}
