//! XC06: One endpoint without tlsMode takes the whole headless service to plaintext.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::{Problem, Rule};
use crate::mesh::Owner;
use crate::report::Severity;

pub(super) const RULE: Rule = Rule {
    id: "XC06",
    severity: Severity::High,
    title: "A headless service with and without proxies",
    page: include_str!("../../../docs/findings/XC06.md"),
    check,
    #[cfg(test)]
    broken: Broken { replace: &[], add: "", also: &[] },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    mesh.hosts
        .iter()
        .filter(|host| host.original_destination && matches!(host.owner, Owner::Service(_)))
        .filter_map(|host| {
            let (with, without): (Vec<_>, Vec<_>) =
                host.endpoints.iter().partition(|endpoint| endpoint.tls_mode_istio);
            if with.is_empty() || without.is_empty() {
                return None;
            }
            let meta = mesh.declaration(host)?;
            let message = format!(
                "{} is headless and {} of its {} endpoints take no mTLS: clients send plaintext to all of them",
                host.host,
                without.len(),
                host.endpoints.len()
            );
            Some(Problem::at(meta, meta.line, message, "Inject every pod behind it, or none."))
        })
        .collect()
}
