//! IN02: A sidecar and ztunnel both claim the pod's traffic.

use std::collections::BTreeMap;

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::meetings::workload;
use crate::lint::{Problem, Rule};
use crate::mesh::pod::Pod;
use crate::patch::{Patch, part};
use crate::report::Severity;
use serde_json::Value;

pub(super) const RULE: Rule = Rule {
    id: "IN02",
    severity: Severity::High,
    title: "Sidecar and ztunnel on one pod",
    page: include_str!("../../../docs/findings/IN02.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[(
            "  name: web-0\n  namespace: shop\n",
            "  name: web-0\n  namespace: shop\n  annotations: {ambient.istio.io/redirection: enabled}\n",
        )],
        add: "",
        also: &[],
    },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mut found: BTreeMap<String, &Pod> = BTreeMap::new();
    for pod in survey.mesh.pods.iter().filter(|pod| pod.both_proxies && !pod.ended) {
        found.entry(workload(pod)).or_insert(pod);
    }
    found
        .into_iter()
        .map(|(name, pod)| {
            let message = format!(
                "pods of {name} have a sidecar and are redirected to ztunnel as well: each takes the other's traffic"
            );
            let remedy = "Choose one. The patch keeps the sidecar and takes the pod out of ambient.";
            let patch = Patch::of_pod(pod)
                .set(&format!("/metadata/labels/{}", part("istio.io/dataplane-mode")), "none")
                .set(&format!("/metadata/annotations/{}", part("ambient.istio.io/redirection")), Value::Null);
            Problem::at(&pod.meta, pod.meta.line, message, remedy).yaml(patch.yaml())
        })
        .collect()
}
