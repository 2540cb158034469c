//! GW07: Clients reuse one HTTP/2 connection for every host of a certificate.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::gateways::{named, terminates, together};
use crate::lint::{Problem, Rule};
use crate::mesh::gateway::{Gateway, Server};
use crate::report::Severity;

pub(super) const RULE: Rule = Rule {
    id: "GW07",
    severity: Severity::Medium,
    title: "One certificate on two Gateways",
    page: include_str!("../../../docs/findings/GW07.md"),
    check,
    #[cfg(test)]
    broken: Broken { replace: &[], add: "", also: &[] },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    let mut problems = Vec::new();
    let terminating: Vec<(&Gateway, &Server, &str)> = mesh
        .gateways
        .iter()
        .flat_map(|gateway| gateway.servers.iter().map(move |server| (gateway, server)))
        .filter(|(_, server)| terminates(server))
        .filter_map(|(gateway, server)| {
            let tls = server.tls.as_ref()?;
            Some((
                gateway,
                server,
                tls.credential_name.as_deref().or(tls.server_certificate_file.as_deref())?,
            ))
        })
        .collect();
    for (index, (gateway, server, certificate)) in terminating.iter().enumerate() {
        let other = terminating.iter().take(index).find(|(earlier, first, same)| {
            same == certificate
                && !std::ptr::eq(*earlier, *gateway)
                && first.port == server.port
                && first.hosts != server.hosts
                && together(mesh, earlier, gateway)
        });
        if let Some((earlier, _, _)) = other {
            let message = format!(
                "{} shares certificate {certificate} with {} for other hosts: browsers reuse the connection and get 404",
                named(gateway, server),
                earlier.meta.id()
            );
            let remedy = "Use one Gateway with one wildcard server for the certificate's hosts.";
            problems.push(Problem::at(&gateway.meta, server.line, message, remedy));
        }
    }
    problems
}
