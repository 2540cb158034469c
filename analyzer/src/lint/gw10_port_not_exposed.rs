//! GW10: The gateway's Service does not have the server's port.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::gateways::{each, named, pods, service_ports};
use crate::lint::{Problem, Rule, names};
use crate::report::Severity;
use std::collections::BTreeSet;

pub(super) const RULE: Rule = Rule {
    id: "GW10",
    severity: Severity::Medium,
    title: "A server port that the Service does not expose",
    page: include_str!("../../../docs/findings/GW10.md"),
    check,
    #[cfg(test)]
    broken: Broken { replace: &[], add: "", also: &[] },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    each(survey, |gateway, server| {
        let exposed: BTreeSet<u16> = pods(mesh, gateway).flat_map(|pod| service_ports(mesh, pod)).collect();
        (!exposed.is_empty() && !exposed.contains(&server.port)).then(|| {
            let message = format!(
                "{}: the Service of its pods has no port {}, only {}",
                named(gateway, server),
                server.port,
                names(exposed.iter().map(u16::to_string))
            );
            Problem::at(&gateway.meta, server.line, message, "Add the port to the gateway's Service.")
        })
    })
}
