//! IN01: Pods without a proxy where new pods would get one, or in a namespace that says nothing.

use std::collections::BTreeMap;

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::injection::{decided, inject, labelled, mesh_label, uninjected};
use crate::lint::survey::meetings::workload;
use crate::lint::{Problem, Rule, names};
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
            if labelled(labels) {
                let message = format!(
                    "{list} have no proxy, though namespace {namespace} is labelled for the mesh: their traffic is plaintext and no policy is enforced at them"
                );
                let remedy = "Restart the pods: the label in their template does it. If they come back without a proxy, look for why injection skips them.";
                let yaml = together(pods.values().map(|pod| inject(mesh, pod).yaml()));
                return Some(Problem::at(meta, meta.line, message, remedy).yaml(yaml));
            }
            if decided(labels) {
                return None;
            }
            let message = format!(
                "{list} have no proxy, and namespace {namespace} does not say whether it is in the mesh: their traffic is plaintext"
            );
            let (label, value) = mesh_label(mesh);
            let remedy = "Label the namespace for the mesh and restart its pods, or label it istio-injection=disabled.";
            let patch = Patch::of(meta).set(&format!("/metadata/labels/{}", part(label)), value);
            Some(Problem::at(meta, meta.line, message, remedy).yaml(patch.yaml()))
        })
        .collect()
}
