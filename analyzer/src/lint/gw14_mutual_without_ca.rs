//! GW14: MUTUAL needs a CA to verify clients with.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::gateways::{each_tls, named};
use crate::lint::{Problem, Rule};
use crate::mesh::gateway::ServerTlsMode;
use crate::report::Severity;

pub(super) const RULE: Rule = Rule {
    id: "GW14",
    severity: Severity::High,
    title: "MUTUAL without a CA",
    page: include_str!("../../../docs/findings/GW14.md"),
    check,
    #[cfg(test)]
    broken: Broken { replace: &[("mode: SIMPLE, credentialName: shop", "mode: MUTUAL")], add: "", also: &[] },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    each_tls(survey, |gateway, server, tls| {
        let asks = matches!(tls.mode, ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual);
        (asks && !tls.ca_certificates && tls.credential_name.is_none()).then(|| {
            let message =
                format!("{} sets {} without a CA: Istio rejects it", named(gateway, server), tls.mode);
            Problem::at(
                &gateway.meta,
                tls.line,
                message,
                "Name caCertificates, or a credential that holds a CA.",
            )
        })
    })
}
