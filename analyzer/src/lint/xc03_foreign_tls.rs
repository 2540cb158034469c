//! XC03: TLS that is not Istio's meets a sidecar with no filter chain for it.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::meetings::{blame, grouped, hosts};
use crate::lint::{Problem, Rule};
use crate::report::{ClientTls, Severity};

pub(super) const RULE: Rule = Rule {
    id: "XC03",
    severity: Severity::High,
    title: "SIMPLE or MUTUAL to a port of the mesh",
    page: include_str!("../../../docs/findings/XC03.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[],
        add: "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: broken, namespace: shop, creationTimestamp: '2026-02-01T00:00:00Z'}\nspec: {host: web, trafficPolicy: {tls: {mode: SIMPLE, caCertificates: /ca}}}",
        also: &[],
    },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for ((client, server), group) in grouped(survey, "XC03") {
        let mode = group.first().and_then(|meeting| meeting.expectation.expected.client_tls);
        let message = format!(
            "{client} originates {} to {} in the mesh ({server} decides there): no filter chain of its sidecar accepts that",
            mode.map_or("TLS", ClientTls::name),
            hosts(&group)
        );
        problems.push(blame(
            survey.mesh,
            [client, server],
            &group,
            message,
            "Use ISTIO_MUTUAL, or remove the tls block so that auto mTLS decides.",
            "ISTIO_MUTUAL",
        ));
    }
    problems
}
