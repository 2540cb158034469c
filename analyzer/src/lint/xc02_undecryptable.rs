//! XC02: An explicit ISTIO_MUTUAL meets something that cannot terminate it.

use std::collections::BTreeSet;

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::destination_rules::narrower;
use crate::lint::survey::meetings::{Meeting, blame, deciding_block, grouped, hosts};
use crate::lint::{Problem, Rule};
use crate::mesh::Mesh;
use crate::patch::{Patch, together};
use crate::report::Severity;
use serde_json::json;

pub(super) const RULE: Rule = Rule {
    id: "XC02",
    severity: Severity::High,
    title: "ISTIO_MUTUAL to a server that cannot decrypt it",
    page: include_str!("../../../docs/findings/XC02.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[],
        add: "apiVersion: v1\nkind: Pod\nmetadata: {name: z-0, namespace: shop, labels: {app: z, sidecar.istio.io/inject: 'false'}}\nspec: {containers: [{name: app, ports: [{containerPort: 7000}]}]}\nstatus: {podIP: 10.0.9.9}\n---\napiVersion: v1\nkind: Service\nmetadata: {name: z, namespace: shop, creationTimestamp: '2026-02-01T00:00:00Z'}\nspec: {clusterIP: 10.96.9.9, selector: {app: z}, ports: [{name: http, port: 80, targetPort: 7000}]}\n---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: broken, namespace: shop, creationTimestamp: '2026-02-01T00:00:00Z'}\nspec: {host: z, trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}}",
        // A pod without a proxy in a mesh that is STRICT throughout.
        also: &["XC05", "PA07"],
    },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    let mut problems = Vec::new();
    for ((client, server), group) in grouped(survey, "XC02") {
        let why = if server == "default" {
            "which has no proxy for it".to_owned()
        } else {
            format!("where {server} sets DISABLE")
        };
        let message = format!(
            "{client} sends Istio mTLS to {}, {why}: the server cannot decrypt it{}",
            hosts(&group),
            survey.condition()
        );
        let remedy = "Leave these hosts out of the rule, or give the servers a proxy that takes mTLS.";
        let problem = blame(mesh, [client, server], &group, message, remedy);
        problems.push(match patch(mesh, &group) {
            Some(yaml) => problem.yaml(yaml),
            None => problem,
        });
    }
    problems
}

/// A rule for one host leaves it to auto mTLS; beside a rule for many comes one for each host that it cannot be for.
fn patch(mesh: &Mesh, group: &[&Meeting<'_>]) -> Option<String> {
    let block = deciding_block(mesh, &group.first()?.expectation)?;
    if !block.rule.host.starts_with('*') {
        return Some(block.to_automatic(mesh, Patch::of(&block.rule.meta)).yaml());
    }
    let hosts: BTreeSet<&str> = group.iter().map(|meeting| meeting.host.host.as_str()).collect();
    let narrow = |host| narrower(mesh, block.rule, host, json!({"mode": "DISABLE"})).yaml();
    Some(together(hosts.into_iter().map(narrow)))
}
