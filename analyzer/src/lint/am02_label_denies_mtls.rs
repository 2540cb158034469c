//! AM02: The label tells clients that the sidecar takes no mTLS.

use std::collections::BTreeMap;

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::meetings::workload;
use crate::lint::{Problem, Rule};
use crate::mesh::pod::Pod;
use crate::patch::{Patch, part};
use crate::report::{PartyKind, Severity};
use serde_json::Value;

pub(super) const RULE: Rule = Rule {
    id: "AM02",
    severity: Severity::Medium,
    title: "A label that denies a sidecar's mTLS",
    page: include_str!("../../../docs/findings/AM02.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[(
            "    app: web\n    security.istio.io/tlsMode: istio\n",
            "    app: web\n    security.istio.io/tlsMode: disabled\n",
        )],
        add: "",
        // The server is STRICT and refuses the plaintext.
        also: &["XC01"],
    },
};

const LABEL: &str = "security.istio.io/tlsMode";

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mut found: BTreeMap<(String, &str), &Pod> = BTreeMap::new();
    for pod in survey.mesh.pods.iter().filter(|pod| pod.proxy == PartyKind::Sidecar && !pod.ended) {
        if let Some(mode) = pod.meta.labels.get(LABEL).filter(|mode| *mode != "istio") {
            found.entry((workload(pod), mode)).or_insert(pod);
        }
    }
    found
        .into_iter()
        .map(|((name, mode), pod)| {
            let message =
                format!("{name} has a sidecar but the label {LABEL}={mode}: clients send it plaintext");
            let remedy = "Remove the label from the pod template: the injector sets it to istio.";
            Problem::at(&pod.meta, pod.meta.line, message, remedy).yaml(patch(pod))
        })
        .collect()
}

/// Leaves the label to the injector; on a pod that nothing makes anew it is set to what the injector would.
pub(super) fn patch(pod: &Pod) -> String {
    let pointer = format!("/metadata/labels/{}", part(LABEL));
    let value = if pod.controller.is_some() { Value::Null } else { Value::from("istio") };
    Patch::of_pod(pod).set(&pointer, value).yaml()
}
