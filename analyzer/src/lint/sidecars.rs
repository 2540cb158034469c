//! SC02, SC03, SC04: Sidecar resources that compete, or say what has no effect.

use crate::lint::contradictions::workload;
use crate::lint::{Problem, Survey, names};
use crate::mesh::meta::selects;
use crate::policy::visibility::sidecar_for;
use crate::report::PartyKind;

/// SC02: an ingress list that leaves out a port of the workload's Services.
pub(crate) fn omits_port(survey: &Survey<'_>) -> Vec<Problem> {
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

/// SC03: two Sidecars for one workload, of which the older acts.
pub(crate) fn compete(survey: &Survey<'_>) -> Vec<Problem> {
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

/// SC04: TLS of an ingress listener, which Istio leaves out unless a feature that is off by default is on.
pub(crate) fn ignored_tls(survey: &Survey<'_>) -> Vec<Problem> {
    let listeners = survey
        .mesh
        .sidecars
        .iter()
        .flat_map(|sidecar| sidecar.ingress.iter().flatten().map(move |entry| (sidecar, entry)));
    listeners
        .filter(|(_, entry)| entry.tls_mode.is_some())
        .map(|(sidecar, entry)| {
            let message = format!(
                "tls of ingress port {} of {} is ignored: ENABLE_TLS_ON_SIDECAR_INGRESS is off by default",
                entry.port,
                sidecar.meta.id()
            );
            Problem::at(
                &sidecar.meta,
                entry.line,
                message,
                "Drop it, or switch the feature on and set the port's PeerAuthentication to DISABLE.",
            )
        })
        .collect()
}
