//! PN01: Istio has to look at the bytes.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::{Problem, Rule};
use crate::mesh::service::Protocol;
use crate::report::Severity;

pub(super) const RULE: Rule = Rule {
    id: "PN01",
    severity: Severity::Info,
    title: "A port without a declared protocol",
    page: include_str!("../../../docs/findings/PN01.md"),
    check,
    #[cfg(test)]
    broken: Broken { replace: &[("  - name: grpc", "  - name: rpc")], add: "", also: &[] },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    let mut problems = Vec::new();
    for service in &mesh.services {
        for port in service.ports.iter().filter(|port| port.protocol == Protocol::Unsupported) {
            let name = port.name.as_deref().unwrap_or("without a name");
            let message = format!(
                "port {} ({name}) of {} declares no protocol: it is sniffed",
                port.port,
                service.meta.id()
            );
            problems.push(
                Problem::at(
                    &service.meta,
                    port.line,
                    message,
                    "Set appProtocol, or begin the name with the protocol.",
                )
                .yaml(format!("ports:\n- port: {}\n  appProtocol: http\n", port.port)),
            );
        }
    }
    problems
}
