//! SC02: An ingress list that leaves out a port of the workload's Services.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::meetings::workload;
use crate::lint::{Problem, Rule};
use crate::policy::visibility::sidecar_for;
use crate::report::{PartyKind, Severity};

pub(super) const RULE: Rule = Rule {
    id: "SC02",
    severity: Severity::Low,
    title: "A Sidecar that leaves out a port",
    page: include_str!("../../../docs/findings/SC02.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[],
        add: "apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: a, namespace: shop, creationTimestamp: '2026-02-01T00:00:00Z'}\nspec: {workloadSelector: {labels: {app: web}}, ingress: [{port: {number: 7070, protocol: HTTP, name: x}}]}",
        also: &[],
    },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    let mut found = std::collections::BTreeMap::new();
    for pod in mesh.pods.iter().filter(|pod| pod.proxy == PartyKind::Sidecar && !pod.ended) {
        let Some(sidecar) = sidecar_for(mesh, pod) else { continue };
        let Some(ingress) = &sidecar.ingress else { continue };
        for port in mesh.hosts.iter().flat_map(|host| &host.endpoints).filter(|end| pod.ips.contains(&end.ip))
        {
            for wire in port.ports.values().filter(|wire| !ingress.iter().any(|entry| entry.port == **wire)) {
                found.entry((sidecar.meta.id(), *wire)).or_insert((sidecar, pod));
            }
        }
    }
    found
        .into_iter()
        .map(|((id, port), (sidecar, pod))| {
            let message = format!(
                "the ingress list of {id} leaves out port {port}, which a Service of {} exposes: its protocol is not known there",
                workload(pod)
            );
            Problem::at(&sidecar.meta, sidecar.meta.line, message, "Add the port to the ingress list.")
        })
        .collect()
}
