//! SC03: Two Sidecars for one workload, of which the older acts.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::meetings::workload;
use crate::lint::{Problem, Rule, names};
use crate::mesh::meta::selects;
use crate::report::Severity;

pub(super) const RULE: Rule = Rule {
    id: "SC03",
    severity: Severity::High,
    title: "Two Sidecars for one workload",
    page: include_str!("../../../docs/findings/SC03.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[],
        add: "apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: a, namespace: shop, creationTimestamp: '2026-02-01T00:00:00Z'}\nspec: {workloadSelector: {labels: {app: web}}, egress: [{hosts: ['*/*']}]}\n---\napiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: b, namespace: shop, creationTimestamp: '2026-02-01T00:00:00Z'}\nspec: {workloadSelector: {labels: {app: web}}, egress: [{hosts: ['*/*']}]}",
        also: &[],
    },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    let mut problems = Vec::new();
    for (place, sidecar) in mesh.sidecars.iter().enumerate() {
        for older in mesh.sidecars.iter().take(place) {
            if older.meta.namespace != sidecar.meta.namespace {
                continue;
            }
            let over = match (&older.selector, &sidecar.selector) {
                (None, None) => format!("the whole of namespace {}", sidecar.meta.namespace),
                (Some(one), Some(other)) => names(
                    mesh.pods
                        .iter()
                        .filter(|pod| pod.meta.namespace == sidecar.meta.namespace)
                        .filter(|pod| selects(one, &pod.meta.labels) && selects(other, &pod.meta.labels))
                        .map(workload),
                ),
                (Some(_), None) | (None, Some(_)) => continue,
            };
            if over.is_empty() {
                continue;
            }
            let message = format!(
                "{} is for {over}, as {} is: only the older one acts",
                sidecar.meta.id(),
                older.meta.id()
            );
            problems.push(Problem::at(
                &sidecar.meta,
                sidecar.meta.line,
                message,
                "Keep one Sidecar for each workload, or narrow the selectors.",
            ));
        }
    }
    problems
}
