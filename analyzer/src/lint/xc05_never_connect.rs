//! XC05: Pods without a proxy, where every service of the mesh is STRICT.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::injection::uninjected;
use crate::lint::survey::meetings::workload;
use crate::lint::survey::peer_authentications::container_ports;
use crate::lint::{Problem, Rule, names};
use crate::mesh::pod::Pod;
use crate::policy::Trace;
use crate::policy::peer_authentication::effective;
use crate::report::{PartyKind, ServerMode, Severity};
use std::collections::BTreeMap;

pub(super) const RULE: Rule = Rule {
    id: "XC05",
    severity: Severity::Info,
    title: "Pods that can never connect",
    page: include_str!("../../../docs/findings/XC05.md"),
    check,
    #[cfg(test)]
    broken: Broken { replace: &[], add: "", also: &[] },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    let mut modes = mesh.pods.iter().filter(|pod| pod.proxy == PartyKind::Sidecar).flat_map(|pod| {
        container_ports(mesh, pod).into_iter().map(|port| {
            effective(mesh, &pod.meta.namespace, &pod.meta.labels, port, &mut Trace::default()).value
        })
    });
    let Some(first) = modes.next() else { return Vec::new() };
    if first != ServerMode::Strict || modes.any(|mode| mode != ServerMode::Strict) {
        return Vec::new();
    }
    let mut bare: BTreeMap<&str, Vec<&Pod>> = BTreeMap::new();
    for pod in mesh.pods.iter().filter(|pod| uninjected(mesh, pod)) {
        bare.entry(&pod.meta.namespace).or_default().push(pod);
    }
    bare.into_values()
        .filter_map(|pods| {
            let first = *pods.first()?;
            let message = format!(
                "{} have no proxy and every service of the mesh is STRICT: they can never connect",
                names(pods.iter().map(|pod| workload(pod)))
            );
            Some(Problem::at(
                &first.meta,
                first.meta.line,
                message,
                "Inject them, or leave a PERMISSIVE port for them.",
            ))
        })
        .collect()
}
