//! DR11: MUTUAL needs a client certificate from somewhere.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::destination_rules::each_block;
use crate::lint::{Problem, Rule};
use crate::report::{ClientTls, Severity};

pub(super) const RULE: Rule = Rule {
    id: "DR11",
    severity: Severity::High,
    title: "MUTUAL without a client certificate",
    page: include_str!("../../../docs/findings/DR11.md"),
    check,
    #[cfg(test)]
    broken: Broken { replace: &[], add: "", also: &[] },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    each_block(survey, |rule, tls| {
        (tls.mode == ClientTls::Mutual && !tls.client_certificate && tls.credential_name.is_none()).then(|| {
            let message = format!(
                "{} sets MUTUAL without clientCertificate and privateKey or credentialName: Istio rejects it",
                rule.meta.id()
            );
            Problem::at(&rule.meta, tls.line, message, "Name the client's certificate and key, or use ISTIO_MUTUAL.")
        })
    })
}
