//! XC04: Auto mTLS looks at the namespace alone, so STRICT below its DISABLE gets plaintext.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::meetings::workload;
use crate::lint::survey::peer_authentications::{has_mutual_rule, namespace_yaml, policy_of, sidecar_modes};
use crate::lint::{Problem, Rule, names};
use crate::policy::Trace;
use crate::policy::peer_authentication::at_namespace;
use crate::report::{ServerMode, Severity};
use std::collections::{BTreeMap, BTreeSet};

pub(super) const RULE: Rule = Rule {
    id: "XC04",
    severity: Severity::Critical,
    title: "STRICT below a namespace's DISABLE",
    page: include_str!("../../../docs/findings/XC04.md"),
    check,
    #[cfg(test)]
    broken: Broken { replace: &[], add: "", also: &[] },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    let mut found: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
    for (pod, mode) in sidecar_modes(mesh).filter(|(_, mode)| mode.value == ServerMode::Strict) {
        let level = at_namespace(mesh, &pod.meta.namespace, &mut Trace::default());
        if level.value == ServerMode::Disable && !has_mutual_rule(mesh, pod) {
            found.entry((mode.from, level.from)).or_default().insert(workload(pod));
        }
    }
    found
        .into_iter()
        .filter_map(|((strict, disable), pods)| {
            let policy = policy_of(mesh, &strict)?;
            let message = format!(
                "{strict} sets STRICT for {} below {disable}, which is DISABLE: auto mTLS looks at the namespace only and sends plaintext",
                names(pods)
            );
            let remedy = "Set the namespace to PERMISSIVE, or add a DestinationRule with ISTIO_MUTUAL.";
            let yaml = namespace_yaml(&policy.meta.namespace, "PERMISSIVE");
            Some(Problem::at(&policy.meta, policy.mode_line, message, remedy).yaml(yaml))
        })
        .collect()
}
