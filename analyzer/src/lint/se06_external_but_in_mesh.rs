//! SE06: What is in the mesh is declared to be outside, so auto mTLS is off.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::service_entries::workloads;
use crate::lint::{Problem, Rule, names};
use crate::mesh::meta::selects;
use crate::report::{PartyKind, Severity};

pub(super) const RULE: Rule = Rule {
    id: "SE06",
    severity: Severity::Medium,
    title: "Mesh workloads declared outside the mesh",
    page: include_str!("../../../docs/findings/SE06.md"),
    check,
    #[cfg(test)]
    broken: Broken { replace: &[], add: "", also: &[] },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    survey
        .mesh
        .service_entries
        .iter()
        .filter(|entry| !entry.internal)
        .filter_map(|entry| {
            let in_mesh = |ip| mesh.pod_at(ip, None).is_some_and(|pod| pod.proxy != PartyKind::NoProxy);
            let known_workload = |ip| {
                mesh.workload_entries
                    .iter()
                    .any(|workload| workload.endpoint.ip == Some(ip) && workload.endpoint.tls_mode_istio())
            };
            let selected = entry.workload_selector.as_ref().into_iter().flat_map(|selector| {
                mesh.pods
                    .iter()
                    .filter(|pod| {
                        pod.meta.namespace == entry.meta.namespace
                            && pod.proxy != PartyKind::NoProxy
                            && selects(selector, &pod.meta.labels)
                    })
                    .map(|pod| pod.meta.id())
            });
            let inside = names(
                entry
                    .endpoints
                    .iter()
                    .filter(|endpoint| endpoint.ip.is_some_and(|ip| in_mesh(ip) || known_workload(ip)))
                    .map(|endpoint| endpoint.address.clone())
                    .chain(selected)
                    .chain(workloads(mesh, entry).map(|(name, _)| name)),
            );
            (!inside.is_empty()).then(|| {
                let how = if entry.location_written {
                    "is MESH_EXTERNAL"
                } else {
                    "has no location, which means MESH_EXTERNAL"
                };
                let message =
                    format!("{} {how}, but {inside} is part of the mesh: auto mTLS is off", entry.meta.id());
                Problem::at(&entry.meta, entry.meta.line, message, "Set location to MESH_INTERNAL.")
                    .yaml("spec:\n  location: MESH_INTERNAL\n".to_owned())
            })
        })
        .collect()
}
