//! GW05: The server passes TLS on, so there is no HTTP to route.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::gateways::{misfits, passes_through, terminates};
use crate::lint::{Problem, Rule};
use crate::mesh::gateway::Server;
use crate::mesh::virtual_service::RouteKind;
use crate::report::Severity;

pub(super) const RULE: Rule = Rule {
    id: "GW05",
    severity: Severity::High,
    title: "http routes on a PASSTHROUGH server",
    page: include_str!("../../../docs/findings/GW05.md"),
    check,
    #[cfg(test)]
    broken: Broken { replace: &[], add: "", also: &[] },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let takes_http = |server: &Server| server.protocol.is_http() || terminates(server);
    misfits(survey, RouteKind::Http, passes_through, takes_http, |route, _| {
        (
            format!("{route} passes TLS through, so its http routes have no effect"),
            "Use tls routes with sniHosts, or terminate TLS at the server.".to_owned(),
        )
    })
}
