//! PN04: A port of TLS by convention, named http.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::{Problem, Rule};
use crate::mesh::service::Protocol;
use crate::report::Severity;

pub(super) const RULE: Rule = Rule {
    id: "PN04",
    severity: Severity::Medium,
    title: "A TLS port named http",
    page: include_str!("../../../docs/findings/PN04.md"),
    check,
    #[cfg(test)]
    broken: Broken { replace: &[], add: "", also: &[] },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for service in &survey.mesh.services {
        for port in service.ports.iter().filter(|port| matches!(port.port, 443 | 8443)) {
            if matches!(port.protocol, Protocol::Http | Protocol::Http2) {
                let message = format!(
                    "port {} of {} is declared {}: likely TLS to an HTTP port",
                    port.port,
                    service.meta.id(),
                    port.protocol
                );
                problems.push(
                    Problem::at(&service.meta, port.line, message, "Name it https if clients send TLS.")
                        .yaml(format!("ports:\n- port: {}\n  name: https\n", port.port)),
                );
            }
        }
    }
    problems
}
