//! PN02: Istio waits for the client's first bytes to tell the protocol, the client waits for the server's.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::ports::{server_first, undeclared};
use crate::lint::{Problem, Rule};
use crate::mesh::service::Protocol;
use crate::report::Severity;

pub(crate) const RULE: Rule = Rule {
    id: "PN02",
    severity: Severity::Medium,
    title: "An undeclared port whose server speaks first",
    page: include_str!("../../../docs/findings/PN02.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[("  - name: grpc\n    port: 9090", "  - name: smtp\n    port: 9090")],
        add: "",
        // The port is undeclared all the same.
        also: &["PN01"],
    },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    undeclared(survey.mesh)
        .iter()
        .filter_map(|port| {
            let (known, why) = server_first(port)?;
            let message = format!(
                "{} declares no protocol, and its server speaks first ({}: {why}): connections hang or are misrouted while Istio waits for the client",
                port.named(),
                known.name
            );
            let problem = Problem::at(port.meta, port.line, message, "Declare TCP, so that nothing waits.");
            Some(problem.yaml(port.declare(Protocol::Tcp)))
        })
        .collect()
}
