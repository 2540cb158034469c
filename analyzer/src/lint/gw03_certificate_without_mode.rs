//! GW03: No mode means PASSTHROUGH, so the certificate is never used.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::gateways::{at, each_tls, named};
use crate::lint::{Problem, Rule};
use crate::patch::Patch;
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
            let mode = if tls.ca_certificates { "MUTUAL" } else { "SIMPLE" };
            let patch = Patch::of(&gateway.meta).set(&at(server, "/tls/mode"), mode);
            Problem::at(&gateway.meta, tls.line, message, "Set SIMPLE, or MUTUAL with a CA for the clients.")
                .yaml(patch.yaml())
        })
    })
}
