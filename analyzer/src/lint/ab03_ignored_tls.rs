//! AB03: ztunnel knows no DestinationRule: only waypoints, gateways and sidecars do.

use std::collections::BTreeSet;

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::destination_rules::{blocks, client_namespaces, host_of, written};
use crate::lint::{Problem, Rule, names};
use crate::mesh::destination_rule::DestinationRule;
use crate::mesh::meta::{Labels, selects};
use crate::mesh::pod::Pod;
use crate::mesh::waypoint::{GATEWAY_NAME, USE_WAYPOINT, WAYPOINT_NAMESPACE, Waypoint};
use crate::mesh::{HostService, Mesh};
use crate::patch::{Patch, part, together};
use crate::policy::destination_rule::Acting;
use crate::policy::inbound::HBONE;
use crate::report::Severity;
use serde_json::json;

pub(super) const RULE: Rule = Rule {
    id: "AB03",
    severity: Severity::Medium,
    title: "A rule's tls that ambient clients ignore",
    page: include_str!("../../../docs/findings/AB03.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[],
        add: "apiVersion: v1\nkind: Pod\nmetadata: {name: z-0, namespace: shop, labels: {app: z}, annotations: {ambient.istio.io/redirection: enabled}}\nspec: {containers: [{name: app, ports: [{containerPort: 7000}]}]}\nstatus: {podIP: 10.0.9.9}",
        // The server of the rule is a sidecar that takes no HBONE.
        also: &["AB04"],
    },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    if survey.ambient.is_empty() {
        return Vec::new();
    }
    let mut problems = Vec::new();
    for rule in written(mesh) {
        let blocks = blocks(rule);
        let Some(tls) = blocks.first().map(|block| block.tls) else { continue };
        let mut clients = BTreeSet::new();
        let mut ignored = Vec::new();
        let mut behind_waypoint = false;
        for host in survey.hosts.covered(&host_of(mesh, rule)) {
            let waypoint = mesh.waypoint_of_host(host);
            // Behind a waypoint the rule acts, unless it is for other workloads.
            if waypoint.is_some_and(|waypoint| is_for(mesh, rule, waypoint)) {
                continue;
            }
            behind_waypoint |= waypoint.is_some();
            let servers = servers(mesh, host);
            let uses = |pod: &Pod, acting: Option<&Acting<'_>>| {
                acting.is_some_and(|acting| std::ptr::eq(acting.policy_from, rule))
                    && !servers.contains(&(&*pod.meta.namespace, pod.workload.as_str()))
            };
            let own = client_namespaces(survey, &survey.ambient, host, uses);
            if !own.is_empty() {
                ignored.push(host);
                clients.extend(own);
            }
        }
        if ignored.is_empty() {
            continue;
        }
        let whom = format!(
            "{} sets {} for {}, but ambient clients in {} have no waypoint in between",
            rule.meta.id(),
            tls.mode,
            names(ignored.iter().map(|host| host.host.clone())),
            names(clients.into_iter().map(str::to_owned))
        );
        if behind_waypoint {
            let message =
                format!("{whom} that its workloadSelector is for: neither ztunnel nor the waypoint uses it");
            let remedy =
                "Let the rule be for the waypoint as well: without a workloadSelector it is for all.";
            let yaml = Patch::of(&rule.meta).remove("/spec/workloadSelector").yaml();
            problems.push(Problem::at(&rule.meta, tls.line, message, remedy).yaml(yaml));
            continue;
        }
        let message = format!("{whom}: ztunnel ignores it and sends HBONE or the application's own bytes");
        let remedy = "Put a waypoint before the host, which then uses the rule.";
        let yaml = together(waypoints(mesh, &ignored));
        problems.push(Problem::at(&rule.meta, tls.line, message, remedy).yaml(yaml));
    }
    problems
}

/// Tells whether a waypoint's proxy is one that a rule is for: every one, or those in its namespace that its selector chooses.
///
/// Istio: `pkg/config/analysis/analyzers/testdata`, `destinationrule-waypoint-workload-selector.yaml`.
fn is_for(mesh: &Mesh, rule: &DestinationRule, waypoint: &Waypoint) -> bool {
    let Some(selector) = &rule.workload_selector else { return true };
    // What istiod labels the pods of a Gateway with, be they declared or not.
    let made = Labels::from([(GATEWAY_NAME.to_owned(), waypoint.meta.name.to_string())]);
    rule.meta.namespace == waypoint.meta.namespace
        && (selects(selector, &made)
            || mesh
                .pods_with(&waypoint.meta.namespace, &made)
                .any(|(_, pod)| selects(selector, &pod.meta.labels)))
}

/// The workloads behind a host, by namespace and name: no clients of it. The members of a headless one call each other.
fn servers<'a>(mesh: &'a Mesh, host: &HostService) -> BTreeSet<(&'a str, &'a str)> {
    let endpoints = host.endpoints.iter().filter(|_| !host.original_destination);
    let pods = endpoints.filter_map(|endpoint| mesh.pod_of(endpoint));
    pods.map(|pod| (&*pod.meta.namespace, pod.workload.as_str())).collect()
}

/// Labels each host for a waypoint of its namespace that takes what is for Services, and makes one where there is none.
fn waypoints(mesh: &Mesh, hosts: &[&HostService]) -> BTreeSet<String> {
    let mut patches = BTreeSet::new();
    for host in hosts {
        let Some(declaration) = mesh.declaration(host) else { continue };
        let own = mesh.waypoints_in(&host.namespace).find(|waypoint| waypoint.is_for_services());
        let name = own.map_or("waypoint", |waypoint| &*waypoint.meta.name);
        if own.is_none() {
            let listener = json!({"name": "mesh", "port": HBONE, "protocol": "HBONE"});
            let gateway = Patch::create("gateway.networking.k8s.io/v1", "Gateway", &host.namespace, name)
                .set(&format!("/metadata/labels/{}", part("istio.io/waypoint-for")), "service")
                .set("/spec/gatewayClassName", "istio-waypoint")
                .set("/spec/listeners", json!([listener]));
            patches.insert(gateway.yaml());
        }
        let label = |key: &str| format!("/metadata/labels/{}", part(key));
        let mut patch = Patch::of(declaration).set(&label(USE_WAYPOINT), name);
        if declaration.labels.contains_key(WAYPOINT_NAMESPACE) {
            patch = patch.remove(&label(WAYPOINT_NAMESPACE));
        }
        patches.insert(patch.yaml());
    }
    patches
}
