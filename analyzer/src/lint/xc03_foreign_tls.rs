//! XC03: TLS that is not Istio's meets a sidecar with no filter chain for it.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::meetings::{blame, deciding_block, grouped, hosts};
use crate::lint::{Problem, Rule};
use crate::patch::Patch;
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
        let Some(first) = group.first() else { continue };
        let mode = first.expectation.expected.client_tls.map_or("TLS", ClientTls::name);
        let message = format!(
            "{client} originates {mode} to {} in the mesh ({server} decides there): the server's sidecar refuses it{}",
            hosts(&group),
            survey.condition()
        );
        let remedy = "Use ISTIO_MUTUAL, or remove the tls block so that auto mTLS decides.";
        let problem = blame(survey.mesh, [client, server], &group, message, remedy);
        problems.push(match deciding_block(survey.mesh, &first.expectation) {
            Some(block) => problem.yaml(block.to_mesh_mtls(survey, Patch::of(&block.rule.meta)).yaml()),
            None => problem,
        });
    }
    problems
}
