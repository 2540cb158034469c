//! XC01: The client resolves to no TLS, the server takes nothing but mTLS.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::meetings::{blame, client_namespaces, grouped, hosts};
use crate::lint::{Problem, Rule};
use crate::report::Severity;

pub(super) const RULE: Rule = Rule {
    id: "XC01",
    severity: Severity::Critical,
    title: "A client sends no TLS to a STRICT server",
    page: include_str!("../../../docs/findings/XC01.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[],
        add: "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: broken, namespace: shop, creationTimestamp: '2026-02-01T00:00:00Z'}\nspec: {host: web, trafficPolicy: {tls: {mode: DISABLE}}}",
        also: &["DR12"],
    },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for ((client, server), group) in grouped(survey, "XC01") {
        let message = format!(
            "clients in {} send no TLS to {} ({client} decides), where {server} sets STRICT: every request fails",
            client_namespaces(&group),
            hosts(&group)
        );
        problems.push(blame(
            survey.mesh,
            [client, server],
            &group,
            message,
            "Remove the tls block so that auto mTLS decides, or set ISTIO_MUTUAL.",
            "ISTIO_MUTUAL",
        ));
    }
    problems
}
