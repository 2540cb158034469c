//! DR12: DISABLE is written although both ends have proxies that could do mTLS.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::meetings::{blame, client_namespaces, deciding_block, grouped, hosts};
use crate::lint::{Problem, Rule};
use crate::patch::Patch;
use crate::report::Severity;

pub(super) const RULE: Rule = Rule {
    id: "DR12",
    severity: Severity::Medium,
    title: "DISABLE where both ends could do mTLS",
    page: include_str!("../../../docs/findings/DR12.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[],
        add: "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: broken, namespace: shop, creationTimestamp: '2026-02-01T00:00:00Z'}\nspec: {host: web, trafficPolicy: {tls: {mode: DISABLE}}}",
        // The server is STRICT and refuses the plaintext.
        also: &["XC01"],
    },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    let mut problems = Vec::new();
    for ((client, server), group) in grouped(survey, "DR12") {
        let message = format!(
            "{client} switches TLS off to {}, though clients in {} and the servers there could do mTLS: what they send is plaintext{}",
            hosts(&group),
            client_namespaces(&group),
            survey.condition()
        );
        let remedy = "Set ISTIO_MUTUAL, or remove the tls block so that auto mTLS decides.";
        let problem = blame(mesh, [client, server], &group, message, remedy);
        let block = group.first().and_then(|meeting| deciding_block(mesh, &meeting.expectation));
        problems.push(match block {
            Some(block) => problem.yaml(block.to_mesh_mtls(survey, Patch::of(&block.rule.meta)).yaml()),
            None => problem,
        });
    }
    problems
}
