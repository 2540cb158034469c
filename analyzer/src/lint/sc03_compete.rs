//! SC03: Two Sidecars for one workload, of which the older acts.

use std::collections::BTreeMap;

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::meetings::workload;
use crate::lint::{Problem, Rule, names};
use crate::mesh::meta::selects;
use crate::mesh::pod::Pod;
use crate::mesh::sidecar::Sidecar;
use crate::patch::{Patch, delete, part};
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
    let mut by_namespace: BTreeMap<&str, Vec<&Sidecar>> = BTreeMap::new();
    for sidecar in &mesh.sidecars {
        by_namespace.entry(&sidecar.meta.namespace).or_default().push(sidecar);
    }
    let mut pods: BTreeMap<&str, Vec<&Pod>> = BTreeMap::new();
    for pod in &mesh.pods {
        if by_namespace.get(&*pod.meta.namespace).is_some_and(|sidecars| sidecars.len() > 1) {
            pods.entry(&pod.meta.namespace).or_default().push(pod);
        }
    }
    let mut problems = Vec::new();
    for (namespace, sidecars) in &by_namespace {
        let pods = pods.get(namespace).map_or(&[][..], Vec::as_slice);
        for (place, sidecar) in sidecars.iter().enumerate() {
            for older in sidecars.iter().take(place) {
                problems.extend(compete(older, sidecar, pods));
            }
        }
    }
    problems
}

fn compete(older: &Sidecar, sidecar: &Sidecar, pods: &[&Pod]) -> Option<Problem> {
    let (over, exclusive) = match (&older.selector, &sidecar.selector) {
        (None, None) => (format!("the whole of namespace {}", sidecar.meta.namespace), Vec::new()),
        (Some(one), Some(other)) => {
            let (both, exclusive): (Vec<&Pod>, Vec<&Pod>) = pods
                .iter()
                .copied()
                .filter(|pod| selects(other, &pod.meta.labels))
                .partition(|pod| selects(one, &pod.meta.labels));
            let over = if both.is_empty() && one == other {
                // The same selector finds the same pods, whichever there will be.
                names(other.iter().map(|(key, value)| format!("{key}={value}")))
            } else {
                names(both.into_iter().map(workload))
            };
            (over, exclusive)
        }
        (Some(_), None) | (None, Some(_)) => return None,
    };
    if over.is_empty() {
        return None;
    }
    let (own, first) = (sidecar.meta.id(), older.meta.id());
    let message =
        format!("{own} is for {over}, as {first} is: only the older one acts, and Istio leaves open which");
    let remedy = "Keep one Sidecar for each workload: delete the one without effect, or narrow its selector.";
    let problem = Problem::at(&sidecar.meta, sidecar.meta.line, message, remedy);
    if exclusive.is_empty() {
        return Some(problem.yaml(delete(&sidecar.meta)));
    }
    // A label that its other pods have in common, and that the older one's selector contradicts.
    let common = exclusive.first()?.meta.labels.iter().find(|(key, value)| {
        older.selector.as_ref().is_some_and(|one| one.get(*key).is_some_and(|own| own != *value))
            && exclusive.iter().all(|pod| pod.meta.labels.get(*key) == Some(value))
    });
    Some(match common {
        Some((key, value)) => {
            let pointer = format!("/spec/workloadSelector/labels/{}", part(key));
            problem.yaml(Patch::of(&sidecar.meta).set(&pointer, value.as_str()).yaml())
        }
        None => problem,
    })
}
