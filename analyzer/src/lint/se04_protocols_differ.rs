//! SE04: Two entries declare one port of one host differently.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::{Problem, Rule};
use crate::mesh::service::Protocol;
use crate::mesh::service_entry::{EntryPort, ServiceEntry};
use crate::patch::Patch;
use crate::report::Severity;
use std::collections::HashMap;

pub(super) const RULE: Rule = Rule {
    id: "SE04",
    severity: Severity::Medium,
    title: "One host and port, two protocols",
    page: include_str!("../../../docs/findings/SE04.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[],
        add: "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: broken, namespace: data, creationTimestamp: '2026-02-01T00:00:00Z'}\nspec: {hosts: [api.bank.example], location: MESH_EXTERNAL, resolution: DNS, ports: [{number: 443, name: tls, protocol: TLS}]}",
        also: &[],
    },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mut first: HashMap<(&str, u16), Vec<(&ServiceEntry, &EntryPort)>> = HashMap::new();
    let mut problems = Vec::new();
    for entry in &survey.mesh.service_entries {
        for port in &entry.ports {
            let mut reported = false;
            for host in &entry.hosts {
                let known = first.entry((host, port.number)).or_default();
                let other = known.iter().copied().find(|(older, _)| meet(older, entry));
                match other {
                    Some((older, same)) if same.protocol != port.protocol && !reported => {
                        reported = true;
                        problems.push(differs(older, same, entry, port, host));
                    }
                    Some(_) => {}
                    None => known.push((entry, port)),
                }
            }
        }
    }
    problems
}

/// Tells whether some client can see both: two that are each for their own namespace never meet.
fn meet(a: &ServiceEntry, b: &ServiceEntry) -> bool {
    let own =
        |entry: &ServiceEntry| entry.export_to.iter().all(|to| to == ".") && !entry.export_to.is_empty();
    a.meta.namespace == b.meta.namespace || !(own(a) && own(b))
}

fn differs(
    older: &ServiceEntry,
    same: &EntryPort,
    entry: &ServiceEntry,
    port: &EntryPort,
    host: &str,
) -> Problem {
    let message = format!(
        "{} declares {host}:{} as {}, {} as {}: only one of the two is in force",
        entry.meta.id(),
        port.number,
        port.protocol,
        older.meta.id(),
        same.protocol
    );
    // What says nothing gives way to what says something; else the older one decides.
    let (changed, place, protocol) = if same.protocol == Protocol::Unsupported {
        (older, same.place, port.protocol)
    } else {
        (entry, port.place, same.protocol)
    };
    let patch = Patch::of(&changed.meta).set(&format!("/spec/ports/{place}/protocol"), protocol.name());
    let remedy = format!("Declare {protocol} in both, or merge the two.");
    Problem::at(&entry.meta, port.line, message, remedy).yaml(patch.yaml())
}
