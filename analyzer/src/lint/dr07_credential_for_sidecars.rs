//! DR07: Sidecars skip `credentialName` unless the rule has a workloadSelector.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::destination_rules::{each_block, used_by_sidecars};
use crate::lint::{Problem, Rule};
use crate::report::{ClientTls, Severity};

pub(super) const RULE: Rule = Rule {
    id: "DR07",
    severity: Severity::High,
    title: "credentialName that sidecars skip",
    page: include_str!("../../../docs/findings/DR07.md"),
    check,
    #[cfg(test)]
    broken: Broken { replace: &[], add: "", also: &[] },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    each_block(survey, |rule, tls| {
        let credential = tls.credential_name.as_deref().filter(|name| !name.starts_with("configmap://"))?;
        let originates = matches!(tls.mode, ClientTls::Simple | ClientTls::Mutual);
        if !originates || rule.workload_selector.is_some() || !used_by_sidecars(mesh, rule) {
            return None;
        }
        let message = format!(
            "{} names credentialName {credential} without workloadSelector: sidecars skip it and originate no TLS",
            rule.meta.id()
        );
        let remedy = "Add a workloadSelector, use certificate files, or originate at a gateway.";
        Some(
            Problem::at(&rule.meta, tls.line, message, remedy).yaml(
                "spec:\n  workloadSelector:\n    matchLabels:\n      app: NAME-OF-THE-CLIENT\n".to_owned(),
            ),
        )
    })
}
