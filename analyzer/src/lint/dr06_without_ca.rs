//! DR06: The server's certificate is verified against the system's roots, or not at all.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::destination_rules::each_block;
use crate::lint::{Problem, Rule};
use crate::report::{ClientTls, Severity};

pub(super) const RULE: Rule = Rule {
    id: "DR06",
    severity: Severity::Low,
    title: "TLS that does not verify the server against a named CA",
    page: include_str!("../../../docs/findings/DR06.md"),
    check,
    #[cfg(test)]
    broken: Broken { replace: &[], add: "", also: &[] },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    each_block(survey, |rule, tls| {
        let originates = matches!(tls.mode, ClientTls::Simple | ClientTls::Mutual);
        let remedy = "Name the CA in caCertificates, and the server in subjectAltNames.";
        if originates && tls.insecure_skip_verify {
            let message = format!("{} does not verify the server: insecureSkipVerify", rule.meta.id());
            Some(Problem::at(&rule.meta, tls.line, message, remedy).rated(Severity::Medium))
        } else if originates && !tls.ca_certificates && tls.credential_name.is_none() {
            let message = format!(
                "{} names no caCertificates: any CA of the system's roots is trusted",
                rule.meta.id()
            );
            Some(Problem::at(&rule.meta, tls.line, message, remedy))
        } else {
            None
        }
    })
}
