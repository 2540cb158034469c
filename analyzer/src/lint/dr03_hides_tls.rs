//! DR03: One rule alone acts for a host, so a nearer or more specific one without tls hides one with it.

use std::collections::HashMap;

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::destination_rules::{
    blocks, by_itself, export_set, host_of, is_closest, top, written,
};
use crate::lint::{Problem, Rule};
use crate::mesh::destination_rule::{DestinationRule, TlsSettings};
use crate::mesh::{HostService, Mesh};
use crate::patch::Patch;
use crate::policy::visibility::{covers, exported};
use crate::report::{ClientTls, Severity};
use serde_json::json;

pub(super) const RULE: Rule = Rule {
    id: "DR03",
    severity: Severity::Low,
    title: "A rule without tls hides one with tls",
    page: include_str!("../../../docs/findings/DR03.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[],
        add: "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: wide, namespace: istio-system, creationTimestamp: '2026-02-01T00:00:00Z'}\nspec: {host: '*.data.svc.cluster.local', trafficPolicy: {tls: {mode: ISTIO_MUTUAL, sni: mesh}}}\n---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: broken, namespace: shop, creationTimestamp: '2026-02-01T00:00:00Z'}\nspec: {host: store.data.svc.cluster.local, trafficPolicy: {connectionPool: {tcp: {maxConnections: 1}}}}",
        also: &[],
    },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    let mut exact: HashMap<String, Vec<&DestinationRule>> = HashMap::new();
    let mut patterns: Vec<&DestinationRule> = Vec::new();
    for rule in written(mesh).filter(|rule| top(rule).is_some()) {
        match host_of(mesh, rule) {
            pattern if pattern.starts_with('*') => patterns.push(rule),
            host => exact.entry(host).or_default().push(rule),
        }
    }
    let mut problems = Vec::new();
    for rule in written(mesh).filter(|rule| blocks(rule).is_empty() && !completed(mesh, rule)) {
        let hidden = survey.hosts.covered(&host_of(mesh, rule)).into_iter().find_map(|host| {
            let own = exact.get(&host.host).into_iter().flatten();
            let other = own.chain(&patterns).find(|other| hides(mesh, rule, other, host))?;
            Some((host, *other, top(other)?))
        });
        if let Some((host, other, tls)) = hidden {
            problems.push(problem(survey, rule, host, other, tls));
        }
    }
    problems
}

fn problem(
    survey: &Survey<'_>,
    rule: &DestinationRule,
    host: &HostService,
    other: &DestinationRule,
    tls: &TlsSettings,
) -> Problem {
    let auto = by_itself(survey, host);
    let instead = if auto == ClientTls::IstioMutual { "auto mTLS" } else { "no TLS" };
    let message = format!(
        "{} sets no tls for {} and hides {}, which sets {}: clients get {instead} instead",
        rule.meta.id(),
        host.host,
        other.meta.id(),
        tls.mode
    );
    let block = Patch::of(&other.meta).get("/spec/trafficPolicy/tls").cloned();
    let block = block.unwrap_or_else(|| json!({"mode": tls.mode.name()}));
    let ports = rule.policy.iter().flat_map(|policy| policy.ports.iter().enumerate());
    let patch = Patch::of(&rule.meta).set("/spec/trafficPolicy/tls", block.clone());
    let patch = ports.fold(patch, |patch, (place, _)| {
        patch.set(&format!("/spec/trafficPolicy/portLevelSettings/{place}/tls"), block.clone())
    });
    let severity = if tls.mode == auto { Severity::Low } else { Severity::High };
    Problem::at(&rule.meta, rule.host_line, message, "Repeat the tls block in this rule.")
        .yaml(patch.yaml())
        .rated(severity)
}

/// Tells whether a rule without any trafficPolicy takes that of another one for the same host.
fn completed(mesh: &Mesh, rule: &DestinationRule) -> bool {
    rule.policy.is_none()
        && written(mesh).any(|other| {
            other.policy.is_some()
                && other.meta.namespace == rule.meta.namespace
                && host_of(mesh, other) == host_of(mesh, rule)
                && export_set(other) == export_set(rule)
        })
}

/// Tells whether `other` would act for a host if `rule` were not there: in one namespace the more specific host counts,
/// else the client's namespace comes before the service's, and that before the root namespace.
fn hides(mesh: &Mesh, rule: &DestinationRule, other: &DestinationRule, host: &HostService) -> bool {
    let root = mesh.config.root_namespace.as_str();
    let (own, wide) = (host_of(mesh, rule), host_of(mesh, other));
    if !covers(&wide, &host.host) {
        return false;
    }
    if other.meta.namespace == rule.meta.namespace {
        let closeness = |host: &str| (!host.starts_with('*'), host.len());
        return closeness(&own) > closeness(&wide);
    }
    let rank = |namespace: &str| {
        if *namespace == *host.namespace {
            Some(1)
        } else if namespace == root {
            Some(2)
        } else {
            None
        }
    };
    let nearer = match (rank(&rule.meta.namespace), rank(&other.meta.namespace)) {
        (own, Some(further)) => own.unwrap_or(0) < further,
        (_, None) => false,
    };
    nearer
        && !other.is_private()
        && exported(&other.export_to, &other.meta.namespace, &rule.meta.namespace)
        && is_closest(mesh, other, &host.host)
}
