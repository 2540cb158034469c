//! GW17: Hosts that the Gateway does not serve.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::gateways::overlap;
use crate::lint::{Problem, Rule, names};
use crate::mesh::gateway::Gateway;
use crate::report::Severity;

pub(super) const RULE: Rule = Rule {
    id: "GW17",
    severity: Severity::Medium,
    title: "A routed host that the Gateway does not serve",
    page: include_str!("../../../docs/findings/GW17.md"),
    check,
    #[cfg(test)]
    broken: Broken { replace: &[], add: "", also: &[] },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    let mut problems = Vec::new();
    for routes in mesh.virtual_services.iter().filter(|routes| !routes.is_for_mesh()) {
        let gateways: Vec<&Gateway> = mesh
            .gateways
            .iter()
            .filter(|gateway| routes.binds(&gateway.meta.namespace, &gateway.meta.name))
            .collect();
        let uncovered = names(
            routes
                .hosts
                .iter()
                .filter(|host| {
                    !gateways
                        .iter()
                        .flat_map(|gateway| &gateway.servers)
                        .any(|server| server.hosts.iter().any(|own| overlap(own, host)))
                })
                .cloned(),
        );
        if !gateways.is_empty() && !uncovered.is_empty() {
            let message = format!(
                "{} routes {uncovered}, which no server of {} serves",
                routes.meta.id(),
                names(gateways.iter().map(|gateway| gateway.meta.id()))
            );
            problems.push(Problem::at(
                &routes.meta,
                routes.meta.line,
                message,
                "Add the host to the Gateway, or correct it here.",
            ));
        }
    }
    problems
}
