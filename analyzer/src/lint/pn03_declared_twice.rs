//! PN03: One container port, declared differently by two Services.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::{Problem, Rule};
use crate::mesh::Owner;
use crate::mesh::service::Protocol;
use crate::report::Severity;
use std::collections::BTreeMap;

pub(super) const RULE: Rule = Rule {
    id: "PN03",
    severity: Severity::Medium,
    title: "One container port, two protocols",
    page: include_str!("../../../docs/findings/PN03.md"),
    check,
    #[cfg(test)]
    broken: Broken { replace: &[], add: "", also: &[] },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    let mut first = BTreeMap::new();
    let mut found = BTreeMap::new();
    for host in mesh.hosts.iter().filter(|host| matches!(host.owner, Owner::Service(_))) {
        for port in host.ports.iter().filter(|port| port.protocol != Protocol::Udp) {
            for endpoint in &host.endpoints {
                let Some(&wire) = endpoint.ports.get(&port.number) else { continue };
                let (oldest, declared) = *first.entry((endpoint.ip, wire)).or_insert((host, port));
                if declared.protocol != port.protocol && !std::ptr::eq(oldest, host) {
                    found.entry((&host.host, port.number)).or_insert((host, port, oldest, declared, wire));
                }
            }
        }
    }
    found
        .into_values()
        .filter_map(|(host, port, oldest, declared, wire)| {
            let meta = mesh.declaration(host)?;
            let message = format!(
                "{} declares container port {wire} as {}, {} as {}: the older one decides",
                host.host, port.protocol, oldest.host, declared.protocol
            );
            Some(Problem::at(meta, port.line, message, "Declare the same protocol in both Services."))
        })
        .collect()
}
