//! SC04: TLS of an ingress listener, which Istio leaves out unless a feature that is off by default is on.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::{Problem, Rule};
use crate::report::Severity;

pub(super) const RULE: Rule = Rule {
    id: "SC04",
    severity: Severity::Medium,
    title: "TLS of a Sidecar's listener that is ignored",
    page: include_str!("../../../docs/findings/SC04.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[],
        add: "apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: a, namespace: shop, creationTimestamp: '2026-02-01T00:00:00Z'}\nspec: {workloadSelector: {labels: {app: web}}, ingress: [{port: {number: 7070, protocol: HTTP, name: x}, tls: {mode: SIMPLE}}]}",
        also: &["SC02"],
    },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
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
