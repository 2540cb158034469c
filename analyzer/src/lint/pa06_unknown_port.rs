//! PA06: A port-level mode for a port that the selected pods do not have.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::peer_authentications::{chooses, container_ports};
use crate::lint::{Problem, Rule};
use crate::mesh::pod::Pod;
use crate::report::Severity;
use std::collections::BTreeSet;

pub(super) const RULE: Rule = Rule {
    id: "PA06",
    severity: Severity::High,
    title: "portLevelMtls for a port that no selected pod has",
    page: include_str!("../../../docs/findings/PA06.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[],
        add: "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: broken, namespace: shop, creationTimestamp: '2026-02-01T00:00:00Z'}\nspec: {selector: {matchLabels: {app: web}}, portLevelMtls: {80: {mode: DISABLE}}}",
        also: &[],
    },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    let mut problems = Vec::new();
    for policy in mesh.peer_authentications.iter().filter(|policy| policy.is_for_workloads()) {
        let pods: Vec<&Pod> = mesh.pods.iter().filter(|pod| chooses(mesh, policy, pod)).collect();
        let known: BTreeSet<u16> = pods.iter().flat_map(|pod| container_ports(mesh, pod)).collect();
        if known.is_empty() {
            continue;
        }
        for (port, (_, line)) in policy.ports.iter().filter(|(port, _)| !known.contains(port)) {
            let target = mesh
                .hosts
                .iter()
                .flat_map(|host| &host.endpoints)
                .filter(|endpoint| {
                    mesh.pod_of(endpoint).is_some_and(|pod| pods.iter().any(|own| std::ptr::eq(*own, pod)))
                })
                .find_map(|endpoint| endpoint.ports.get(port));
            let hint = target.map_or(String::new(), |target| {
                format!("; it is the Service's port, behind it the container listens on {target}")
            });
            let message =
                format!("{} sets a mode for port {port}, which no selected pod has{hint}", policy.meta.id());
            let problem =
                Problem::at(&policy.meta, *line, message, "Use the container port, never the Service's.");
            let mode = policy.ports.get(port).and_then(|(mode, _)| *mode);
            problems.push(match (target, mode) {
                (Some(target), Some(mode)) => {
                    problem.yaml(format!("spec:\n  portLevelMtls:\n    {target}:\n      mode: {mode}\n"))
                }
                (_, _) => problem,
            });
        }
    }
    problems
}
