//! DR07: Sidecars skip `credentialName` unless the rule has a workloadSelector.

use std::collections::BTreeSet;

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::destination_rules::{
    blocks, client_namespaces, host_of, named_rule, through_gateway, written,
};
use crate::lint::{Problem, Rule};
use crate::mesh::Mesh;
use crate::mesh::destination_rule::DestinationRule;
use crate::mesh::meta::{Labels, selects};
use crate::mesh::pod::Pod;
use crate::patch::{Patch, together};
use crate::policy::Trace;
use crate::policy::destination_rule::{Acting, acting};
use crate::report::{ClientTls, PartyKind, Severity};
use serde_json::json;

pub(super) const RULE: Rule = Rule {
    id: "DR07",
    severity: Severity::High,
    title: "credentialName that sidecars skip",
    page: include_str!("../../../docs/findings/DR07.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[],
        add: "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: broken, namespace: shop, creationTimestamp: '2026-02-01T00:00:00Z'}\nspec: {hosts: [plain.example], location: MESH_EXTERNAL, resolution: DNS, ports: [{number: 80, targetPort: 443, name: http, protocol: HTTP}]}\n---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: broken, namespace: shop, creationTimestamp: '2026-02-01T00:00:00Z'}\nspec: {host: plain.example, trafficPolicy: {tls: {mode: SIMPLE, credentialName: partner}}}",
        also: &[],
    },
};

/// A rule for each client workload up to here; with more of them a gateway is the place for the credential.
const EACH: usize = 20;

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    let mut problems = Vec::new();
    for rule in written(mesh).filter(|rule| rule.workload_selector.is_none()) {
        let blocks = blocks(rule);
        let skipped = blocks.iter().find_map(|block| {
            let credential = block.tls.credential_name.as_deref()?;
            let originates = matches!(block.tls.mode, ClientTls::Simple | ClientTls::Mutual);
            (originates && !credential.starts_with("configmap://")).then_some((block, credential))
        });
        let Some((block, credential)) = skipped else { continue };
        let Some(users) = users(survey, rule) else {
            problems.extend(waits_for_a_sidecar(survey, rule).then(|| {
                let message = format!(
                    "{} names credentialName {credential} without workloadSelector: nothing uses it so far, and a sidecar would skip it",
                    rule.meta.id()
                );
                let remedy = "Bind the rule to the clients that it is for with a workloadSelector, use certificate files, or originate at a gateway.";
                Problem::at(&rule.meta, block.tls.line, message, remedy).rated(Severity::Info)
            }));
            continue;
        };
        let message = format!(
            "{} names credentialName {credential} without workloadSelector: sidecars skip it and send {} no TLS",
            rule.meta.id(),
            rule.host
        );
        let remedy = "Bind the rule to its clients with a workloadSelector, use certificate files, or originate at a gateway.";
        let problem = Problem::at(&rule.meta, block.tls.line, message, remedy);
        problems.push(match patch(mesh, rule, &users) {
            Some(yaml) => problem.yaml(yaml),
            None => problem,
        });
    }
    problems
}

/// Tells whether a rule for a host that is known is used by nobody: no sidecar is in its namespace, and no gateway or waypoint,
/// which would take the credential, finds it.
fn waits_for_a_sidecar(survey: &Survey<'_>, rule: &DestinationRule) -> bool {
    let mesh = survey.mesh;
    let host = host_of(mesh, rule);
    let hosts = survey.hosts.covered(&host);
    let uses = |pod: &Pod, host| {
        acting(mesh, Some(pod), &pod.meta.namespace, host, &mut Trace::unheard())
            .is_some_and(|acting| std::ptr::eq(acting.policy_from, rule))
    };
    let proxies = || {
        let takes = |pod: &&Pod| matches!(pod.proxy, PartyKind::Gateway | PartyKind::Waypoint);
        mesh.pods.iter().filter(takes)
    };
    !survey.sidecars.is_empty()
        && !survey.sidecars.contains_key(&*rule.meta.namespace)
        && !through_gateway(mesh, &host)
        && !hosts.is_empty()
        && !hosts.iter().any(|host| proxies().any(|pod| uses(pod, host)))
}

/// The workloads whose sidecars use a rule; absent where none does. In a mesh without any pod sidecars are assumed.
fn users<'a>(survey: &Survey<'a>, rule: &DestinationRule) -> Option<Vec<&'a Pod>> {
    let mesh = survey.mesh;
    let host = host_of(mesh, rule);
    if through_gateway(mesh, &host) {
        return None;
    }
    if survey.sidecars.is_empty() {
        let only_gateways = mesh.pods.iter().any(|pod| pod.proxy == PartyKind::Gateway);
        return (!only_gateways).then(Vec::new);
    }
    let mut namespaces = BTreeSet::new();
    for host in survey.hosts.covered(&host) {
        let uses = |_: &Pod, acting: Option<&Acting<'_>>| {
            acting.is_some_and(|acting| std::ptr::eq(acting.policy_from, rule))
        };
        namespaces.extend(client_namespaces(survey, &survey.sidecars, host, uses));
    }
    let pods = namespaces.into_iter().filter_map(|namespace| survey.sidecars.get(namespace));
    let selected = |pod: &&Pod| {
        !written(mesh).any(|other| {
            other.meta.namespace == pod.meta.namespace
                && host_of(mesh, other) == host
                && other
                    .workload_selector
                    .as_ref()
                    .is_some_and(|selector| selects(selector, &pod.meta.labels))
        })
    };
    let users: Vec<&Pod> = pods.flat_map(|pods| pods.values().copied()).filter(selected).collect();
    (!users.is_empty()).then_some(users)
}

/// Binds the rule to a client of its own namespace, and writes one like it for every other client.
fn patch(mesh: &Mesh, rule: &DestinationRule, users: &[&Pod]) -> Option<String> {
    if users.is_empty() || users.len() > EACH {
        return None;
    }
    let spec = Patch::of(&rule.meta).get("/spec").cloned()?;
    let own = users.iter().position(|pod| pod.meta.namespace == rule.meta.namespace);
    let patches = users.iter().enumerate().map(|(place, pod)| {
        let patch = if Some(place) == own {
            Patch::of(&rule.meta)
        } else {
            let name = format!("{}-{}", rule.meta.name, pod.workload);
            let host = host_of(mesh, rule);
            named_rule(mesh, &pod.meta.namespace, &name).set("/spec", spec.clone()).set("/spec/host", host)
        };
        patch.set("/spec/workloadSelector/matchLabels", json!(identity(pod))).yaml()
    });
    Some(together(patches))
}

/// The labels that tell a workload's pods from others.
fn identity(pod: &Pod) -> Labels {
    let names = ["app", "app.kubernetes.io/name", "k8s-app", "name"];
    if let Some(name) = names.iter().find(|name| pod.meta.labels.contains_key(**name)) {
        return pod.meta.labels.iter().filter(|(key, _)| key == name).map(own).collect();
    }
    let set_by_others =
        |key: &str| key.contains("istio.io/") || key.contains("-hash") || key.contains("kubernetes.io/");
    pod.meta.labels.iter().filter(|(key, _)| !set_by_others(key)).map(own).collect()
}

fn own((key, value): (&String, &String)) -> (String, String) {
    (key.clone(), value.clone())
}
