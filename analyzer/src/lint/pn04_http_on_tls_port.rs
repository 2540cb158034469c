//! PN04: A port of TLS by convention, named http.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::{Problem, Rule};
use crate::mesh::service::Protocol;
use crate::patch::Patch;
use crate::report::Severity;

pub(super) const RULE: Rule = Rule {
    id: "PN04",
    severity: Severity::Medium,
    title: "A TLS port named http",
    page: include_str!("../../../docs/findings/PN04.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[("  - name: http\n    port: 80", "  - name: http\n    port: 443")],
        add: "",
        also: &[],
    },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for service in &survey.mesh.services {
        let named_http = |protocol| matches!(protocol, Protocol::Http | Protocol::Http2);
        let ports = service.ports.iter().filter(|port| matches!(port.port, 443 | 8443));
        for port in ports.filter(|port| named_http(port.protocol)) {
            let message = format!(
                "port {} of {} is declared {}: clients that send TLS there, as they do to this port, meet an HTTP proxy",
                port.port,
                service.meta.id(),
                port.protocol
            );
            let remedy =
                "Declare HTTPS if clients send TLS; if they send plain HTTP, give the Service another port.";
            // appProtocol counts before the name, which others may refer to.
            let pointer = format!("/spec/ports/{}/appProtocol", port.place);
            let patch = Patch::of(&service.meta).set(&pointer, "https");
            problems.push(Problem::at(&service.meta, port.line, message, remedy).yaml(patch.yaml()));
        }
    }
    problems
}
