//! AM02: The label tells clients that the sidecar takes no mTLS.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::{Problem, Rule};
use crate::report::{PartyKind, Severity};

pub(super) const RULE: Rule = Rule {
    id: "AM02",
    severity: Severity::Medium,
    title: "A label that denies a sidecar's mTLS",
    page: include_str!("../../../docs/findings/AM02.md"),
    check,
    #[cfg(test)]
    broken: Broken { replace: &[], add: "", also: &[] },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    survey
        .mesh
        .pods
        .iter()
        .filter(|pod| pod.proxy == PartyKind::Sidecar)
        .filter_map(|pod| {
            let mode = pod.meta.labels.get("security.istio.io/tlsMode").filter(|mode| *mode != "istio")?;
            let message = format!(
                "{} has a sidecar but the label security.istio.io/tlsMode={mode}: clients send it plaintext",
                pod.meta.id()
            );
            Some(Problem::at(&pod.meta, pod.meta.line, message, "Remove the label from the pod template."))
        })
        .collect()
}
