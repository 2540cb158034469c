//! XC05: Pods without a proxy, where every service of the mesh is STRICT.

use std::collections::BTreeMap;

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::injection::{could_have_proxy, inject};
use crate::lint::survey::meetings::workload;
use crate::lint::survey::peer_authentications::sidecar_modes;
use crate::lint::{Problem, Rule, agree, names};
use crate::mesh::pod::Pod;
use crate::patch::together;
use crate::report::{ServerMode, Severity};

pub(super) const RULE: Rule = Rule {
    id: "XC05",
    severity: Severity::Info,
    title: "Pods that can never connect",
    page: include_str!("../../../docs/findings/XC05.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[],
        add: "apiVersion: v1\nkind: Pod\nmetadata: {name: z-0, namespace: shop, labels: {app: z, sidecar.istio.io/inject: 'false'}}\nspec: {containers: [{name: app, ports: [{containerPort: 7000}]}]}\nstatus: {podIP: 10.0.9.9}",
        // STRICT covers the pod too, and nothing enforces it there.
        also: &["PA07"],
    },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    // What no Service leads to is a client, and nothing that others connect to; unless no Services are declared at all.
    let served = |pod: &Pod| mesh.hosts_of(pod).next().is_some();
    let any_served = sidecar_modes(mesh).any(|(pod, _)| served(pod));
    let modes = sidecar_modes(mesh).filter(|(pod, _)| !any_served || served(pod));
    let mut modes = modes.map(|(_, mode)| mode.value).peekable();
    if modes.peek().is_none() || modes.any(|mode| mode != ServerMode::Strict) {
        return Vec::new();
    }
    let mut bare: BTreeMap<&str, BTreeMap<String, &Pod>> = BTreeMap::new();
    for pod in mesh.pods.iter().filter(|pod| could_have_proxy(mesh, pod)) {
        bare.entry(&pod.meta.namespace).or_default().entry(workload(pod)).or_insert(pod);
    }
    bare.into_values()
        .filter_map(|pods| {
            let first = *pods.values().next()?;
            let message = format!(
                "{} {} no proxy, and every service of the mesh is STRICT: {} can connect to none of them",
                names(pods.keys().cloned()),
                agree(pods.len(), "has", "have"),
                agree(pods.len(), "it", "they"),
            );
            let remedy = "Inject them, or open the ports that they need with PERMISSIVE.";
            let yaml = together(pods.values().map(|pod| inject(mesh, pod).yaml()));
            Some(Problem::at(&first.meta, first.meta.line, message, remedy).yaml(yaml))
        })
        .collect()
}
