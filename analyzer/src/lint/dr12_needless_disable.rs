//! DR12: DISABLE is written although both ends have proxies that could do mTLS.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::meetings::{blame, grouped, hosts};
use crate::lint::{Problem, Rule};
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
        also: &["XC01"],
    },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for ((client, server), group) in grouped(survey, "DR12") {
        let message =
            format!("{client} switches TLS off to {}, though the servers there could do mTLS", hosts(&group));
        let remedy = "Remove the tls block: auto mTLS then encrypts this traffic.";
        problems.push(blame(survey.mesh, [client, server], &group, message, remedy, "ISTIO_MUTUAL"));
    }
    problems
}
