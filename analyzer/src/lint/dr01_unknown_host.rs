//! DR01: No Service and no ServiceEntry has the host.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::destination_rules::{host_of, written};
use crate::lint::{Problem, Rule};
use crate::policy::visibility::covers;
use crate::report::Severity;

pub(super) const RULE: Rule = Rule {
    id: "DR01",
    severity: Severity::Medium,
    title: "A rule for a host that nobody knows",
    page: include_str!("../../../docs/findings/DR01.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[],
        add: "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: broken, namespace: shop, creationTimestamp: '2026-02-01T00:00:00Z'}\nspec: {host: nobody, trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}}",
        also: &[],
    },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    written(mesh)
        .filter(|rule| {
            let host = host_of(mesh, rule);
            !mesh.hosts.iter().any(|known| covers(&host, &known.host) || covers(&known.host, &host))
        })
        .map(|rule| {
            let host = host_of(mesh, rule);
            let message =
                format!("{} is for {host}: no Service or ServiceEntry has that name", rule.meta.id());
            Problem::at(
                &rule.meta,
                rule.host_line,
                message,
                "Write the full name: service.namespace.svc.cluster.local.",
            )
        })
        .collect()
}
