//! PN03: One container port, declared differently by two Services.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::ports::service_port;
use crate::lint::{Problem, Rule};
use crate::mesh::Owner;
use crate::mesh::meta::Labels;
use crate::mesh::service::Protocol;
use crate::patch::Patch;
use crate::report::Severity;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

pub(super) const RULE: Rule = Rule {
    id: "PN03",
    severity: Severity::Medium,
    title: "One container port, two protocols",
    page: include_str!("../../../docs/findings/PN03.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[],
        add: "apiVersion: v1\nkind: Service\nmetadata: {name: broken, namespace: data, creationTimestamp: '2026-02-01T00:00:00Z'}\nspec: {clusterIP: 10.96.2.2, selector: {app: store}, ports: [{name: tcp, port: 9000}]}",
        also: &[],
    },
};

/// Whom a Service leads to.
#[derive(PartialEq, Eq, Hash)]
enum Behind<'a> {
    /// An address.
    Address(IpAddr),
    /// Pods that are not declared: of a namespace, with labels.
    Selected(&'a str, &'a Labels),
}

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    let mut first = HashMap::new();
    let mut found = BTreeMap::new();
    for host in &mesh.hosts {
        let Owner::Service(index) = host.owner else { continue };
        let selector = || {
            let service = mesh.services.get(index).filter(|_| host.endpoints.is_empty())?;
            service.selector.as_ref().filter(|selector| !selector.is_empty())
        };
        for port in host.ports.iter().filter(|port| port.protocol != Protocol::Udp) {
            let by_address = host.endpoints.iter().filter_map(|endpoint| {
                Some((Behind::Address(endpoint.ip), *endpoint.ports.get(&port.number)?))
            });
            let by_label =
                selector().map(|labels| (Behind::Selected(&host.namespace, labels), port.target)).into_iter();
            for (behind, wire) in by_address.chain(by_label) {
                let (oldest, declared) = *first.entry((behind, wire)).or_insert((host, port));
                if declared.protocol != port.protocol && !std::ptr::eq(oldest, host) {
                    found.entry((&host.host, port.number)).or_insert((host, port, oldest, declared, wire));
                }
            }
        }
    }
    found
        .into_values()
        .filter_map(|(host, port, oldest, declared, wire)| {
            let younger = service_port(mesh, host, port.number)?;
            let older = service_port(mesh, oldest, declared.number)?;
            let message = format!(
                "{} declares container port {wire} as {}, {} as {}: the older one decides for both",
                younger.0.meta.id(),
                port.protocol,
                older.0.meta.id(),
                declared.protocol
            );
            // What says nothing gives way to what says something; else nothing changes on the wire.
            let ((service, place), protocol) = if declared.protocol == Protocol::Unsupported {
                ((older.0, older.1.place), port.protocol)
            } else {
                ((younger.0, younger.1.place), declared.protocol)
            };
            let pointer = format!("/spec/ports/{place}/appProtocol");
            let patch = Patch::of(&service.meta).set(&pointer, protocol.name().to_ascii_lowercase());
            let remedy = format!("Declare {protocol} in both Services, or what the container really speaks.");
            Some(Problem::at(&younger.0.meta, port.line, message, remedy).yaml(patch.yaml()))
        })
        .collect()
}
