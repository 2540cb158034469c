//! IN01: Pods without a proxy where new pods would get one, or in a namespace that says nothing.

use std::collections::{BTreeMap, BTreeSet};

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::injection::{inject, of_kubernetes, uninjected};
use crate::lint::survey::meetings::workload;
use crate::lint::{Problem, Rule, agree, names};
use crate::mesh::Mesh;
use crate::mesh::joining::{decided, labelled, mesh_label};
use crate::mesh::meta::Meta;
use crate::mesh::pod::Pod;
use crate::patch::{Patch, part, together};
use crate::report::Severity;

pub(super) const RULE: Rule = Rule {
    id: "IN01",
    severity: Severity::Medium,
    title: "Pods without a proxy in a namespace of the mesh",
    page: include_str!("../../../docs/findings/IN01.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[],
        add: "apiVersion: v1\nkind: Namespace\nmetadata: {name: batch}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: z-0, namespace: batch, labels: {app: z}}\nspec: {containers: [{name: app, ports: [{containerPort: 7000}]}]}\nstatus: {podIP: 10.0.9.9}",
        // No server of this mesh takes plaintext, and its STRICT protects nothing here.
        also: &["PA07", "XC05"],
    },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    let mut bare: BTreeMap<&str, BTreeMap<String, &Pod>> = BTreeMap::new();
    for pod in mesh.pods.iter().filter(|pod| uninjected(mesh, pod)) {
        bare.entry(&pod.meta.namespace).or_default().entry(workload(pod)).or_insert(pod);
    }
    bare.into_iter()
        .filter_map(|(namespace, pods)| {
            let (meta, labels) = mesh.namespaces.get(namespace)?;
            let list = names(pods.keys().cloned());
            let have = agree(pods.len(), "has", "have");
            let their = agree(pods.len(), "its", "their");
            if labelled(labels) {
                let message = format!(
                    "{list} {have} no proxy, though namespace {namespace} is labelled for the mesh: {their} traffic is plaintext and no policy is enforced there"
                );
                let remedy = "Restart the pods: the label in their template does it. If they come back without a proxy, look for why injection skips them.";
                let yaml = together(pods.values().map(|pod| inject(mesh, pod).yaml()));
                return Some(Problem::at(meta, meta.line, message, remedy).yaml(yaml));
            }
            if decided(labels) {
                return None;
            }
            let message = format!(
                "{list} {have} no proxy, and namespace {namespace} does not say whether it is in the mesh: {their} traffic is plaintext"
            );
            let remedy = "Label the namespace for the mesh and restart its pods, or label it istio-injection=disabled.";
            Some(Problem::at(meta, meta.line, message, remedy).yaml(join(mesh, meta)))
        })
        .chain(undecided(mesh))
        .collect()
}

/// Namespaces without pods that do not say whether they are in the mesh: pods to come will have no proxy.
fn undecided(mesh: &Mesh) -> impl Iterator<Item = Problem> {
    let with_pods: BTreeSet<&str> = mesh.pods.iter().map(|pod| &*pod.meta.namespace).collect();
    mesh.namespaces
        .iter()
        .filter(move |(name, (_, labels))| {
            !labelled(labels)
                && !decided(labels)
                && !with_pods.contains(&***name)
                && !of_kubernetes(name)
                && ***name != *mesh.config.root_namespace
        })
        .map(|(name, (meta, _))| {
            let message = format!(
                "namespace {name} does not say whether it is in the mesh: pods that are made in it get no proxy"
            );
            let remedy = "Label the namespace for the mesh, or label it istio-injection=disabled.";
            Problem::at(meta, meta.line, message, remedy).yaml(join(mesh, meta)).rated(Severity::Info)
        })
}

/// Labels a namespace for the mesh, as most of it is.
fn join(mesh: &Mesh, namespace: &Meta) -> String {
    let (label, value) = mesh_label(mesh);
    Patch::of(namespace).set(&format!("/metadata/labels/{}", part(label)), value).yaml()
}
