//! PN01: Istio has to look at the bytes.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::ports::{suggested, undeclared};
use crate::lint::{Problem, Rule};
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
    undeclared(survey.mesh)
        .iter()
        .map(|port| {
            let message = format!(
                "{} declares no protocol that Istio knows: each connection is held until its first bytes tell",
                port.named()
            );
            let protocol = suggested(survey.mesh, port);
            let remedy = format!("Declare the protocol, {protocol} as it seems.");
            Problem::at(port.meta, port.line, message, remedy).yaml(port.declare(protocol))
        })
        .collect()
}
