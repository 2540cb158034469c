//! IN01: Pods without a proxy where new pods would get one, or in a namespace that says nothing.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::injection::{labelled, uninjected};
use crate::lint::survey::meetings::workload;
use crate::lint::{Problem, Rule, names};
use crate::report::Severity;
use std::collections::{BTreeMap, BTreeSet};

pub(super) const RULE: Rule = Rule {
    id: "IN01",
    severity: Severity::Medium,
    title: "Pods without a proxy in a namespace of the mesh",
    page: include_str!("../../../docs/findings/IN01.md"),
    check,
    #[cfg(test)]
    broken: Broken { replace: &[], add: "", also: &[] },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    let mut bare: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for pod in mesh.pods.iter().filter(|pod| uninjected(mesh, pod)) {
        bare.entry(&pod.meta.namespace).or_default().insert(workload(pod));
    }
    bare.into_iter()
        .filter_map(|(namespace, pods)| {
            let (meta, labels) = mesh.namespaces.get(namespace)?;
            let decided = labels.contains_key("istio-injection") && !labelled(labels);
            if decided {
                return None;
            }
            let pods = names(pods);
            let (message, remedy) = if labelled(labels) {
                (
                    format!("{pods} have no proxy, though namespace {namespace} is labelled for the mesh"),
                    "Restart the pods; if that does not help, look for why injection skips them.",
                )
            } else {
                (
                    format!("{pods} have no proxy, and namespace {namespace} does not say whether it is in the mesh"),
                    "Label the namespace istio-injection enabled or disabled.",
                )
            };
            let yaml = format!(
                "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {namespace}\n  labels:\n    istio-injection: enabled\n"
            );
            Some(Problem::at(meta, meta.line, message, remedy).yaml(yaml))
        })
        .collect()
}
