//! PA08: Workloads that still take plaintext.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::meetings::workload;
use crate::lint::survey::peer_authentications::{modes, policy_of};
use crate::lint::{Problem, Rule, agree, names};
use crate::mesh::Mesh;
use crate::patch::Patch;
use crate::policy::Trace;
use crate::policy::inbound::mode_of;
use crate::policy::peer_authentication::for_namespace;
use crate::report::{PartyKind, ServerMode, Severity};
use std::collections::{BTreeMap, BTreeSet};

pub(super) const RULE: Rule = Rule {
    id: "PA08",
    severity: Severity::Info,
    title: "Workloads that still take plaintext",
    page: include_str!("../../../docs/findings/PA08.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[],
        add: "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: broken, namespace: shop, creationTimestamp: '2026-02-01T00:00:00Z'}\nspec: {mtls: {mode: PERMISSIVE}}",
        also: &[],
    },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    let mut found: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
    let enforcing = modes(mesh, &[PartyKind::Sidecar, PartyKind::Ambient]);
    // Of DISABLE, which ztunnel takes for PERMISSIVE, AB01 tells.
    let written = enforcing.filter(|(.., written)| written.value != ServerMode::Disable);
    let in_force = written.map(|(pod, port, _)| (pod, mode_of(mesh, pod, port, &mut Trace::unheard())));
    for (pod, mode) in in_force.filter(|(_, mode)| mode.value == ServerMode::Permissive) {
        found.entry((mode.from, pod.meta.namespace.to_string())).or_default().insert(workload(pod));
    }
    found
        .into_iter()
        .map(|((from, namespace), pods)| {
            let source = if from == "default" { "Istio's default".to_owned() } else { from.clone() };
            let take = agree(pods.len(), "takes", "take");
            let message = format!("{} {take} plaintext as well as mTLS: PERMISSIVE by {source}", names(pods));
            let remedy = "Set STRICT once no client without a proxy is left: OB05 lists those seen.";
            match policy_of(mesh, &from) {
                Some(policy) => Problem::at(&policy.meta, policy.mode_line, message, remedy),
                None => match mesh.namespaces.get(namespace.as_str()) {
                    Some((meta, _)) => Problem::at(meta, meta.line, message, remedy),
                    None => Problem::of(format!("Namespace/{namespace}"), message, remedy),
                },
            }
            .yaml(strict(mesh, &from, &namespace))
        })
        .collect()
}

/// Sets STRICT where PERMISSIVE was set, yet never beyond the namespace.
fn strict(mesh: &Mesh, from: &str, namespace: &str) -> String {
    let set = policy_of(mesh, from).filter(|policy| *policy.meta.namespace == *namespace);
    // The namespace's own policy acts alone, so it is that one that must say so.
    match set.or_else(|| for_namespace(mesh, namespace)) {
        Some(policy) => {
            let open = policy.ports.iter().filter(|(_, (mode, _))| *mode == Some(ServerMode::Permissive));
            let patch = open.fold(Patch::of(&policy.meta), |patch, (port, _)| {
                patch.set(&format!("/spec/portLevelMtls/{port}/mode"), "STRICT")
            });
            let only_ports = set.is_some() && policy.mode != Some(ServerMode::Permissive);
            if only_ports { patch } else { patch.set("/spec/mtls/mode", "STRICT") }.yaml()
        }
        None => Patch::create("security.istio.io/v1", "PeerAuthentication", namespace, "default")
            .set("/spec/mtls/mode", "STRICT")
            .yaml(),
    }
}
