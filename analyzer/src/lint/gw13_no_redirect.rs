//! GW13: The same host answers in plaintext as well.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::gateways::{each, from_gateway_api, named, terminates, together};
use crate::lint::{Problem, Rule};
use crate::report::Severity;

pub(super) const RULE: Rule = Rule {
    id: "GW13",
    severity: Severity::Medium,
    title: "Plaintext beside HTTPS without a redirect",
    page: include_str!("../../../docs/findings/GW13.md"),
    check,
    #[cfg(test)]
    broken: Broken { replace: &[("    tls: {httpsRedirect: true}\n", "")], add: "", also: &[] },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    each(survey, |gateway, server| {
        let redirects = server.tls.as_ref().is_some_and(|tls| tls.https_redirect);
        if !server.protocol.is_http() || redirects || from_gateway_api(gateway) {
            return None;
        }
        let host = mesh
            .gateways
            .iter()
            .filter(|other| together(mesh, other, gateway))
            .flat_map(|other| &other.servers)
            .filter(|other| terminates(other))
            .flat_map(|other| &other.hosts)
            .find(|host| server.hosts.iter().any(|own| own == *host || own == "*"))?;
        let message = format!(
            "{} serves {host} in plaintext, though it is served on HTTPS too",
            named(gateway, server)
        );
        let problem = Problem::at(&gateway.meta, server.line, message, "Redirect to HTTPS.");
        Some(problem.yaml("tls:\n  httpsRedirect: true\n".to_owned()))
    })
}
