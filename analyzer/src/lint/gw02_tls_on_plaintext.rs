//! GW02: A tls block on a protocol that has no TLS.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::gateways::{each, named};
use crate::lint::{Problem, Rule};
use crate::report::Severity;

pub(super) const RULE: Rule = Rule {
    id: "GW02",
    severity: Severity::High,
    title: "tls on a plaintext server",
    page: include_str!("../../../docs/findings/GW02.md"),
    check,
    #[cfg(test)]
    broken: Broken { replace: &[], add: "", also: &[] },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    each(survey, |gateway, server| {
        let tls = server.tls.as_ref()?;
        let redirect = tls.only_redirect && server.protocol.is_http();
        (!server.protocol.is_tls() && !redirect).then(|| {
            let message = format!("{} has a tls block: Istio rejects it", named(gateway, server));
            Problem::at(
                &gateway.meta,
                tls.line,
                message,
                "Set the protocol to HTTPS or TLS, or remove the tls block.",
            )
        })
    })
}
