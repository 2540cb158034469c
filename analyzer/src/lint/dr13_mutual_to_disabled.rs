//! DR13: The rule asks for Istio mTLS where the whole namespace has switched it off.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::destination_rules::{host_of, policies, written};
use crate::lint::{Problem, Rule};
use crate::policy::Trace;
use crate::policy::peer_authentication::at_namespace;
use crate::policy::visibility::covers;
use crate::report::{ClientTls, ServerMode, Severity};

pub(super) const RULE: Rule = Rule {
    id: "DR13",
    severity: Severity::Low,
    title: "ISTIO_MUTUAL where the namespace is DISABLE",
    page: include_str!("../../../docs/findings/DR13.md"),
    check,
    #[cfg(test)]
    broken: Broken { replace: &[], add: "", also: &[] },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    written(mesh)
        .filter_map(|rule| {
            let tls = policies(rule).find_map(|policy| policy.tls.as_ref())?;
            let host = host_of(mesh, rule);
            let disabled =
                mesh.hosts.iter().filter(|known| !known.external && covers(&host, &known.host)).find_map(
                    |known| {
                        let level = at_namespace(mesh, &known.namespace, &mut Trace::default());
                        (level.value == ServerMode::Disable).then_some((known, level.from))
                    },
                );
            let (known, from) = disabled.filter(|_| tls.mode == ClientTls::IstioMutual)?;
            let message =
                format!("{} sets ISTIO_MUTUAL for {}, where {from} is DISABLE", rule.meta.id(), known.host);
            Some(Problem::at(
                &rule.meta,
                tls.line,
                message,
                "Make both sides agree: PERMISSIVE there, or no rule here.",
            ))
        })
        .collect()
}
