//! DR04: Of two rules for one host in one namespace, the older one's traffic policy stays whole.

use std::collections::HashMap;

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::destination_rules::{export_set, host_of, written};
use crate::lint::{Problem, Rule};
use crate::mesh::destination_rule::DestinationRule;
use crate::patch::{Patch, delete, part, together};
use crate::report::Severity;
use serde_json::Value;

pub(super) const RULE: Rule = Rule {
    id: "DR04",
    severity: Severity::Medium,
    title: "A second rule for one host is ignored",
    page: include_str!("../../../docs/findings/DR04.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[],
        add: "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: broken, namespace: data, creationTimestamp: '2026-02-01T00:00:00Z'}\nspec: {host: store, trafficPolicy: {connectionPool: {tcp: {maxConnections: 1}}}}",
        also: &[],
    },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    let mut first: HashMap<_, &DestinationRule> = HashMap::new();
    let mut problems = Vec::new();
    for rule in written(mesh) {
        let Some(policy) = &rule.policy else { continue };
        let host = host_of(mesh, rule);
        // Rules of different visibility, or for different workloads, stand apart.
        let key = (&rule.meta.namespace, host.clone(), export_set(rule), &rule.workload_selector);
        let Some(older) = first.get(&key) else {
            first.insert(key, rule);
            continue;
        };
        let message = format!(
            "the trafficPolicy of {} is ignored: {} is older and for the same host {host}",
            rule.meta.id(),
            older.meta.id()
        );
        let remedy = "Merge the two rules into the older one, whose settings count where both have them.";
        problems.push(Problem::at(&rule.meta, policy.line, message, remedy).yaml(merged(older, rule)));
    }
    problems
}

/// Moves into the older rule what it lacks; the other one keeps its subsets, which count, or goes.
fn merged(older: &DestinationRule, rule: &DestinationRule) -> String {
    let policy = Patch::of(&rule.meta).get("/spec/trafficPolicy").cloned();
    let mut target = Patch::of(&older.meta);
    for (field, value) in policy.as_ref().and_then(Value::as_object).into_iter().flatten() {
        let pointer = format!("/spec/trafficPolicy/{}", part(field));
        if target.get(&pointer).is_none() {
            target = target.set(&pointer, value.clone());
        }
    }
    let rest = if rule.subsets.is_empty() {
        delete(&rule.meta)
    } else {
        Patch::of(&rule.meta).remove("/spec/trafficPolicy").yaml()
    };
    together([target.yaml(), rest])
}
