//! AB01: DISABLE over workloads of ztunnel, which takes it for PERMISSIVE.

use std::collections::{BTreeMap, BTreeSet};

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::meetings::workload;
use crate::lint::survey::peer_authentications::{by_policy, modes};
use crate::lint::{Problem, Rule};
use crate::mesh::Mesh;
use crate::mesh::peer_authentication::PeerAuthentication;
use crate::patch::{Patch, delete};
use crate::policy::Trace;
use crate::policy::peer_authentication::at_namespace;
use crate::report::{PartyKind, ServerMode, Severity};

pub(super) const RULE: Rule = Rule {
    id: "AB01",
    severity: Severity::Low,
    title: "DISABLE over ambient workloads",
    page: include_str!("../../../docs/findings/AB01.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[],
        add: "apiVersion: v1\nkind: Pod\nmetadata: {name: z-0, namespace: shop, labels: {app: z}, annotations: {ambient.istio.io/redirection: enabled}}\nspec: {containers: [{name: app, ports: [{containerPort: 7000}]}]}\nstatus: {podIP: 10.0.9.9}\n---\napiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: broken, namespace: shop, creationTimestamp: '2026-02-01T00:00:00Z'}\nspec: {selector: {matchLabels: {app: z}}, mtls: {mode: DISABLE}}",
        // The sidecars of this mesh take no HBONE, and the ambient pod is a client of theirs, also by a rule.
        also: &["AB03", "AB04"],
    },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    if survey.ambient.is_empty() {
        return Vec::new();
    }
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let disabled = modes(mesh, &[PartyKind::Ambient]).filter(|(.., mode)| mode.value == ServerMode::Disable);
    for (pod, _, mode) in disabled {
        found.entry(mode.from).or_default().insert(workload(pod));
    }
    by_policy(mesh, found, |policy, pods| {
        let honoured = if inherits_strict(mesh, policy) {
            "under a STRICT parent the port stays STRICT"
        } else {
            "it counts as PERMISSIVE, and HBONE goes on"
        };
        let message = format!("{} sets DISABLE for {pods} in ambient mode: {honoured}", policy.meta.id());
        let remedy =
            "Drop it, so that the level above decides; say PERMISSIVE where plaintext is to be taken.";
        Problem::at(&policy.meta, policy.mode_line, message, remedy).yaml(patch(policy))
    })
}

/// ztunnel ignores DISABLE at a port where the workload sets nothing and the level above is STRICT.
fn inherits_strict(mesh: &Mesh, policy: &PeerAuthentication) -> bool {
    let above = || at_namespace(mesh, &policy.meta.namespace, &mut Trace::unheard()).value;
    policy.mode.is_none() && policy.is_for_workloads() && above() == ServerMode::Strict
}

/// Takes out what ztunnel does not know, and the policy with it where nothing else is in it.
fn patch(policy: &PeerAuthentication) -> String {
    let off = |mode: Option<ServerMode>| mode == Some(ServerMode::Disable);
    let ports: Vec<_> = policy.ports.iter().filter(|(_, (mode, _))| off(*mode)).collect();
    let no_ports = ports.len() == policy.ports.len();
    if no_ports && (off(policy.mode) || policy.mode.is_none()) {
        return delete(&policy.meta);
    }
    let mut patch = Patch::of(&policy.meta);
    if off(policy.mode) {
        patch = patch.remove("/spec/mtls");
    }
    if no_ports {
        // A list of ports without any is invalid.
        return patch.remove("/spec/portLevelMtls").yaml();
    }
    ports.iter().fold(patch, |patch, (port, _)| patch.remove(&format!("/spec/portLevelMtls/{port}"))).yaml()
}
