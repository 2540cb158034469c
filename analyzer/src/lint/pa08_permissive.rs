//! PA08: Workloads that still take plaintext.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::meetings::workload;
use crate::lint::survey::peer_authentications::{namespace_yaml, policy_of, sidecar_modes};
use crate::lint::{Problem, Rule, names};
use crate::report::{ServerMode, Severity};
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
    for (pod, mode) in sidecar_modes(mesh).filter(|(_, mode)| mode.value == ServerMode::Permissive) {
        found.entry((mode.from, pod.meta.namespace.to_string())).or_default().insert(workload(pod));
    }
    found
        .into_iter()
        .map(|((from, namespace), pods)| {
            let pods = names(pods);
            let message = format!("{pods} take plaintext as well as mTLS: PERMISSIVE by {from}");
            let remedy = "Set STRICT once no client without a proxy is left.";
            let yaml = namespace_yaml(&namespace, "STRICT");
            match policy_of(mesh, &from) {
                Some(policy) => Problem::at(&policy.meta, policy.mode_line, message, remedy),
                None => Problem::of(format!("Namespace/{namespace}"), message, remedy),
            }
            .yaml(yaml)
        })
        .collect()
}
