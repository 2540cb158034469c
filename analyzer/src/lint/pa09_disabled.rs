//! PA09: Plaintext by declaration.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::meetings::workload;
use crate::lint::survey::peer_authentications::{by_policy, sidecar_modes};
use crate::lint::{Problem, Rule};
use crate::patch::Patch;
use crate::report::{ServerMode, Severity};
use std::collections::{BTreeMap, BTreeSet};

pub(super) const RULE: Rule = Rule {
    id: "PA09",
    severity: Severity::Medium,
    title: "mTLS switched off",
    page: include_str!("../../../docs/findings/PA09.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[],
        add: "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: broken, namespace: shop, creationTimestamp: '2026-02-01T00:00:00Z'}\nspec: {mtls: {mode: DISABLE}}",
        also: &[],
    },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (pod, mode) in sidecar_modes(mesh).filter(|(_, mode)| mode.value == ServerMode::Disable) {
        found.entry(mode.from).or_default().insert(workload(pod));
    }
    if mesh.pods.is_empty() {
        // Whom a policy is for, its selector tells, else its namespace.
        for policy in &mesh.peer_authentications {
            let mut modes =
                policy.mode.iter().chain(policy.ports.values().filter_map(|(mode, _)| mode.as_ref()));
            let acts = !policy.is_for_workloads() || *policy.meta.namespace != *mesh.config.root_namespace;
            if acts && modes.any(|mode| *mode == ServerMode::Disable) {
                let labels = policy.selector.iter().map(|(key, value)| format!("{key}={value}"));
                let whom = if policy.is_for_workloads() {
                    labels.collect()
                } else {
                    BTreeSet::from([format!("namespace {}", policy.meta.namespace)])
                };
                found.insert(policy.meta.id(), whom);
            }
        }
    }
    by_policy(mesh, found, |policy, pods| {
        let message = format!("{} switches mTLS off for {pods}: plaintext by declaration", policy.meta.id());
        let remedy = "Confirm that it is meant; else remove the mode, so that the one above it counts again.";
        let off = policy.ports.iter().filter(|(_, (mode, _))| *mode == Some(ServerMode::Disable));
        let patch = off.fold(Patch::of(&policy.meta), |patch, (port, _)| {
            patch.remove(&format!("/spec/portLevelMtls/{port}"))
        });
        let top = policy.mode == Some(ServerMode::Disable);
        let patch = if top { patch.remove("/spec/mtls/mode") } else { patch };
        Problem::at(&policy.meta, policy.mode_line, message, remedy).yaml(patch.yaml())
    })
}
