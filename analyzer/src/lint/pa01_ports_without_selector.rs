//! PA01: `portLevelMtls` needs a selector; Istio rejects it without one.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::peer_authentications::{
    PATCHED, by_workload, container_ports, free_name, labels_of,
};
use crate::lint::{Problem, Rule, names};
use crate::mesh::Mesh;
use crate::mesh::peer_authentication::PeerAuthentication;
use crate::mesh::pod::Pod;
use crate::patch::{self, Patch};
use crate::policy::peer_authentication::chosen_for_workload;
use crate::report::{PartyKind, Severity};
use serde_json::json;
use std::collections::BTreeMap;

pub(super) const RULE: Rule = Rule {
    id: "PA01",
    severity: Severity::High,
    title: "portLevelMtls without a selector",
    page: include_str!("../../../docs/findings/PA01.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[],
        add: "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: broken, namespace: shop, creationTimestamp: '2026-02-01T00:00:00Z'}\nspec: {mtls: {mode: STRICT}, portLevelMtls: {8080: {mode: STRICT}}}",
        also: &[],
    },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    mesh.peer_authentications
        .iter()
        .filter(|policy| policy.has_ports && !policy.is_for_workloads())
        .map(|policy| {
            let line = policy.ports.values().map(|(_, line)| *line).next().unwrap_or(policy.ports_line);
            let workloads = meant(mesh, policy);
            let meant = names(workloads.keys().map(|(namespace, name)| format!("{namespace}/{name}")));
            let ports = names(policy.ports.keys().map(u16::to_string));
            let message = format!(
                "{} sets portLevelMtls ({ports}) without a selector: Istio ignores it{}",
                policy.meta.id(),
                if meant.is_empty() { String::new() } else { format!(", also for {meant}") }
            );
            let remedy = if meant.is_empty() {
                "Remove portLevelMtls: no workload here has these ports.".to_owned()
            } else {
                format!("Set the ports in a policy with a selector for {meant}, and remove them here.")
            };
            Problem::at(&policy.meta, line, message, remedy).yaml(moved(mesh, policy, &workloads))
        })
        .collect()
}

type Workloads<'a> = BTreeMap<(&'a str, &'a str), Vec<&'a Pod>>;

/// The workloads that have one of the policy's ports, where policies with a selector can act.
fn meant<'a>(mesh: &'a Mesh, policy: &PeerAuthentication) -> Workloads<'a> {
    let root = mesh.config.root_namespace.as_str();
    let everywhere = *policy.meta.namespace == *root;
    by_workload(mesh.pods.iter().filter(|pod| {
        let within =
            *pod.meta.namespace != *root && (everywhere || pod.meta.namespace == policy.meta.namespace);
        within
            && !pod.ended
            && matches!(pod.proxy, PartyKind::Sidecar | PartyKind::Ambient)
            && container_ports(mesh, pod).iter().any(|port| policy.ports.contains_key(port))
    }))
}

/// Moves each port to the policy of each workload that has it: the one that acts for it already, else a new one.
fn moved(mesh: &Mesh, policy: &PeerAuthentication, workloads: &Workloads<'_>) -> String {
    let mut patches: BTreeMap<String, Patch> = BTreeMap::new();
    for ((namespace, name), pods) in workloads.iter().take(PATCHED) {
        let Some(first) = pods.first() else { continue };
        let acting = chosen_for_workload(mesh, namespace, &first.meta.labels);
        let selector = labels_of(mesh, pods);
        if acting.is_none() && selector.is_empty() {
            continue;
        }
        let mut patch = match acting {
            Some(acting) => patches.remove(&acting.meta.id()).unwrap_or_else(|| Patch::of(&acting.meta)),
            None => Patch::create(
                &policy.meta.version,
                "PeerAuthentication",
                namespace,
                &free_name(mesh, namespace, name),
            )
            .set("/spec/selector/matchLabels", json!(selector)),
        };
        let known = container_ports(mesh, first);
        for (port, (mode, _)) in policy.ports.iter().filter(|(port, _)| known.contains(port)) {
            let pointer = format!("/spec/portLevelMtls/{port}");
            if patch.get(&pointer).is_none() {
                patch = patch.set(&format!("{pointer}/mode"), mode.map_or("UNSET", |mode| mode.name()));
            }
        }
        let key = acting.map_or_else(|| format!("{namespace}/{name}"), |acting| acting.meta.id());
        patches.insert(key, patch);
    }
    let left = if policy.mode.is_some() {
        Patch::of(&policy.meta).remove("/spec/portLevelMtls").yaml()
    } else {
        patch::delete(&policy.meta)
    };
    patch::together(patches.values().map(Patch::yaml).chain([left]))
}
