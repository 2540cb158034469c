//! SC04: TLS of an ingress listener, which Istio leaves out unless a feature that is off by default is on.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::{Problem, Rule, names};
use crate::mesh::Mesh;
use crate::patch::Patch;
use crate::policy::Trace;
use crate::policy::peer_authentication::effective;
use crate::policy::visibility::sidecar_for;
use crate::report::{PartyKind, ServerMode, Severity};
use std::collections::BTreeSet;

pub(super) const RULE: Rule = Rule {
    id: "SC04",
    severity: Severity::Medium,
    title: "TLS of a Sidecar's listener that is ignored",
    page: include_str!("../../../docs/findings/SC04.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[],
        add: "apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: broken, namespace: shop, creationTimestamp: '2026-02-01T00:00:00Z'}\nspec: {workloadSelector: {labels: {app: web}}, ingress: [{port: {number: 8080, protocol: HTTP, name: http}, tls: {mode: SIMPLE, privateKey: /key, serverCertificate: /cert}}]}",
        also: &[],
    },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    let switched_on = mesh.control_plane.tls_on_sidecar_ingress;
    let enforced = if switched_on { enforced(mesh) } else { BTreeSet::new() };
    mesh.sidecars
        .iter()
        .filter_map(|sidecar| {
            let id = sidecar.meta.id();
            let ignored: Vec<_> = sidecar
                .ingress
                .iter()
                .flatten()
                .filter(|entry| entry.tls_mode.is_some())
                .filter(|entry| !switched_on || enforced.contains(&(id.clone(), entry.port)))
                .collect();
            let line = ignored.first()?.line;
            let why = if switched_on {
                "the port's PeerAuthentication is not DISABLE"
            } else {
                "ENABLE_TLS_ON_SIDECAR_INGRESS is off by default"
            };
            let ports = names(ignored.iter().map(|entry| entry.port.to_string()));
            let message = format!(
                "{id} sets tls at its ingress port {ports}, where Istio ignores it: {why}. PeerAuthentication decides alone"
            );
            let remedy =
                "Drop it, or switch the feature on in istiod and set the port's PeerAuthentication to DISABLE.";
            let patch = ignored.iter().fold(Patch::of(&sidecar.meta), |patch, entry| {
                patch.remove(&format!("/spec/ingress/{}/tls", entry.place))
            });
            Some(Problem::at(&sidecar.meta, line, message, remedy).yaml(patch.yaml()))
        })
        .collect()
}

/// The ingress ports, by Sidecar, at which some workload's mode is not DISABLE.
fn enforced(mesh: &Mesh) -> BTreeSet<(String, u16)> {
    let mut found = BTreeSet::new();
    for pod in mesh.pods.iter().filter(|pod| pod.proxy == PartyKind::Sidecar && !pod.ended) {
        let Some(sidecar) = sidecar_for(mesh, pod) else { continue };
        for entry in sidecar.ingress.iter().flatten().filter(|entry| entry.tls_mode.is_some()) {
            let (namespace, labels) = (&pod.meta.namespace, &pod.meta.labels);
            let mode = effective(mesh, namespace, labels, entry.port, &mut Trace::unheard());
            if mode.value != ServerMode::Disable {
                found.insert((sidecar.meta.id(), entry.port));
            }
        }
    }
    found
}
