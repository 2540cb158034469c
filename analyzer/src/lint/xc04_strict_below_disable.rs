//! XC04: Auto mTLS looks at the namespace alone, so STRICT below its DISABLE gets plaintext.

use std::collections::{BTreeMap, BTreeSet};

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::meetings::workload;
use crate::lint::survey::peer_authentications::{
    has_mutual_rule, has_mutual_rule_in, policy_of, sidecar_modes,
};
use crate::lint::{Problem, Rule, names};
use crate::mesh::Mesh;
use crate::patch::Patch;
use crate::policy::peer_authentication::{at_namespace, for_namespace};
use crate::policy::{Decided, Trace};
use crate::report::{ServerMode, Severity};

pub(super) const RULE: Rule = Rule {
    id: "XC04",
    severity: Severity::Critical,
    title: "STRICT below a namespace's DISABLE",
    page: include_str!("../../../docs/findings/XC04.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[],
        add: "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: broken, namespace: shop, creationTimestamp: '2026-02-01T00:00:00Z'}\nspec: {mtls: {mode: DISABLE}}\n---\napiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: web, namespace: shop, creationTimestamp: '2026-02-01T00:00:00Z'}\nspec: {selector: {matchLabels: {app: web}}, mtls: {mode: STRICT}}",
        // The plaintext that auto mTLS sends is refused.
        also: &["XC01"],
    },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    let mut levels: BTreeMap<&str, Decided<ServerMode>> = BTreeMap::new();
    let mut found: BTreeMap<(String, &str, String), BTreeSet<String>> = BTreeMap::new();
    for (pod, mode) in sidecar_modes(mesh).filter(|(_, mode)| mode.value == ServerMode::Strict) {
        let namespace = &*pod.meta.namespace;
        let level =
            levels.entry(namespace).or_insert_with(|| at_namespace(mesh, namespace, &mut Trace::unheard()));
        if level.value == ServerMode::Disable && !has_mutual_rule(mesh, pod) {
            found.entry((mode.from, namespace, level.from.clone())).or_default().insert(workload(pod));
        }
    }
    if mesh.pods.is_empty() {
        // Whom a policy is for, its selector tells.
        for policy in mesh.peer_authentications.iter().filter(|policy| policy.is_for_workloads()) {
            let namespace = &*policy.meta.namespace;
            let level = at_namespace(mesh, namespace, &mut Trace::unheard());
            let mut modes =
                policy.mode.iter().chain(policy.ports.values().filter_map(|(mode, _)| mode.as_ref()));
            if level.value == ServerMode::Disable
                && namespace != mesh.config.root_namespace
                && modes.any(|mode| *mode == ServerMode::Strict)
                && !has_mutual_rule_in(mesh, namespace)
            {
                let labels = policy.selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
                found.insert((policy.meta.id(), namespace, level.from), labels);
            }
        }
    }
    found
        .into_iter()
        .filter_map(|((strict, namespace, disable), pods)| {
            let policy = policy_of(mesh, &strict)?;
            let message = format!(
                "{strict} sets STRICT for {} below {disable}, which is DISABLE: auto mTLS looks at the namespace only and sends plaintext",
                names(pods)
            );
            let remedy = "Set the namespace to PERMISSIVE, or add a DestinationRule with ISTIO_MUTUAL.";
            let yaml = patch(mesh, namespace, &disable);
            Some(Problem::at(&policy.meta, policy.mode_line, message, remedy).yaml(yaml))
        })
        .collect()
}

/// Writes PERMISSIVE for a namespace: into the policy that switches mTLS off there, or below one that does so for the
/// whole mesh.
pub(super) fn patch(mesh: &Mesh, namespace: &str, disable: &str) -> String {
    let own = for_namespace(mesh, namespace);
    let patch = match own
        .or_else(|| policy_of(mesh, disable).filter(|policy| *policy.meta.namespace == *namespace))
    {
        Some(policy) => Patch::of(&policy.meta),
        None => Patch::create("security.istio.io/v1", "PeerAuthentication", namespace, "default"),
    };
    patch.set("/spec/mtls/mode", ServerMode::Permissive.name()).yaml()
}
