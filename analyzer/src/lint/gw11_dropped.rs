//! GW11: An earlier server has the port or the host, so this one is dropped without a word.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::gateways::{clash, named, together};
use crate::lint::{Problem, Rule};
use crate::mesh::gateway::{Gateway, Server};
use crate::report::Severity;

pub(super) const RULE: Rule = Rule {
    id: "GW11",
    severity: Severity::High,
    title: "A server dropped for an earlier one",
    page: include_str!("../../../docs/findings/GW11.md"),
    check,
    #[cfg(test)]
    broken: Broken { replace: &[], add: "", also: &[] },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    let mut kept: Vec<(&Gateway, &Server)> = Vec::new();
    let mut problems = Vec::new();
    for gateway in &mesh.gateways {
        for server in &gateway.servers {
            let winner = kept.iter().find(|(earlier, first)| {
                first.port == server.port && together(mesh, earlier, gateway) && clash(first, server)
            });
            match winner {
                Some((earlier, first)) => {
                    let message = format!(
                        "{} is dropped: {} came first",
                        named(gateway, server),
                        named(earlier, first)
                    );
                    let remedy = "Give it hosts of its own, or another port.";
                    problems.push(Problem::at(&gateway.meta, server.line, message, remedy));
                }
                None => kept.push((gateway, server)),
            }
        }
    }
    problems
}
