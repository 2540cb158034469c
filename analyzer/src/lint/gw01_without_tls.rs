//! GW01: HTTPS or TLS without a tls block.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::gateways::{each, named, tls_yaml};
use crate::lint::{Problem, Rule};
use crate::report::Severity;

pub(super) const RULE: Rule = Rule {
    id: "GW01",
    severity: Severity::High,
    title: "HTTPS or TLS server without tls",
    page: include_str!("../../../docs/findings/GW01.md"),
    check,
    #[cfg(test)]
    broken: Broken { replace: &[("tls: {mode: SIMPLE, credentialName: shop}", "")], add: "", also: &[] },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    each(survey, |gateway, server| {
        (server.protocol.is_tls() && server.tls.is_none()).then(|| {
            let message = format!("{} has no tls block: Istio rejects it", named(gateway, server));
            Problem::at(&gateway.meta, server.line, message, "Add a tls block with a mode.")
                .yaml(tls_yaml("SIMPLE"))
        })
    })
}
