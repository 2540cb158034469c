//! GW04: The server ends TLS, so routes by SNI never see any.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::gateways::{misfits, passes_through, terminates};
use crate::lint::{Problem, Rule};
use crate::mesh::virtual_service::RouteKind;
use crate::report::Severity;

pub(super) const RULE: Rule = Rule {
    id: "GW04",
    severity: Severity::High,
    title: "tls routes on a terminating server",
    page: include_str!("../../../docs/findings/GW04.md"),
    check,
    #[cfg(test)]
    broken: Broken { replace: &[("  http:\n  - route", "  tls:\n  - route")], add: "", also: &[] },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    misfits(survey, RouteKind::Tls, terminates, passes_through, |route, server| {
        let kind = if server.protocol.is_http() || server.protocol_text == "HTTPS" { "http" } else { "tcp" };
        (
            format!("{route} terminates TLS, so its tls routes never apply: clients get 404"),
            format!("Use {kind} routes, or set the server to PASSTHROUGH."),
        )
    })
}
