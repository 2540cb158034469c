//! GW09: The selector finds no pod.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::gateways::configures;
use crate::lint::{Problem, Rule, names};
use crate::report::Severity;

pub(super) const RULE: Rule = Rule {
    id: "GW09",
    severity: Severity::High,
    title: "A Gateway that selects no pod",
    page: include_str!("../../../docs/findings/GW09.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[("    app: ingress\n  servers", "    app: nobody\n  servers")],
        add: "",
        also: &[],
    },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    mesh.gateways
        .iter()
        .filter(|gateway| !mesh.pods.iter().any(|pod| configures(gateway, pod)))
        .map(|gateway| {
            let labels = names(gateway.selector.iter().map(|(key, value)| format!("{key}={value}")));
            let message =
                format!("{} selects {labels}: no pod has that, so nothing listens", gateway.meta.id());
            Problem::at(
                &gateway.meta,
                gateway.meta.line,
                message,
                "Correct the selector, or deploy the gateway.",
            )
        })
        .collect()
}
