//! GW03: No mode means PASSTHROUGH, so the certificate is never used.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::gateways::{each_tls, named};
use crate::lint::{Problem, Rule};
use crate::report::Severity;

pub(super) const RULE: Rule = Rule {
    id: "GW03",
    severity: Severity::High,
    title: "A certificate and no mode: PASSTHROUGH",
    page: include_str!("../../../docs/findings/GW03.md"),
    check,
    #[cfg(test)]
    broken: Broken { replace: &[("mode: SIMPLE, ", "")], add: "", also: &[] },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    each_tls(survey, |gateway, server, tls| {
        (!tls.mode_written && (tls.credential_name.is_some() || tls.server_certificate)).then(|| {
            let message = format!(
                "{} names a certificate but no mode: that means PASSTHROUGH, and the certificate is not used",
                named(gateway, server)
            );
            let problem = Problem::at(&gateway.meta, tls.line, message, "Set SIMPLE or MUTUAL.");
            problem.yaml("tls:\n  mode: SIMPLE\n".to_owned())
        })
    })
}
