//! SE05: Endpoints of the mesh that clients reach in plaintext.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::service_entries::workloads;
use crate::lint::{Problem, Rule, names};
use crate::report::Severity;

pub(super) const RULE: Rule = Rule {
    id: "SE05",
    severity: Severity::Medium,
    title: "An endpoint of the mesh without an identity",
    page: include_str!("../../../docs/findings/SE05.md"),
    check,
    #[cfg(test)]
    broken: Broken { replace: &[], add: "", also: &[] },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    survey
        .mesh
        .service_entries
        .iter()
        .filter(|entry| entry.internal)
        .filter_map(|entry| {
            let bare = names(
                entry.endpoints.iter().filter(|endpoint| !endpoint.tls_mode_istio()).map(|endpoint| endpoint.address.clone())
                .chain(workloads(survey.mesh, entry).filter(|(_, capable)| !capable).map(|(name, _)| name)),
            );
            (!bare.is_empty()).then(|| {
                let message = format!(
                    "{} is in the mesh, but {bare} has neither serviceAccount nor the label tlsMode: clients send plaintext",
                    entry.meta.id()
                );
                let remedy = "Set serviceAccount on the endpoint if it has a proxy.";
                Problem::at(&entry.meta, entry.meta.line, message, remedy)
                    .yaml("endpoints:\n- address: ADDRESS\n  serviceAccount: NAME\n".to_owned())
            })
        })
        .collect()
}
